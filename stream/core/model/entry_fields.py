"""The fields that a row of a list may have, by the names that files and exports give them."""

FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
"""The fields of a row, by the names that files use for them too."""
