"""The aiokafka reader: records by aiokafka's own fetcher, an object each.

It keeps the promises of `fetch.fetcher.Fetcher`, and is its reference.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from stream.kafka.batch import Headers, Partition, RawBatch, Segment


def no_records(epoch: int) -> RawBatch:
    """Return a batch of nothing."""
    return RawBatch([], np.empty(0, np.int64), np.empty(0, np.int64), (), epoch)


class AiokafkaReader:
    """Fetches by `consumer`, which is untyped, therefore Any.

    It reads the partitions that the fetcher leaves over. These are in message formats from before
    Kafka 0.11, or on a broker without the fetch version that the fetcher speaks. Where the fetcher
    is off it has all of them.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._epoch = -1
        self._partitions: set[Partition] = set()

    async def start(self) -> None:
        """Do nothing: the source starts the consumer."""

    async def stop(self) -> None:
        """Do nothing: the source stops the consumer."""

    def hold(self, assigned: Iterable[Partition]) -> None:
        """Do nothing: the consumer fetches by itself, from the committed positions."""

    def begin(self, epoch: int, positions: Mapping[Partition, int]) -> None:
        """Note that the consumer is at these positions already: it announced them."""
        self._epoch = epoch
        self._partitions = set(positions)

    def add(self, partition: Partition, position: int) -> None:
        """Read a partition that was held back until now from `position` on."""
        tp = TopicPartition(*partition)
        try:
            self._consumer.seek(tp, position)
            self._consumer.resume(tp)
        except (AssertionError, IllegalStateError):  # it went a moment ago
            return
        self._partitions.add(partition)

    def end(self) -> None:
        """Forget the partitions: the consumer drops by itself what it has fetched."""
        self._partitions.clear()

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Move the consumer."""
        for partition, offset in positions.items():
            try:
                self._consumer.seek(TopicPartition(*partition), offset)
            except IllegalStateError:  # it is no longer ours: its new reader starts there anyway
                continue

    def release(self, partitions: Iterable[Partition]) -> None:
        """Pause them."""
        for partition in partitions:
            if partition in self._partitions:
                self._partitions.remove(partition)
                self._consumer.pause(TopicPartition(*partition))

    async def position(self, partition: Partition) -> int:
        """Return the consumer's position."""
        offset: int = await self._consumer.position(TopicPartition(*partition))
        return offset

    def passed(self, partition: Partition) -> int:
        """Return 0: the consumer has to be asked, which waits."""
        del partition
        return 0

    async def take(self, records_max: int, wait_ms: int) -> RawBatch:
        """Return what aiokafka has fetched. Raises its errors, the group's among them."""
        epoch = self._epoch
        # Not of partitions that have a position since they were begun: they begin later.
        tps = [TopicPartition(*partition) for partition in self._partitions]
        try:
            # For a rebalance that begins meanwhile: aiokafka would wait for its end. Nothing is
            # lost, as it returns what it took without waiting in between. Here and not around all
            # readers: a timer for each batch of one call would show.
            async with asyncio.timeout(wait_ms / 1000 + 0.01):
                found = await self._consumer.getmany(
                    *tps, timeout_ms=wait_ms, max_records=records_max
                )
        except TimeoutError:
            return no_records(epoch)
        return as_batch(found, epoch)

    def high_water(self, partition: Partition) -> int | None:
        """Return what the consumer knows of it."""
        try:
            end: int | None = self._consumer.highwater(TopicPartition(*partition))
        except (AssertionError, IllegalStateError):  # it went a moment ago
            return None
        return end

    @property
    def silent_s(self) -> float:
        """From the times of its answers: aiokafka only logs its failures."""
        answered_ms = []
        for partition in self._partitions:
            try:
                at_ms = self._consumer.last_poll_timestamp(TopicPartition(*partition))
            except (AssertionError, IllegalStateError):  # it went a moment ago
                continue
            if at_ms is not None:
                answered_ms.append(at_ms)
        # aiokafka stamps answers by the wall clock, which may be set back: hence never below 0.
        return max(time.time() - max(answered_ms) / 1000, 0.0) if answered_ms else 0.0

    @property
    def stopped(self) -> int:
        """None: a batch that cannot be right ends the worker here."""
        return 0

    @property
    def by_aiokafka(self) -> int:
        """All that were begun."""
        return len(self._partitions)


def as_batch(found: Mapping[TopicPartition, list[Any]], epoch: int) -> RawBatch:
    """Return records that aiokafka gave, as objects, in columns."""
    records = [record for some in found.values() for record in some]
    segments, start = [], 0
    for tp, some in found.items():
        segments.append(Segment(Partition(tp.topic, tp.partition), start, start + len(some)))
        start += len(some)
    headers: list[Headers] = [record.headers for record in records]
    # Kafka's first message format has no time.
    times_ms = [-1 if (at_ms := record.timestamp) is None else at_ms for record in records]
    return RawBatch(
        values=[record.value for record in records],
        offsets=np.array([record.offset for record in records], np.int64),
        timestamps_ms=np.array(times_ms, np.int64),
        segments=tuple(segments),
        epoch=epoch,
        headers=headers,
    )
