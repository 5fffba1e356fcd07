"""What was decided, and why: explanations, replays, reports, trials and tracebacks."""
