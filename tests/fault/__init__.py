"""Faults as items in a script: what must still be true, whatever comes in which order."""
