"""A Redis sink on real servers: decisions put on its topic, lists in a register, keys looked at."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import redis
from aiokafka import AIOKafkaProducer

from stream.config.settings import Settings, load
from stream.kafka.topics import ensure_topics
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from stream.services.redis_sink import RedisSinkService
from stream.services.webhook_sink import WebhookSink
from tests.plugins.run_broker import RunBroker
from tests.support.engine import WAIT_S, Deployment
from tests.support.lists import BY, NAME
from tests.support.waiting import Patience
from tests.unit.edge.sinks.test_proxy_keys import decision


def stamp(at_s: float) -> str:
    """A time as decisions have it."""
    text = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def block(number: str, **fields) -> bytes:
    """A block of `number` that was decided just now, by generation 1 of the list."""
    now = time.time()
    reason = {
        "list": NAME,
        "agreement": None,
        "category": "loan",
        "confirmed": True,
        "confidence": 90,
        "generation": fields.pop("generation", 1),
        "expires_at": None,
    }
    plain = {
        "number": number,
        "caller": number,
        "rule": f"list:{NAME}",
        "reasons": [reason],
        "decided_at": stamp(now),
        "expires_at": stamp(now + 3600),
    }
    return decision(**{**plain, **fields})


Sink = TypeVar("Sink", RedisSinkService, WebhookSink)


@asynccontextmanager
async def ran(run: Sink) -> AsyncIterator[Sink]:
    """A sink in this process, stopped in order at the end."""
    task = asyncio.create_task(run.run())
    try:
        yield run
        run.stop("the test")
        await asyncio.wait_for(task, WAIT_S)
    finally:
        await cancelled(task)


class Lab:
    """One deployment: its topics made, its register with the list `NAME`, its proxies' Redis."""

    def __init__(
        self, folder: Path, kafka: RunBroker, register: str, proxies: str, port: int, more: str
    ) -> None:
        self.deployment = Deployment(
            folder,
            kafka,
            register,
            f"""
sinks.redis.url = "{proxies}"
sinks.redis.http_port = {port}
sinks.redis.sweep_s = 0.5
{more}""",
        )
        self.port = port
        self.settings: Settings = load([self.deployment.config], {})
        self.redis = redis.Redis.from_url(proxies, decode_responses=True)
        self._register = ListStoreSettings(register)

    async def start(self) -> None:
        """Make the topics and the list."""
        names = self.settings.calls.names(1)
        await ensure_topics(self.settings.kafka_client(), names, lambda _: None)
        async with self.list_store() as register:
            await register.create(NAME, "plain", BY)

    @asynccontextmanager
    async def list_store(self) -> AsyncIterator[ListStore]:
        async with await ListStore.connect(self._register) as register:
            yield register

    def sink(self) -> AbstractAsyncContextManager[RedisSinkService]:
        """A sink in this process, stopped in order at the end."""
        return ran(RedisSinkService(self.settings))

    async def send(self, values: Iterable[bytes]) -> None:
        """Put decisions on their topic, as a worker would: the number is the key."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.deployment.bootstrap, acks="all"
        ) as producer:
            for value in values:
                number = value.partition(b'"number":"')[2].partition(b'"')[0]
                await producer.send(self.deployment.decisions, value, key=number)

    def key(self, text: str) -> dict[str, str]:
        """A key's fields; {}: it is not there."""
        return self.redis.hgetall(f"bl:{text}")  # type: ignore[return-value]

    def numbers(self) -> set[str]:
        """All numbers and prefixes that have keys."""
        return {name[3:] for name in self.redis.scan_iter("bl:+*", count=1000)}

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true; a Redis that is away is a no."""
        patience = Patience("what the sink does")
        while True:
            try:
                if true():
                    return
            except redis.RedisError:
                pass
            patience.check()
            await asyncio.sleep(0.02)
