"""Tests of Ringfence; each docstring is a promise to whoever runs it."""
