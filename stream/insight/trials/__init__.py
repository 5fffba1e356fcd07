"""Trials beside what is in force: `status` gives the state of each and its effect if it were in
force. `promote` reads Kafka and the list store, and promotes one trial or demotes it.
"""
