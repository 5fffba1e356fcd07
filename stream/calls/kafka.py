"""The patience to wait for a broker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.calls.events import Event, Observe
from stream.ops.kafka import KafkaSettings, ask_why

log = logging.getLogger(__name__)

WAIT_S_MIN = 0.5
WAIT_S_MAX = 10.0


def onlooker(kafka: KafkaSettings, **more: Any) -> AIOKafkaConsumer:
    """A consumer in no group, which moves nobody's position: what is committed, oldest first."""
    return AIOKafkaConsumer(
        **kafka.options(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **more,
    )


async def subscribed(consumer: Any, topics: Sequence[str]) -> None:
    """Give an onlooker all partitions of the topics, as soon as their leaders are known."""
    consumer.subscribe(list(topics))
    while not consumer.assignment():
        await consumer.getmany(timeout_ms=20)


async def connected(
    make: Callable[[], Any],
    close: Callable[[Any], Awaitable[None]],
    kafka: KafkaSettings,
    observe: Observe,
) -> Any:
    """A started aiokafka client, as soon as a broker answers; says each time that none does.

    The clients are untyped, therefore Any. Raises KafkaError for what waiting does not heal,
    KafkaRefuses where a broker is there and certificate or password do not fit.
    """
    where = kafka.bootstrap_servers
    wait_s = WAIT_S_MIN
    while True:
        client = make()
        try:
            await client.start()
        except KafkaError as error:
            await close(client)
            if not isinstance(error, KafkaConnectionError) and not error.retriable:
                raise
            await ask_why(kafka)
            log.warning(
                "Kafka at %s does not answer (%r), next try in %.1f s", where, error, wait_s
            )
            observe(Event.KAFKA_AWAITED)
        except BaseException:
            await close(client)
            raise
        else:
            return client
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        wait_s = min(wait_s * 2, WAIT_S_MAX)
