"""Enforcement comes back: decisions counted (`tally`, `reader`), told in documents (`documents`),
and partners' documents read (`partners`).
"""
