"""The metrics of each process, by name, meaning and what to do; see `catalogue`."""
