"""Read topics in no group, from offsets that are known to offsets that are known.

Nobody's positions are touched, and what is held in memory is a fetch. One loop serves all who read
so: `read_spans` over any `SpanSource`, `records_in` over an aiokafka consumer.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.core.model.errors import SourceDown, TopicMissing
from stream.kafka.batch import RawBatch
from stream.kafka.call_events import Observe
from stream.kafka.clients import Patience, connected, down, onlooker, subscribed
from stream.kafka.reader import as_batch
from stream.kafka.settings import KafkaSettings
from stream.ops.clock import monotonic_s

RECORDS_MAX: Final = 5000
"""Records handed out at once: about 40 ms of work, in which nothing else runs."""
FETCH_BYTES_MAX: Final = 16 << 20
"""Of one fetch: what is held in memory."""
FETCH_WAIT_MS: Final = 20
"""Short, since all records are there already: a fetch that waits for news delays all others."""
STALLED_S: Final = 60.0
"""Without one more record for so long the answer would stay incomplete, so reading gives up."""
AHEAD_MS: Final = 3_600_000
"""A record may be so much too new: brokers take times up to an hour ahead, if not set otherwise."""
_TAKE_MS: Final = 500
"""Longest wait for records, after which positions are looked at: they pass holes by themselves."""
_FOLLOW_MS: Final = 1000
"""The same of a follower, which has no end to look for."""

Progress = Callable[[int, int], None]
"""Called with the offsets that are read and those that there are."""
P = TypeVar("P")
T = TypeVar("T")
P_contra = TypeVar("P_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class SpanSource(Protocol[P_contra, T_co]):
    """Gives records of partitions in the order of their offsets."""

    async def take(self, unread: Collection[P_contra]) -> T_co:
        """Return what came of the partitions `unread`, after a short wait at most."""

    async def position(self, partition: P_contra) -> int:
        """Return the offset that `take` goes on from."""

    def release(self, done: Collection[P_contra]) -> None:
        """Read no more of these partitions."""


async def read_spans(
    source: SpanSource[P, T],
    spans: Mapping[P, tuple[int, int]],
    progress: Progress | None = None,
    patience: Patience | None = None,
    stalled_s: float | None = None,
) -> AsyncGenerator[T, None]:
    """Yield what `source` gives, until each partition is read from its offset until before another.

    `source` stands at the first ones. It may give records from after the end of a span.
    Raises KafkaAway when nothing comes and `patience` is over, SourceDown after `stalled_s`.
    """
    at = {one: start for one, (start, stop) in spans.items() if start < stop}
    source.release([one for one in spans if one not in at])
    whole = left = sum(spans[one][1] - start for one, start in at.items())
    moved_s = monotonic_s()
    while at:
        yield await source.take(at)
        # Offsets have holes (transaction markers): the position says when the end is reached.
        for one in at:
            at[one] = await source.position(one)
        done = [one for one, offset in at.items() if offset >= spans[one][1]]
        for one in done:
            del at[one]
        source.release(done)
        before, left = left, sum(spans[one][1] - offset for one, offset in at.items())
        # By positions, not by records: a span may be nothing but markers and aborted batches.
        if left < before:
            moved_s = monotonic_s()
            if patience is not None:
                patience.came()
            if progress is not None:
                progress(whole - left, whole)
            continue
        if patience is not None:
            patience.check("no more records come")
        if stalled_s is not None and monotonic_s() - moved_s > stalled_s:
            raise SourceDown(f"Kafka gave no more records for {stalled_s:.0f} s: ask again")


class _Consumer:
    """An aiokafka consumer as a source. Afterwards it stands at the ends, to be followed."""

    def __init__(
        self, consumer: Any, spans: Mapping[TopicPartition, tuple[int, int]], records_max: int
    ) -> None:
        self._consumer, self._spans, self._records_max = consumer, spans, records_max
        for one, (start, _) in spans.items():
            consumer.seek(one, start)

    async def take(self, unread: Collection[TopicPartition]) -> dict[TopicPartition, list[Any]]:
        fetched: Mapping[TopicPartition, list[Any]] = await self._consumer.getmany(
            *unread, timeout_ms=_TAKE_MS, max_records=self._records_max
        )
        return {
            one: [record for record in records if record.offset < self._spans[one][1]]
            for one, records in fetched.items()
        }

    async def position(self, partition: TopicPartition) -> int:
        offset: int = await self._consumer.position(partition)
        return offset

    def release(self, done: Collection[TopicPartition]) -> None:
        # Records after the end may have been taken with the last ones: a follower wants them.
        for one in done:
            self._consumer.seek(one, self._spans[one][1])
        self._consumer.pause(*done)


async def records_in(
    consumer: Any,
    spans: Mapping[TopicPartition, tuple[int, int]],
    progress: Progress | None = None,
    patience: Patience | None = None,
    stalled_s: float | None = None,
    records_max: int = RECORDS_MAX,
) -> AsyncGenerator[dict[TopicPartition, list[Any]], None]:
    """Yield aiokafka's records of partitions of `consumer`, from one offset until before another.

    Read to the end, `consumer` stands at the ends. Raises KafkaError, and as `read_spans`.
    """
    source = _Consumer(consumer, spans, records_max)
    async with aclosing(read_spans(source, spans, progress, patience, stalled_s)) as found:
        async for fetched in found:
            yield fetched
    consumer.resume(*spans)


async def follow(consumer: Any) -> AsyncGenerator[list[Any], None]:
    """Yield what comes in each partition of `consumer`, for ever; first what it has not given yet.

    Raises KafkaError.
    """
    while True:
        for records in (await consumer.getmany(timeout_ms=_FOLLOW_MS)).values():
            yield records


async def require_topics(consumer: Any, topics: Sequence[str], fix: str) -> None:
    """Raise TopicMissing, with `fix`, unless the cluster has all `topics`."""
    missing = sorted(set(topics) - set(await consumer.topics()))
    if missing:
        raise TopicMissing(f"no topic {', '.join(missing)}: {fix}")


@asynccontextmanager
async def reader(
    kafka: KafkaSettings,
    topics: Sequence[str],
    observe: Observe,
    fix: str = "`ringfence topics create` makes it",
    **options: Any,
) -> AsyncIterator[Any]:
    """Open a consumer of all partitions of `topics`, in no group; wait for a broker that is away.

    `options` are aiokafka's. Raises TopicMissing, KafkaRefuses, KafkaAway, SourceDown.
    """

    def make() -> AIOKafkaConsumer:
        return onlooker(kafka, **options)

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, observe)
    try:
        try:
            await require_topics(consumer, topics, fix)
            await subscribed(consumer, topics, kafka)
        except KafkaError as error:
            raise down(kafka, f"{', '.join(topics)} cannot be read", error) from error
        yield consumer
    finally:
        await consumer.stop()


async def newest(consumer: Any, back: int) -> dict[TopicPartition, tuple[int, int]]:
    """Return the span of the last `back` offsets of each partition. Raises KafkaError."""
    partitions = consumer.assignment()
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    return {one: (max(begins[one], end - back), end) for one, end in ends.items()}


async def between(
    consumer: Any, from_ms: int, until_ms: int
) -> dict[TopicPartition, tuple[int, int]]:
    """Return the span of each partition between two moments, by Kafka's timestamps.

    The ends are those of this moment: what is written from now on is not read. Timestamps may not
    rise, if a switch writes its own. So a partition begins at the first record that is so new. It
    ends before the first that is too new by `AHEAD_MS`: the records that are too new by less are
    the caller's to leave out. Else a switch whose clock is ahead hides the calls of all others.
    Raises KafkaError.
    """
    partitions = consumer.assignment()
    ends = await consumer.end_offsets(partitions)
    starts = await consumer.offsets_for_times(dict.fromkeys(partitions, from_ms))
    stops = await consumer.offsets_for_times(dict.fromkeys(partitions, until_ms + AHEAD_MS))
    return {
        one: (
            ends[one] if starts[one] is None else starts[one].offset,
            ends[one] if stops[one] is None else min(stops[one].offset, ends[one]),
        )
        for one in partitions
    }


async def past_records(
    kafka: KafkaSettings,
    topics: Sequence[str],
    from_ms: int,
    until_ms: int,
    observe: Observe,
    progress: Progress,
) -> AsyncGenerator[RawBatch, None]:
    """Yield records appended from `from_ms` until before `until_ms`; of the future, what is there.

    `progress` gets offsets. Raises TopicMissing, SourceDown, KafkaAway, KafkaRefuses.
    """
    opened = reader(
        kafka,
        topics,
        observe,
        "`ringfence topics list` has them",
        fetch_max_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    async with opened as consumer:
        try:
            spans = await between(consumer, from_ms, until_ms)
            found = records_in(consumer, spans, progress, Patience(kafka), STALLED_S)
            async with aclosing(found):
                async for fetched in found:
                    inside = {
                        one: [record for record in records if record.timestamp < until_ms]
                        for one, records in fetched.items()
                    }
                    if any(inside.values()):
                        yield as_batch(inside, epoch=0)
        except KafkaError as error:
            raise down(kafka, f"{', '.join(topics)} cannot be read", error) from error
