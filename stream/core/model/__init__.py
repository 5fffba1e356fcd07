"""The values that all rooms share: calls, entries, decisions, agreements, appeals, faults."""
