"""Detect the dialect of records, preview them, and draft a mapping for those of no known switch."""
