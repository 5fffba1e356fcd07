"""What follows from matches: rules, bounds and the policy compiled into columns."""
