"""Trials beside what is in force: `status` says the state of each and what it would have done;
`promote` reads Kafka and the list store, and takes one trial into force or back.
"""
