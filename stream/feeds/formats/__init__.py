"""Formats: one file for each, from the bytes of a partner's file to rows and rejected rows."""
