"""Backups of the list store: copy it while it changes, seal it in a file, put it back."""
