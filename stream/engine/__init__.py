"""The decider: lists, agreements and settings make decisions of calls."""
