"""Reads recorded decisions and counts them: a consumer with positions of its own, in Redis.

It joins no group: a position in Kafka would be a second truth beside that in Redis, which moves
with the counts. A second one of these beside it does no harm: what one has counted, the other does
not count again.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.core.model.errors import SourceDown
from stream.enforcement.tally import Passed, Tally
from stream.kafka.call_events import CallEvent
from stream.kafka.clients import connected, onlooker, subscribed
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import require_topics
from stream.lists.store.enforcement_counts import SEEN, Batch, Progress, day_of
from stream.lists.store.enforcement_store import EnforcementStore
from stream.ops.clock import now_ms

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 5_000
WAIT_MS: Final = 500
KeysOf = Callable[[], Awaitable[Mapping[str, bytes]]]
"""Gives the hashing key of each list by its name, as far as it is here."""
Told = Callable[[Batch, Passed], None]
"""Called with what was counted of a batch, and what was passed over."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """Which topic is read. `home`: the country that enforces; its own lists are not counted."""

    home: str
    topic: str


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
    """Use `async with reader`. Methods raise SourceDown, ListStoreDown, TopicMissing."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: ReaderSettings,
        book: EnforcementStore,
        keys_of: KeysOf,
        told: Told,
    ) -> None:
        self._kafka, self._settings = kafka, settings
        self._book, self._keys_of, self._told = book, keys_of, told
        self._stands: dict[TopicPartition, _Stand] = {}

    async def __aenter__(self) -> Self:
        """Connected, as soon as Kafka answers."""
        with _renamed(self._settings.topic):
            self._consumer = await connected(self._made, AIOKafkaConsumer.stop, self._kafka, _wait)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    def _made(self) -> AIOKafkaConsumer:
        return onlooker(self._kafka)

    async def catch_up(self) -> None:
        """Count everything that is there now."""
        with _renamed(self._settings.topic):
            await self._subscribe()
            ends: Mapping[TopicPartition, int]
            ends = await self._consumer.end_offsets(list(self._stands))
            while left := [one for one in ends if await self._consumer.position(one) < ends[one]]:
                await self._turn(left)

    async def turn(self) -> None:
        """Count what comes within `WAIT_MS`."""
        with _renamed(self._settings.topic):
            if not self._stands:
                await self._subscribe()
            await self._turn(())

    async def left(self) -> int:
        """How many records are not counted yet, about."""
        with _renamed(self._settings.topic):
            ends = await self._consumer.end_offsets(list(self._stands))
            return sum([max(ends[one] - await self._consumer.position(one), 0) for one in ends])

    async def _subscribe(self) -> None:
        topic = self._settings.topic
        await require_topics(self._consumer, [topic], "`ringfence topics create` makes it")
        await subscribed(self._consumer, [topic], self._kafka)
        await self._assigned()

    async def _assigned(self) -> None:
        """Go on in all partitions that the topic has: more of them begin all anew."""
        assignment = self._consumer.assignment()
        self._stands = {}
        await self._book.begin(sorted(_name(one) for one in assignment))
        for partition in assignment:
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
        if self._consumer.assignment() != self._stands.keys():
            await self._assigned()
        fetched: Mapping[TopicPartition, list[Any]] = await self._consumer.getmany(
            *only, timeout_ms=WAIT_MS, max_records=RECORDS_MAX
        )
        if not any(fetched.values()):
            return
        tally = Tally(self._settings.home, (await self._keys_of()).get)
        for partition, records in fetched.items():
            if records:
                await self._count(tally, partition, records)

    async def _count(self, tally: Tally, partition: TopicPartition, records: list[Any]) -> None:
        name, stand = _name(partition), self._stands.get(partition)
        if stand is None:
            return  # it has just come, and is taken up before the next turn
        begin = stand.progress.offset or 0
        values = [record.value for record in records if record.offset >= begin]
        offset = records[-1].offset + 1
        batch, passed = tally.batch(values, stand.seen, day_of(now_ms()))
        after = await self._book.count(name, stand.progress, offset, batch)
        if after is None:
            log.info("%s is counted by another process too", name)
            await self._take(partition)
            return
        stand.move(after, batch.ids)
        self._told(batch, passed)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"


def _wait(event: CallEvent) -> None:
    assert event is CallEvent.KAFKA_AWAITED, "nothing else happens while connecting"


@contextmanager
def _renamed(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise SourceDown(f"{topic} cannot be read: {error!r}") from error
