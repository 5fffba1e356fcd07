"""Sinks of decisions besides Kafka: keys for SIP proxies in Redis, and webhooks.

Each sink reads the decisions topic in a consumer group of its own: its outage delays it alone.
"""
