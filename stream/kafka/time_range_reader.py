"""The records of topics between two moments, by Kafka's timestamps.

Read in no group, from offsets that Kafka finds for the moments: nobody's positions are touched, and
what is held in memory is a fetch. Each partition comes in its own order.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.core.model.decision import Decision
from stream.core.model.errors import UNREADABLE, SourceDown, TopicMissing
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected, onlooker, subscribed
from stream.kafka.connection_settings import KafkaSettings
from stream.kafka.outage import Patience, down
from stream.ops.clock import monotonic_s

RECORDS_MAX: Final = 5000
FETCH_BYTES_MAX: Final = 16 << 20
FETCH_WAIT_MS: Final = 20
"""Short, since all is there already: other questions wait behind a fetch that waits for news."""
STALLED_S: Final = 60.0
"""Without one more record for so long the answer would stay incomplete: it is given up."""

Progress = Callable[[int, int], None]


async def past_records(
    kafka: KafkaSettings,
    topics: Sequence[str],
    from_ms: int,
    until_ms: int,
    observe: Observe,
    progress: Progress,
) -> AsyncGenerator[RawBatch, None]:
    """Records appended from `from_ms` until before `until_ms`; of the future, what is there now.

    Where timestamps do not rise (a switch that writes its own), a partition begins at the first
    record that is so new and ends before the first that is too new. `progress` is told offsets.
    Raises TopicMissing, SourceDown, KafkaAway, KafkaRefuses.
    """

    def make() -> AIOKafkaConsumer:
        return onlooker(kafka, fetch_max_bytes=FETCH_BYTES_MAX, fetch_max_wait_ms=FETCH_WAIT_MS)

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, observe)
    try:
        missing = sorted(set(topics) - set(await consumer.topics()))
        if missing:
            raise TopicMissing(f"no topic {', '.join(missing)}: `ringfence topics show` has them")
        await subscribed(consumer, topics, kafka)
        spans = await spans_of(consumer, from_ms, until_ms)
        async for batch in _read(consumer, spans, progress, Patience(kafka)):
            yield batch
    except KafkaError as error:
        raise down(kafka, f"{', '.join(topics)} can not be read", error) from error
    finally:
        await consumer.stop()


async def find_decision(
    kafka: KafkaSettings,
    topic: str,
    decision_id: str,
    from_ms: int,
    until_ms: int,
    observe: Observe,
    progress: Progress,
) -> Decision | None:
    """The decision with that id; None: none of that time is kept. Raises as `past_records`."""
    wanted = decision_id.encode()
    records = past_records(kafka, [topic], from_ms, until_ms, observe, progress)
    async with aclosing(records):  # found early, the rest is not read
        async for batch in records:
            for value in batch.values:
                if value is None or wanted not in value:
                    continue
                decision = decision_in(value)
                if decision is not None and decision.decision_id == decision_id:
                    return decision
    return None


def decision_in(value: bytes) -> Decision | None:
    """The decision in a record; None: somebody else writes to this topic too."""
    try:
        return _decode(value)
    except UNREADABLE:
        return None


async def spans_of(
    consumer: Any, from_ms: int, until_ms: int
) -> dict[TopicPartition, tuple[int, int]]:
    """From which offset until before which each assigned partition is read.

    The ends are those of this moment: what is written from now on is not read. Raises KafkaError.
    """
    partitions = consumer.assignment()
    ends = await consumer.end_offsets(partitions)
    starts = await consumer.offsets_for_times(dict.fromkeys(partitions, from_ms))
    stops = await consumer.offsets_for_times(dict.fromkeys(partitions, until_ms))
    return {
        one: (
            ends[one] if starts[one] is None else starts[one].offset,
            ends[one] if stops[one] is None else min(stops[one].offset, ends[one]),
        )
        for one in partitions
    }


async def _read(
    consumer: Any,
    spans: dict[TopicPartition, tuple[int, int]],
    progress: Progress,
    patience: Patience,
) -> AsyncIterator[RawBatch]:
    unread = {one for one, (start, stop) in spans.items() if start < stop}
    consumer.pause(*(spans.keys() - unread))
    for one in unread:
        consumer.seek(one, spans[one][0])
    whole = sum(spans[one][1] - spans[one][0] for one in unread)
    moved_s, left = monotonic_s(), whole
    while unread:
        found = await consumer.getmany(*unread, timeout_ms=500, max_records=RECORDS_MAX)
        if found:
            yield _batch(found, spans)
        # Offsets have holes (transaction markers): the position says when the end is reached.
        at = {one: await consumer.position(one) for one in unread}
        done = {one for one in unread if at[one] >= spans[one][1]}
        if done:
            consumer.pause(*done)
        unread -= done
        before, left = left, sum(spans[one][1] - at[one] for one in unread)
        if left < before:
            moved_s = monotonic_s()
            patience.came()
            progress(whole - left, whole)
            continue
        patience.check("no more records come")
        if monotonic_s() - moved_s > STALLED_S:
            raise SourceDown(f"Kafka gave no more records for {STALLED_S:.0f} s: ask again")


def _batch(
    found: dict[TopicPartition, list[Any]], spans: dict[TopicPartition, tuple[int, int]]
) -> RawBatch:
    values: list[bytes | None] = []
    offsets: list[int] = []
    timestamps: list[int] = []
    segments = []
    for one, records in found.items():
        start = len(values)
        kept = [record for record in records if record.offset < spans[one][1]]
        values += [record.value for record in kept]
        offsets += [record.offset for record in kept]
        timestamps += [record.timestamp for record in kept]
        segments.append(Segment(Partition(one.topic, one.partition), start, len(values)))
    return RawBatch(
        values=values,
        offsets=np.array(offsets, np.int64),
        timestamps_ms=np.array(timestamps, np.int64),
        segments=tuple(segments),
        epoch=0,
    )


_decode = msgspec.json.Decoder(Decision).decode
