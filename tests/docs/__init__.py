"""Tests of the documentation: the site builds, and every transcript in it is true."""
