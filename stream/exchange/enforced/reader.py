"""Reads recorded decisions and counts them: a consumer with positions of its own, in Redis.

Kafka's group is told how far it is, so that its tools show the lag; what counts is Redis, where the
position moves with the counts. A second one of these beside it does no harm: what one has counted,
the other does not count again.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.calls.events import Event
from stream.calls.kafka import connected
from stream.core.faults import SourceDown, TopicMissing
from stream.exchange.enforced.tally import Passed, Tally
from stream.lists.enforced.batch import Batch, Progress
from stream.lists.enforced.book import EnforcedBook
from stream.lists.enforced.keys import SEEN
from stream.lists.enforced.notes import day_of
from stream.ops.clock import monotonic_s, now_ms
from stream.ops.kafka import KafkaSettings

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 5_000
WAIT_MS: Final = 500
LOOK_S: Final = 60.0
"""How often it is looked whether the topic has more partitions."""
Told = Callable[[Batch, Passed], None]
"""Called with what was counted of a batch, and what was passed over."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """Which topic is read, and the group by whose name Kafka shows the lag."""

    topic: str
    group_id: str


@dataclass(slots=True)
class _Stand:
    """How far a partition is counted, and the decisions that a repeat is recognised by."""

    progress: Progress
    order: deque[bytes]
    seen: set[bytes]

    @classmethod
    def of(cls, progress: Progress, ids: list[bytes]) -> "_Stand":
        order = deque(ids[progress.place :] + ids[: progress.place])
        return cls(progress, order, set(order))

    def move(self, progress: Progress, ids: list[bytes]) -> None:
        self.progress = progress
        self.order.extend(ids)
        while len(self.order) > SEEN:
            self.seen.discard(self.order.popleft())


class Reader:
    """Use `async with reader`. Methods raise SourceDown, RegisterDown, TopicMissing."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: ReaderSettings,
        book: EnforcedBook,
        tally: Tally,
        told: Told,
    ) -> None:
        self._kafka, self._settings = kafka, settings
        self._book, self._tally, self._told = book, tally, told
        self._stands: dict[TopicPartition, _Stand] = {}
        self._looked_s = 0.0

    async def __aenter__(self) -> Self:
        """Connected, as soon as Kafka answers."""
        with _renamed(self._settings.topic):
            self._consumer = await connected(self._made, AIOKafkaConsumer.stop, self._kafka, _wait)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    def _made(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._kafka.options(),
            group_id=self._settings.group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    async def catch_up(self) -> None:
        """Count everything that is there now."""
        with _renamed(self._settings.topic):
            await self._look()
            ends: Mapping[TopicPartition, int]
            ends = await self._consumer.end_offsets(list(self._stands))
            while left := [one for one in ends if await self._consumer.position(one) < ends[one]]:
                await self._turn(left)

    async def turn(self) -> None:
        """Count what comes within `WAIT_MS`."""
        with _renamed(self._settings.topic):
            if not self._stands or monotonic_s() - self._looked_s > LOOK_S:
                await self._look()
            await self._turn(())

    async def _look(self) -> None:
        """Read all partitions that the topic has, each from where it is counted to."""
        topic = self._settings.topic
        if topic not in await self._consumer.topics():
            raise TopicMissing(f"no topic {topic}: `ringfence topics create` makes it")
        found = {TopicPartition(topic, each) for each in self._consumer.partitions_for_topic(topic)}
        self._looked_s = monotonic_s()
        if found != set(self._stands):
            self._consumer.assign(list(found))
            await self._book.begin([_name(one) for one in found])
            for partition in found:
                await self._take(partition)

    async def _take(self, partition: TopicPartition) -> None:
        """Go on where the partition is counted to."""
        name = _name(partition)
        progress, ids = await self._book.progress(name)
        end = (await self._consumer.end_offsets([partition]))[partition]
        if progress.offset is not None and progress.offset > end:
            log.warning("%s ends before what was counted of it: the topic was made anew", name)
            await self._book.begin_anew(name)
            progress = Progress(place=0)
        self._stands[partition] = _Stand.of(progress, ids)
        if progress.offset is None:
            await self._consumer.seek_to_beginning(partition)
        else:
            self._consumer.seek(partition, progress.offset)

    async def _turn(self, only: Collection[TopicPartition]) -> None:
        fetched: Mapping[TopicPartition, list[Any]] = await self._consumer.getmany(
            *only, timeout_ms=WAIT_MS, max_records=RECORDS_MAX
        )
        for partition, records in fetched.items():
            if records:
                await self._count(partition, records)

    async def _count(self, partition: TopicPartition, records: list[Any]) -> None:
        stand, name = self._stands[partition], _name(partition)
        values = [record.value for record in records]
        offset = records[-1].offset + 1
        batch, passed = self._tally.batch(values, stand.seen, day_of(now_ms()))
        after = await self._book.count(name, stand.progress, offset, batch)
        if after is None:
            log.info("%s is counted by another process too", name)
            await self._take(partition)
            return
        stand.move(after, batch.ids)
        self._told(batch, passed)
        try:
            await self._consumer.commit({partition: offset})
        except KafkaError as error:
            log.info("Kafka does not take how far %s is counted: %r", name, error)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"


def _wait(event: Event) -> None:
    assert event is Event.KAFKA_AWAITED, "nothing else happens while connecting"


@contextmanager
def _renamed(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise SourceDown(f"{topic} can not be read: {error!r}") from error
