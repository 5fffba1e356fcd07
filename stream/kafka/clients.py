"""The patience to wait for a broker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.kafka.call_events import Event, Observe
from stream.kafka.outage import Patience, ask_why
from stream.kafka.settings import KafkaSettings

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


async def subscribed(consumer: Any, topics: Sequence[str], kafka: KafkaSettings) -> None:
    """Give an onlooker all partitions of the topics, as soon as their leaders are known."""
    patience = Patience(kafka)
    consumer.subscribe(list(topics))
    while not consumer.assignment():
        patience.check("no leader of a partition is known")
        await consumer.getmany(timeout_ms=20)


async def connected(
    make: Callable[[], Any],
    close: Callable[[Any], Awaitable[None]],
    kafka: KafkaSettings,
    observe: Observe,
) -> Any:
    """A started aiokafka client, as soon as a broker answers; says each time that none does.

    The clients are untyped, therefore Any. Raises KafkaError for what waiting does not heal,
    KafkaRefuses where a broker is there and certificate or password do not fit, KafkaAway where
    the settings' patience is over.
    """
    where, patience = kafka.bootstrap_servers, Patience(kafka)
    wait_s, seen = WAIT_S_MIN, "a connection is taken, and nothing comes of it"
    while True:
        client = make()
        try:
            async with asyncio.timeout(patience.left_s) as limit:
                await client.start()
        except TimeoutError as error:
            await close(client)
            if not limit.expired():
                raise
            raise kafka.away(seen) from error
        except KafkaError as error:
            await close(client)
            if not isinstance(error, KafkaConnectionError) and not error.retriable:
                raise
            await ask_why(kafka)
            seen = repr(error)
            patience.check(seen)
            log.warning(
                "Kafka at %s does not answer (%r), next try in %.1f s", where, error, wait_s
            )
            observe(Event.KAFKA_AWAITED)
        except BaseException:
            await close(client)
            raise
        else:
            return client
        left_s = patience.left_s
        wait_s = wait_s if left_s is None else min(wait_s, left_s)
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        wait_s = min(wait_s * 2, WAIT_S_MAX)
