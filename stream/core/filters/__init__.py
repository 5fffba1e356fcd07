"""Bloom filters and exact tables: which lists hold a number."""
