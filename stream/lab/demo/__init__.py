"""The demo: five simulated countries, traffic with known truth, and the real engine judged by it.

world -> traffic (with its truth) -> the product as a user runs it (its own commands and process, a
broker, a Redis) -> judge. The engine imports nothing from here, and the judge uses nothing of the
engine's. It compares what lies on the topics with plain Python sets.
"""
