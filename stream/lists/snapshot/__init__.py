"""Whole lists as files: built, merged, compared, exported and published."""
