"""Plausibility: what a call's caller cannot be, whatever the lists say of it."""
