"""`ringfence sink resend`: deliver again what webhooks did not take, once they work again.

Each endpoint has a position of its own in the topic of undelivered decisions, committed behind what
was dealt with. What is not taken this time either is written to the topic's end again, so nothing
is lost whenever this is stopped; something may be delivered twice, with the same id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import TopicMissing
from stream.edge.sinks.webhooks.endpoint import Endpoint, Undelivered
from stream.edge.sinks.webhooks.post import Post
from stream.edge.sinks.webhooks.undelivered import Kept
from stream.kafka.batch import RawBatch
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected, down
from stream.ops.metrics.sink import WebhookMetrics

RECORDS_MAX: Final = 200
"""Decisions under way at once: so many may come twice after a crash."""
_EVERY_KIND: Final = frozenset({"block", "flag", "allow", "simulated"})


@dataclass(slots=True)
class Resent:
    """Counts of one endpoint's undelivered decisions, by outcome."""

    endpoint: str
    delivered: int = 0
    not_taken: int = 0


async def resend(
    settings: Settings,
    names: Sequence[str],
    environ: Mapping[str, str],
    give_up_s: float,
    observe: Observe,
) -> list[Resent]:
    """Try for the endpoints `names`, each decision for `give_up_s` at most.

    What is written to the topic meanwhile waits for the next time. Raises ConfigInvalid,
    TopicMissing, SourceDown, SinkDown, KafkaRefuses.
    """
    section, kafka = settings.sinks.webhooks, settings.kafka_client()
    secrets = section.secrets(environ)
    found = []
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(
            Kept(kafka, section.undelivered_topic, observe, idempotent=settings.kafka.idempotent)
        )
        for name in names:
            source = f"/ringfence/{settings.calls.group_id}"
            one, done = section.endpoints[name], Resent(name)

            async def keep(undelivered: Undelivered, done: Resent = done) -> None:
                await kept.keep(undelivered)
                done.not_taken += 1

            async with Post(one.post(source, secrets[name])) as post:
                # It was chosen when it was decided; what is chosen by now does not count.
                wanted = replace(
                    one.endpoint(name), kinds=_EVERY_KIND, lists=frozenset(), give_up_s=give_up_s
                )
                endpoint = Endpoint(wanted, post, keep, WebhookMetrics(CollectorRegistry()))
                await _all(settings, endpoint, done, observe)
            found.append(done)
    return found


async def _all(settings: Settings, endpoint: Endpoint, done: Resent, observe: Observe) -> None:
    """Deliver what the topic holds now for one endpoint, from where it was left."""
    kafka, topic = settings.kafka_client(), settings.sinks.webhooks.undelivered_topic

    def make() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **kafka.options(),
            group_id=f"{settings.calls.group_id}.resend.{done.endpoint}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, observe)
    try:
        if topic not in await consumer.topics():
            raise TopicMissing(f"no topic {topic}: `ringfence topics create` makes it")
        assigned = _Assigned()
        consumer.subscribe([topic], listener=assigned)
        partitions = await assigned.partitions  # two at once share them
        ends = await consumer.end_offsets(partitions)
        while unread := [one for one in partitions if await consumer.position(one) < ends[one]]:
            fetched = await consumer.getmany(*unread, timeout_ms=500, max_records=RECORDS_MAX)
            batch = [record for records in fetched.values() for record in records]
            values = [
                record.value
                for record in batch
                if record.offset < ends[TopicPartition(topic, record.partition)]
                and dict(record.headers).get("endpoint") == done.endpoint.encode()
            ]
            before = done.not_taken
            await endpoint.deliver(_raw(values))
            done.delivered += len(values) - (done.not_taken - before)
            await consumer.commit(
                {one: min(await consumer.position(one), ends[one]) for one in unread}
            )
    except KafkaError as error:
        raise down(kafka, f"{topic} cannot be read", error) from error
    finally:
        await consumer.stop()


class _Assigned(ConsumerRebalanceListener):
    """Learns the partitions of the first assignment."""

    def __init__(self) -> None:
        self.partitions: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """None is, before the first are assigned."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """They are known."""
        if not self.partitions.done():
            self.partitions.set_result(sorted(assigned))


def _raw(values: list[Any]) -> RawBatch:
    none = np.zeros(len(values), np.int64)
    return RawBatch(values, none, none, (), 0)
