"""Long proofs: each a command with its figures as options, and a short test of it."""
