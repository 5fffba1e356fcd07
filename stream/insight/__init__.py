"""Decisions explained and counted: explanations, replays, reports, trials and tracebacks."""
