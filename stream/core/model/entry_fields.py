"""What a row of a list may say. Files, exports and feed files use the same names."""

FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
"""The fields of a row, in the order of an export's columns."""
