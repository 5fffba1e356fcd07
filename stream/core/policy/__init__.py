"""From matches to actions: rules, agreements' bounds, and the policy compiled into columns."""
