"""Kafka: clients, the fetch of records in bulk, record batches, topics and positions."""
