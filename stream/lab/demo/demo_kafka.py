"""The demo's own Kafka clients: they send calls, read decisions, and look at offsets.

Written with aiokafka's plain public API, apart from the engine's code: what is judged must not be
read through the eyes of the judged.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.lab.demo.traffic import SentRecord

APPEND_TIME = "message.timestamp.type"
BACKLOG_BATCH = 500
"""Records per produced batch of the recorded traffic, as a busy mediation system sends them."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The three topics of one run."""

    calls: str
    decisions: str
    rejected: str

    @classmethod
    def named(cls, prefix: str) -> "Topics":
        """Return the product's own names after `prefix`."""
        return cls(f"{prefix}calls", f"{prefix}decisions", f"{prefix}calls.rejected")

    def all(self) -> list[str]:
        """Return the three names."""
        return [self.calls, self.decisions, self.rejected]


class Admin:
    """Offsets, topic settings and clearing up."""

    def __init__(self, bootstrap: str) -> None:
        # aiokafka has hardly any types: its objects are Any here.
        self._client: Any = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap, client_id="ringfence-demo"
        )

    async def __aenter__(self) -> Self:
        await self._client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def stamp_on_append(self, topics: Sequence[str]) -> None:
        """Have the broker stamp records when it appends them: latency is then from log to log.

        Where it refuses, records keep the times of their senders, which run on one machine here.
        This request of Kafka replaces all settings of a topic, so those that it has go with it.
        """
        of = partial(ConfigResource, ConfigResourceType.TOPIC)
        wanted = []
        for response in await self._client.describe_configs([of(topic) for topic in topics]):
            for _, _, _, topic, settings in response.resources:
                # (name, value, read only, source, ...): source 1 is "set on this topic".
                kept = {each[0]: each[1] for each in settings if each[3] == 1}
                kept[APPEND_TIME] = "LogAppendTime"
                wanted.append(of(topic, kept))
        await self._client.alter_configs(wanted)

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Return all partitions of the topics."""
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await self._client.describe_topics(list(topics))
            for partition in topic["partitions"]
        ]

    async def committed(self, group_id: str, partitions: Sequence[TopicPartition]) -> int:
        """Return the number of records that the group has committed, over all `partitions`."""
        try:
            offsets = await self._client.list_consumer_group_offsets(
                group_id, partitions=list(partitions)
            )
        except GroupCoordinatorNotAvailableError:  # nobody has joined a group there yet
            return 0
        return sum(max(0, at.offset) for at in offsets.values())

    async def delete(self, topics: Sequence[str]) -> None:
        """Remove topics that the demo made on somebody else's broker."""
        await self._client.delete_topics(list(topics))


class CallSender:
    """Puts call records on the calls topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer: Any = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            client_id="ringfence-demo",
            acks="all",
            linger_ms=0,
            max_batch_size=1_000_000,
            max_request_size=1_000_000,
        )
        self._topic = topic
        self.sent = 0

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def backlog(self, records: Sequence[SentRecord], progress: Callable[[int], None]) -> None:
        """Write recorded calls as fast as the broker takes them; `progress` hears how many."""
        partitions = sorted(await self._producer.partitions_for(self._topic))
        waiting: list[asyncio.Future[Any]] = []
        for at in range(0, len(records), BACKLOG_BATCH):
            partition = partitions[at // BACKLOG_BATCH % len(partitions)]
            batch = self._producer.create_batch()
            for record in records[at : at + BACKLOG_BATCH]:
                key = _key(record)
                if batch.append(key=key, value=record.value, timestamp=None) is None:
                    # The batch is full (one record is as large as many): send it, start the next.
                    waiting.append(await self._send(batch, partition))
                    batch = self._producer.create_batch()
                    batch.append(key=key, value=record.value, timestamp=None)
            waiting.append(await self._send(batch, partition))
            if len(waiting) >= 40:
                await asyncio.gather(*waiting)
                waiting.clear()
                progress(self.sent)
        await asyncio.gather(*waiting)
        progress(self.sent)

    async def _send(self, batch: Any, partition: int) -> "asyncio.Future[Any]":
        self.sent += batch.record_count()
        future: asyncio.Future[Any] = await self._producer.send_batch(
            batch, self._topic, partition=partition
        )
        return future

    async def send(self, record: SentRecord, acknowledged: Callable[[str, int], None]) -> None:
        """Send one call now; `acknowledged` gets its id and append time (milliseconds) later."""
        future = await self._producer.send(self._topic, value=record.value, key=_key(record))
        self.sent += 1

        def done(finished: "asyncio.Future[Any]") -> None:
            if not finished.cancelled() and finished.exception() is None:
                acknowledged(record.call_id, finished.result().timestamp)

        future.add_done_callback(done)

    async def flush(self) -> None:
        """Wait until the broker has everything."""
        await self._producer.flush()


def _key(record: SentRecord) -> bytes | None:
    """Return the key of a record; a record of neither key nor value cannot be sent."""
    return record.call_id.encode() or (None if record.value else b"deleted")


class Listener(Protocol):
    """A reader of what comes out of the engine."""

    def decision(self, value: bytes | None, appended_ms: int) -> None:
        """A record of the decisions topic."""

    def rejected(self, value: bytes | None) -> None:
        """A record of the topic of rejected records."""


async def listen(bootstrap: str, topics: Topics, listener: Listener) -> None:
    """Read decisions and rejected records from their first one on, until cancelled."""
    async with Admin(bootstrap) as admin:
        partitions = await admin.partitions([topics.decisions, topics.rejected])
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id="ringfence-demo",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        # Tansu does not wake a waiting fetch; on Kafka data ends the wait at once.
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4_194_304,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        while True:
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(
                timeout_ms=200, max_records=2000
            )
            for partition, records in fetched.items():
                for record in records:
                    if partition.topic == topics.decisions:
                        listener.decision(record.value, record.timestamp)
                    else:
                        listener.rejected(record.value)
    finally:
        await consumer.stop()
