"""Telephone numbers: how texts are read as E.164, and what numbering plans say of them."""
