"""Detect the format of a partner's file, and what to ask before reading it."""
