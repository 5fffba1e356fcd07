"""Encodings around the records of a dialect, which are undone before the dialect reads them."""
