"""The recorded calls of a span of time, at full speed and beside production.

It reads in no group and to offsets that are fixed at its start. No group's position is touched, and
later records are not read. The records are fetched as the engine fetches them (by the fetcher, if
it can be used). So a replay is no slower than the engine was.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.calls.call_batch import CallBatch
from stream.core.model.byte_strings import Texts
from stream.core.model.errors import SourceDown
from stream.insight.replay.compare import Side, compare
from stream.insight.replay.totals import Sums
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.call_events import Observe
from stream.kafka.clients import Patience, down
from stream.kafka.fetch.fetcher import ANSWER_BYTES, PARTITION_BYTES, Reader, reader_for
from stream.kafka.settings import KafkaSettings, SourceSettings
from stream.kafka.topic_reader import STALLED_S, Progress, between, read_spans
from stream.kafka.topic_reader import reader as topic_reader
from stream.ops.clock import monotonic_s

WAIT_MS: Final = 200
"""All records are there already: a longer wait only delays the end."""
Spans = Mapping[Partition, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ReplaySpan:
    """The records to read: those that Kafka got from `from_ms` until before `until_ms`.

    `records_max` is the largest batch, `rate_max` records a second at most (0: no limit).
    """

    topics: Sequence[str]
    from_ms: int
    until_ms: int
    records_max: int
    rate_max: int = 0


class Recording:
    """Recorded calls, which may be read more than once: the same records each time.

    Timestamps may not rise, if a switch writes its own. Then a partition begins at the first record
    that is so new, and only the records that are too new are left out.
    """

    def __init__(
        self, consumer: Any, reader: Reader, spans: Spans, asked: ReplaySpan, kafka: KafkaSettings
    ) -> None:
        """Use `recording`."""
        self._kafka = kafka
        self._consumer = consumer
        self._reader = reader
        self._asked = asked
        self._epoch = 0
        self.spans = {name: span for name, span in spans.items() if span[0] < span[1]}

    @property
    def offsets(self) -> int:
        """The number of offsets to read; records are fewer where transactions end."""
        return sum(stop - start for start, stop in self.spans.values())

    async def batches(self, progress: Progress) -> AsyncGenerator[RawBatch, None]:
        """Yield all records, from the beginning; `progress` gets offsets, done and in all.

        A batch's values last until the next one. Raises SourceDown.
        """
        for name, (start, _) in self.spans.items():
            self._consumer.seek(TopicPartition(*name), start)
        self._epoch += 1
        self._reader.begin(self._epoch, {name: start for name, (start, _) in self.spans.items()})
        pace, patience = _Pace(self._asked.rate_max), Patience(self._kafka)
        async with aclosing(read_spans(self, self.spans, progress, patience, STALLED_S)) as taken:
            async for whole in taken:
                batch = cut(whole, self.spans, self._asked.until_ms)
                if len(batch):
                    yield batch
                    await pace.after(len(batch))

    async def position(self, partition: Partition) -> int:
        """See `topic_reader.Source`."""
        return await self._reader.position(partition)

    def release(self, done: Collection[Partition]) -> None:
        """See `topic_reader.Source`."""
        self._reader.release(done)

    async def take(self, unread: Collection[Partition]) -> RawBatch:
        """See `topic_reader.Source`."""
        del unread  # the reader gives nothing of partitions that were released
        try:
            batch = await self._reader.take(self._asked.records_max, WAIT_MS)
        except KafkaError as error:
            raise down(self._kafka, "calls cannot be read", error) from error
        if self._reader.stopped:
            raise SourceDown(
                "a record batch cannot be right (the line above names it): "
                'calls.corrupt_batches = "skip" passes over such batches'
            )
        return batch


@asynccontextmanager
async def recording(
    kafka: KafkaSettings, source: SourceSettings, asked: ReplaySpan, observe: Observe
) -> AsyncGenerator[Recording, None]:
    """Open what `asked` names; `source` says how production fetches.

    Raises TopicMissing, SourceDown, KafkaAway, KafkaRefuses.
    """
    # A position that is gone (retention) goes on with what is there, never at the end.
    source = replace(source, start_at="earliest")

    opened = topic_reader(
        kafka,
        asked.topics,
        observe,
        "`ringfence topics list` has them",
        fetch_max_bytes=ANSWER_BYTES,
        max_partition_fetch_bytes=PARTITION_BYTES,
        fetch_max_wait_ms=source.fetch_max_wait_ms,
        check_crcs=True,
    )
    async with opened as consumer:
        # Assigned by hand, partitions stay the same whatever becomes of the topics meanwhile.
        partitions = consumer.assignment()
        consumer.unsubscribe()
        consumer.assign(list(partitions))
        reader = reader_for(consumer, kafka, source, observe)
        reader.hold(sorted(Partition(tp.topic, tp.partition) for tp in partitions))
        try:
            found = await between(consumer, asked.from_ms, asked.until_ms)
        except KafkaError as error:
            raise down(kafka, "what is recorded cannot be looked up", error) from error
        spans = {Partition(tp.topic, tp.partition): span for tp, span in found.items()}
        await reader.start()
        try:
            yield Recording(consumer, reader, spans, asked, kafka)
        finally:
            await reader.stop()


class _Pace:
    """No more than so many records a second, on the whole."""

    def __init__(self, rate_max: int) -> None:
        self._rate_max = rate_max
        self._begun_s = monotonic_s()
        self._records = 0

    async def after(self, records: int) -> None:
        """Wait until so many more may have been read."""
        self._records += records
        if not self._rate_max:
            return
        early_s = self._records / self._rate_max - (monotonic_s() - self._begun_s)
        if early_s > 0:
            await asyncio.sleep(early_s)


def cut(batch: RawBatch, spans: Spans, until_ms: int) -> RawBatch:
    """Return the batch without what is behind its partitions' ends, or not before `until_ms`."""
    kept = batch.timestamps_ms < until_ms
    for name, start, stop in batch.segments:
        kept[start:stop] &= batch.offsets[start:stop] < spans[name][1]
    if kept.all():
        return batch  # as nearly always: only the last ones are cut
    values, rows = batch.values, np.flatnonzero(kept).tolist()
    ends = [0, *np.cumsum(kept).tolist()]
    segments = (Segment(name, ends[start], ends[stop]) for name, start, stop in batch.segments)
    # Headers stay: they may name a record's schema. After `Texts` they lie behind the values.
    return replace(
        batch,
        values=Texts(values.data, values.starts[kept], values.sizes[kept])
        if isinstance(values, Texts)
        else [values[row] for row in rows],
        offsets=batch.offsets[kept],
        timestamps_ms=batch.timestamps_ms[kept],
        segments=tuple(one for one in segments if one.start < one.stop),
        headers=[batch.headers[row] for row in rows] if batch.headers else (),
    )


Decode = Callable[[RawBatch], CallBatch]


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides to compare. Both decide as if it were `at_s`, seconds since the epoch.

    `decode_after` reads records for the candidate; None: it reads them as production does.
    """

    production: Side
    candidate: Side
    at_s: int
    decode_after: Decode | None = None


async def replay(
    recording: Recording, decode: Decode, sides: Sides, sums: Sums, progress: Progress
) -> None:
    """Decide all calls of `recording` twice and count what differs. Raises SourceDown."""
    async with aclosing(recording.batches(progress)) as batches:
        async for raw in batches:
            after = None if sides.decode_after is None else sides.decode_after(raw)
            sums.add(compare(decode(raw), sides.production, sides.candidate, sides.at_s, after))
            await asyncio.sleep(0)  # deciding awaits nothing; the next answer comes in here


async def look_for_calls_back(
    recording: Recording, decode: Decode, sums: Sums, progress: Progress
) -> None:
    """Read all calls again for those to newly blocked numbers, where there are such numbers.

    `decode` reads called numbers too. Which numbers are wanted is known only after the first pass.
    A call back may lie before the call that it answers, in another partition.
    """
    wanted = sums.wanted()
    if not len(wanted):
        return
    async with aclosing(recording.batches(progress)) as batches:
        async for raw in batches:
            sums.called_back(decode(raw), wanted)
            await asyncio.sleep(0)
