"""Plausibility: what a call's caller can not be, whatever the lists say of it."""
