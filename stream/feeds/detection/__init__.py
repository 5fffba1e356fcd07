"""What a file of a partner most likely is, and what must be asked before it is read."""
