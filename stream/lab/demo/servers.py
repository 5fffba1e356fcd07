"""The broker and the Redis of one run: started for the demo, or the reader's own."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from stream.lab.demo.demo_kafka import Admin, Topics
from stream.lab.demo.product import DemoFailed, Places
from stream.lab.embedded import StartFailed, Unavailable, best_broker, best_redis
from stream.lab.embedded.guarded_server import Say

OWN_KEYS = "rf:*"
KINDS_OF_BROKER = ("auto", "kafka", "tansu")
KINDS_OF_REDIS = ("auto", "redis", "valkey")


@dataclass(frozen=True, slots=True)
class Servers:
    """Their addresses, their names on the screen, and whether they are the reader's own."""

    places: Places
    broker: str
    redis: str
    broker_is_guest: bool
    redis_is_guest: bool
    appends_stamped: bool
    note: str

    @property
    def line(self) -> str:
        """The first line that the demo prints."""
        if self.broker_is_guest is self.redis_is_guest:
            whose = "both yours" if self.redis_is_guest else "both started for this run"
            return f"Ringfence on {self.broker} and {self.redis}, {whose}"
        broker = "yours" if self.broker_is_guest else "started for this run"
        redis = "yours" if self.redis_is_guest else "started for this run"
        return f"Ringfence on {self.broker}, {broker}, and {self.redis}, {redis}"


def get_servers(broker: str, redis: str, mark: str, closing: ExitStack, say: Say) -> Servers:
    """Start what is not named by an address; `closing` ends it. DemoFailed if it cannot be had.

    On the reader's own broker every topic's name begins with `ringfence-demo-MARK.`: her own
    `calls` is never written to.
    """
    redis_is_guest = redis not in KINDS_OF_REDIS
    broker_is_guest = broker not in KINDS_OF_BROKER
    notes = []
    try:
        if redis_is_guest:
            redis_url = redis
            redis_title = asyncio.run(look_at(redis))
        else:
            own_redis = closing.enter_context(best_redis(redis))
            redis_url, redis_title = own_redis.url(), own_redis.title
            notes.append(own_redis.not_better)
        if broker_is_guest:
            bootstrap, broker_title, full = broker, f"Kafka at {broker}", True
        else:
            own_broker = closing.enter_context(best_broker(broker, say))
            bootstrap, broker_title = own_broker.bootstrap, own_broker.title
            full = own_broker.supports_transactions
            notes.append(own_broker.not_better)
    except (Unavailable, StartFailed) as error:
        raise DemoFailed(str(error)) from error
    prefix = f"ringfence-demo-{mark}." if broker_is_guest else ""
    return Servers(
        places=Places(
            bootstrap,
            idempotent=full,
            redis_url=redis_url,
            durable=not redis_is_guest,
            topics=Topics.named(prefix),
            group=f"ringfence-demo-{mark}",
        ),
        broker=broker_title,
        redis=redis_title,
        broker_is_guest=broker_is_guest,
        redis_is_guest=redis_is_guest,
        # Tansu has no settings of topics; there, records carry their senders' time.
        appends_stamped=full,
        note="; ".join(note for note in notes if note),
    )


async def look_at(url: str) -> str:
    """The name of the reader's Redis, once it is sure that no list store of hers is there."""
    redis = _client(url)
    try:
        async for _ in redis.scan_iter(OWN_KEYS, count=1000):
            raise DemoFailed(
                f"{_place(url)} already holds a list store (keys {OWN_KEYS}): the demo would write "
                "its made-up lists into it. Name an empty database, for example redis://HOST/15"
            )
        info = await redis.info("server")
    except (RedisError, OSError) as error:
        raise DemoFailed(f"Redis at {_place(url)}: {error}") from error
    finally:
        await redis.aclose()
    return f"Redis {info['redis_version']} at {_place(url)}"


async def leave_no_trace(servers: Servers) -> None:
    """Remove the demo's topics and keys from servers that are not its own."""
    if servers.redis_is_guest:
        redis = _client(servers.places.redis_url)
        try:
            async for key in redis.scan_iter(OWN_KEYS, count=1000):
                await redis.unlink(key)
        except (RedisError, OSError) as error:
            raise DemoFailed(f"keys {OWN_KEYS} stay in your Redis: {error}") from error
        finally:
            await redis.aclose()
    if servers.broker_is_guest:
        topics = servers.places.topics.all()
        try:
            async with Admin(servers.places.bootstrap) as admin:
                await admin.delete(topics)
        except KafkaError as error:
            raise DemoFailed(f"topics {', '.join(topics)} stay on your broker: {error}") from error


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=5.0)


def _place(url: str) -> str:
    """Return the address without a password in it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"
