"""The processes, a file each: what they are made of, and how they start and stop."""
