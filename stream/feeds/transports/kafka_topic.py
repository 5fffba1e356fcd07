"""A Kafka topic, compacted: the last record of a key is what its feed says of that number.

The topic is read from the position that the last accepted version remembered. It is read from its
beginning if the records since are unknown. Offsets are gone or not yet there (the topic was created
again), or another record is at the position. Or partitions are others, or tombstones are gone by
now. The position is not a group's: committed offsets would move before a version is accepted.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import xxhash
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from numpy.typing import NDArray

from stream.core.model.errors import FeedDown, FeedFault, KafkaRefuses
from stream.feeds.formats.change_file import Header
from stream.feeds.transports.landing import Landing, landing
from stream.feeds.transports.own_thread import OwnThread, Stop, WorkStopped
from stream.feeds.transports.transport import BYTES_MAX, BytesMax, Fetched, Seconds, Unchanged
from stream.kafka.clients import ask_why
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import records_in
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked

_FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
_SHOWN_CHARS = 200


class ChangeLines:
    """Changes of a log, in their order, as lines of a change file.

    The end of a compacted log still has several changes of one key. A reader of the file may apply
    all removals before or after all additions. So only the last change of each key is written. Each
    change costs 16 bytes of memory.
    """

    def __init__(self, land: Landing) -> None:
        self._land = land
        self._keys = array("Q")
        self._ops = bytearray()

    def __len__(self) -> int:
        return len(self._ops)

    def add(self, key: bytes, change: bytes, *, removes: bool) -> None:
        """Add a change of `key`, a line without its end. Raises FeedDown(TOO_LARGE)."""
        # 16 bytes in place of the key itself. Nobody finds two keys of one hash of 128 bits by
        # chance.
        digest = xxhash.xxh3_128_intdigest(key)
        self._keys.append(digest >> 64)
        self._keys.append(digest & 0xFFFF_FFFF_FFFF_FFFF)
        self._ops.append(removes)
        self._land.write(change + b"\n")

    def write(self, land: Landing, header: Header, stop: Stop) -> None:
        """Write the change file with the last change of each key; a whole one has no removals.

        Raises FeedDown and WorkStopped.
        """
        keep = self._last_of_each()
        if header.whole:
            keep &= np.frombuffer(self._ops, np.uint8) == 0
        land.write(msgspec.json.encode(header) + b"\n")
        with self._land.path.open("rb") as lines:
            for kept, line in zip(keep.tolist(), lines, strict=True):
                if stop.is_set():
                    raise WorkStopped
                if kept:
                    land.write(line)
        end = {"sha256": land.sha256, "lines": 1 + int(keep.sum())}
        land.write(msgspec.json.encode(end) + b"\n")

    def _last_of_each(self) -> NDArray[np.bool_]:
        """Mark the last change of each key."""
        halves = np.frombuffer(self._keys, np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: changes of a key stay in order
        ordered = halves[order]
        last = np.ones(len(order), np.bool_)
        last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
        keep = np.zeros(len(order), np.bool_)
        keep[order[last]] = True
        return keep


@contextmanager
def change_lines(into: Path, bytes_max: int, origin: str) -> Iterator[ChangeLines]:
    """Collect changes in a file beside `into`, which is deleted at the end."""
    with landing(into.with_name(f"{into.name}.lines"), bytes_max, origin) as land:
        yield ChangeLines(land)
        land.drop()


def change_of(key: bytes | None, value: bytes | None, place: str) -> tuple[bytes, bool]:
    """Return a record as a line of a change file, and whether it removes.

    The value is a JSON object with the fields of a change file. Without a number the key is the
    number, without `op` it adds, and a tombstone removes. Anything else becomes a line with `place`
    that is rejected when the file is read.
    """
    number = None if key is None else key.decode("utf-8", "replace").strip().strip('"')
    if value is None:
        return msgspec.json.encode({"op": "remove", "number": number}), True
    try:
        change = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        change = None
    if not isinstance(change, dict):
        shown = value[:_SHOWN_CHARS].decode("utf-8", "replace")
        return msgspec.json.encode(f"{place} is no JSON object: {shown}"), False
    op = change.get("op", "add")
    named = {name: change[name] for name in _FIELDS if change.get(name) is not None}
    return msgspec.json.encode({"op": op, "number": number, **named}), op == "remove"


_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaFeedSettings:
    """A `topic` of the cluster of `[kafka]`.

    `tombstones_kept_s` is the topic's `delete.retention.ms`, a day by default. After that time a
    removal may have left the topic, so all of it is read again.
    """

    topic: Annotated[str, Checked(checks.topic)]
    tombstones_kept_s: Annotated[int, Between(60, 366 * _DAY_S)] = _DAY_S
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 600.0


class _Stop(NamedTuple):
    """The position in a partition: the next offset, and the last record before it, if any."""

    next: int
    last: int = -1
    mark: str = ""

    @classmethod
    def parsed(cls, text: str) -> "_Stop":
        """Parse what `str` wrote. Raises ValueError."""
        after, last, mark = text.split(":")
        return cls(int(after), int(last), mark)

    def __str__(self) -> str:
        return f"{self.next}:{self.last}:{self.mark}"


class _AnotherTopic(Exception):
    """The remembered position is of another topic of this name."""


class KafkaTransport:
    """One topic."""

    def __init__(self, settings: KafkaFeedSettings, kafka: KafkaSettings) -> None:
        self._settings, self._kafka = settings, kafka
        self._origin = f"topic {settings.topic} of {kafka.bootstrap_servers}"
        self._writing: OwnThread[None] = OwnThread(self._origin, settings.deadline_s)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Write the records since the remembered position as a change file. Raises FeedDown."""
        deadline_s = self._settings.deadline_s
        try:
            async with asyncio.timeout(deadline_s), self._consumer() as consumer:
                try:
                    return await self._read(consumer, self._known(remembered), into)
                except _AnotherTopic:
                    return await self._read(consumer, {}, into)
        except TimeoutError as error:
            text = f"{self._origin} was not read within deadline_s = {deadline_s:g}"
            raise FeedDown(FeedFault.TIMEOUT, text) from error
        except TopicAuthorizationFailedError as error:
            text = f"{self._origin}: we may not read it: give our user the right"
            raise FeedDown(FeedFault.UNAUTHORISED, text) from error
        except KafkaRefuses as error:
            raise FeedDown(FeedFault.UNAUTHORISED, str(error)) from error
        except KafkaError as error:
            text = f"{self._origin} cannot be read: {type(error).__name__}"
            raise FeedDown(FeedFault.KAFKA_DOWN, text) from error

    def _known(self, remembered: Mapping[str, str]) -> dict[int, _Stop]:
        """Return the remembered positions by partition; empty if they are of no use any more."""
        read_at_s = int(remembered.get("read_at_s", "0"))
        if now_s() - read_at_s >= self._settings.tombstones_kept_s:
            return {}
        if remembered.get("topic") != self._settings.topic:
            return {}
        return {
            int(name): _Stop.parsed(text) for name, text in remembered.items() if name.isdecimal()
        }

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        """Open a consumer of all partitions, in no group. Raises FeedDown and Kafka's faults."""
        consumer: Any = AIOKafkaConsumer(  # aiokafka has no types
            **self._kafka.options(),
            group_id=None,  # a group's offsets would move before the gate has spoken
            enable_auto_commit=False,
            auto_offset_reset="none",  # an offset that is gone is noticed, not passed over
            isolation_level="read_committed",
        )
        try:
            try:
                await consumer.start()
            except KafkaError:
                await ask_why(self._kafka)
                raise
            if self._settings.topic not in await consumer.topics():
                text = f"{self._origin} does not exist, or we may not see it"
                raise FeedDown(FeedFault.MISSING, text)
            consumer.subscribe([self._settings.topic])
            while not consumer.assignment():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
            yield consumer
        finally:
            await consumer.stop()

    async def _read(
        self, consumer: Any, known: Mapping[int, _Stop], into: Path
    ) -> Fetched | Unchanged:
        reading_s = now_s()
        partitions = sorted(consumer.assignment())
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        whole = not known
        spans: dict[TopicPartition, tuple[int, int]] = {}
        for partition in partitions:
            stop = known.get(partition.partition)
            if not whole and (
                len(known) != len(partitions)
                or stop is None
                or not begins[partition] <= stop.next <= ends[partition]
            ):
                raise _AnotherTopic
            begin = begins[partition]
            # From the last known record, not after it: it shows whether the topic is the same.
            start = begin if stop is None or stop.last < begin else stop.last
            spans[partition] = (start, ends[partition])
        bytes_max = self._settings.bytes_max
        with change_lines(into, bytes_max, self._origin) as changes:
            reading = _Reading(changes, known, ends)
            # No patience here: `deadline_s` bounds the whole fetch.
            async for fetched in records_in(consumer, spans):
                reading.take(fetched)
            remember = {
                "topic": self._settings.topic,
                "read_at_s": str(reading_s),
                **{str(p.partition): str(reading.stop(p)) for p in partitions},
            }
            if not whole and not len(changes):
                return Unchanged(remember)
            before = sum(stop.next for stop in known.values())
            header = Header("", whole, before, sum(ends.values()))
            with landing(into, bytes_max, self._origin) as land:
                await self._writing(lambda stop: changes.write(land, header, stop))
        # Not as of its newest record: that may be a tombstone, which leaves the topic in time, and
        # a whole reading after it would look older than the one before.
        return land.fetched(remember, whole=whole)


class _Reading:
    """One pass through the topic, to the `ends` that it had at the start."""

    def __init__(
        self, changes: ChangeLines, known: Mapping[int, _Stop], ends: Mapping[TopicPartition, int]
    ) -> None:
        self._changes, self._known, self._ends = changes, known, ends
        self._last: dict[TopicPartition, _Stop] = {}

    def take(self, fetched: Mapping[TopicPartition, list[Any]]) -> None:
        """Add fetched records."""
        for partition, records in fetched.items():
            for record in records:
                self._take(partition, record)

    def stop(self, partition: TopicPartition) -> _Stop:
        """Return the position in a partition."""
        known = self._known.get(partition.partition, _Stop(0))
        return self._last.get(partition, known)._replace(next=self._ends[partition])

    def _take(self, partition: TopicPartition, record: Any) -> None:
        mark = f"{record.timestamp}/{xxhash.xxh3_64_hexdigest(record.key or b'')}"
        known = self._known.get(partition.partition)
        if known is not None and record.offset < known.next:
            if record.offset == known.last and mark != known.mark:
                raise _AnotherTopic
            return
        place = f"{partition.topic}/{partition.partition}/{record.offset}"
        key = record.key if record.key is not None else place.encode()
        change, removes = change_of(record.key, record.value, place)
        self._changes.add(key, change, removes=removes)
        self._last[partition] = _Stop(0, record.offset, mark)
