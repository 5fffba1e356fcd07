"""Replay recorded calls against a candidate: what would change if it were in force.

`recording` reads the calls, `compare` decides each batch twice with the engine's own code, `totals`
sums up in bounded memory. `replay_json` and `replay_page` show the same figures. `traced_calls`
finds the calls of one number for an authority.
"""
