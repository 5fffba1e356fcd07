"""Tests of Ringfence; each docstring is a promise to the person who runs it."""
