"""Processes that answer from memory: the lists and agreements that they hold, and `serve-sip`."""
