"""`make matrix`: the main tests on other versions of Kafka, Redis and Python, and their table."""
