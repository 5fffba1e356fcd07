"""Read published decisions from their topic, in no group."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition

from stream.core.model.decision import Decision, read_decision
from stream.core.model.errors import UNREADABLE
from stream.core.numbers.number import masked
from stream.kafka.batch_encoder import partitions_of
from stream.kafka.call_events import Observe
from stream.kafka.clients import Patience
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import Progress, newest, past_records, records_in

LOOK_BACK = 10_000
"""Records of a partition that are looked through for those of one kind."""
_NUMBERS = ("number", "caller", "callee")


class FoundDecision(NamedTuple):
    """A record that was read, and where it lies."""

    partition: int
    offset: int
    timestamp_ms: int
    decision: dict[str, Any]
    headers: Mapping[str, str]


def decision_in(value: bytes | None) -> dict[str, Any] | None:
    """Read the decision in a record; None: another program writes to this topic too."""
    try:
        decision = msgspec.json.decode(value or b"null")
    except UNREADABLE:
        return None
    return decision if isinstance(decision, dict) else None


def without_numbers(decision: dict[str, Any]) -> dict[str, Any]:
    """Mask the numbers of a decision in place, and return it."""
    decision |= {
        name: masked(decision[name]) for name in _NUMBERS if isinstance(decision.get(name), str)
    }
    reasons = decision.get("reasons")
    for reason in reasons if isinstance(reasons, list) else ():
        if isinstance(reason, dict) and "prefix" in reason:  # it may be as long as a number
            reason["prefix"] = masked(str(reason["prefix"]))
    return decision


async def last(
    consumer: Any,
    limit: int,
    look_back: int,
    wanted: Callable[[dict[str, Any]], bool],
    patience: Patience | None = None,
) -> list[FoundDecision]:
    """Return the last `limit` decisions that are `wanted`, oldest first.

    `look_back` records of each partition are looked through. Afterwards `consumer` stands at the
    end, to be followed. Raises KafkaError, KafkaAway where `patience` is over.
    """
    spans = await newest(consumer, max(limit, look_back) if limit else 0)
    found = await _found(consumer, spans, wanted, patience=patience)
    return found[-limit:] if limit else []


async def about(
    consumer: Any, topic: str, number: str, limit: int, look_back: int, until_ms: int | None = None
) -> tuple[list[FoundDecision], bool]:
    """Return the last `limit` decisions about `number`, newest last, and whether those are all.

    All of one number lie in one partition (its key). At most `look_back` of its records are
    searched, in growing steps back from its end, or from `until_ms` (epoch). Decisions from before
    the topic got more partitions may lie elsewhere. Raises KafkaError.
    """
    ids = sorted(consumer.partitions_for_topic(topic) or {0})
    place = int(partitions_of([number.encode()], len(ids))[0])
    partition = TopicPartition(topic, ids[place])
    begin = (await consumer.beginning_offsets([partition]))[partition]
    end = (await consumer.end_offsets([partition]))[partition]
    if until_ms is not None:
        later = (await consumer.offsets_for_times({partition: until_ms + 1}))[partition]
        end = end if later is None else later.offset
    least = max(begin, end - look_back)
    found: list[FoundDecision] = []
    # A number that calls now is found in the first step; each further one reads four times as much,
    # so that a rare number takes few round trips.
    until, step = end, 2000
    while until > least and len(found) < limit:
        since = max(least, until - step)
        new = await _found(consumer, {partition: (since, until)}, lambda _: True, number.encode())
        found = [*new, *found]
        until, step = since, step * 4
    return found[-limit:], until <= begin or len(found) >= limit


async def _found(
    consumer: Any,
    spans: Mapping[TopicPartition, tuple[int, int]],
    wanted: Callable[[dict[str, Any]], bool],
    key: bytes | None = None,
    patience: Patience | None = None,
) -> list[FoundDecision]:
    """Return what is wanted in `spans`, oldest first; with a `key` only records that have it."""
    found: list[FoundDecision] = []
    async with aclosing(records_in(consumer, spans, patience=patience)) as read:
        async for fetched in read:
            for partition, records in fetched.items():
                for record in records:
                    if key is not None and record.key != key:
                        continue  # not even decoded
                    decision = decision_in(record.value)
                    if decision is not None and wanted(decision):
                        where = (partition.partition, record.offset, record.timestamp)
                        found.append(FoundDecision(*where, decision, _texts(record.headers)))
    found.sort(key=lambda each: each.timestamp_ms)
    return found


async def find_decision(
    kafka: KafkaSettings,
    topic: str,
    decision_id: str,
    from_ms: int,
    until_ms: int,
    observe: Observe,
    progress: Progress,
) -> Decision | None:
    """Return the decision with that id; None: Kafka keeps none of that time.

    Raises as `past_records`.
    """
    needle = decision_id.encode()
    span = (from_ms, until_ms)
    async with aclosing(past_decisions(kafka, topic, span, observe, progress, needle)) as read:
        # `aclosing` ends the read at once: a generator that is left alone keeps its consumer.
        async for decisions in read:
            for decision in decisions:
                if decision.decision_id == decision_id:
                    return decision
    return None


async def past_decisions(
    kafka: KafkaSettings,
    topic: str,
    span: tuple[int, int],
    observe: Observe,
    progress: Progress,
    needle: bytes = b"",
) -> AsyncGenerator[list[Decision], None]:
    """Yield the decisions of a `span` of time, a batch at once; `span`, raises: `past_records`.

    Only records with `needle` in their bytes are decoded. JSON may escape any letter; our own
    decisions never escape digits and ids.
    """
    records = past_records(kafka, [topic], *span, observe, progress)
    async with aclosing(records):
        async for batch in records:
            values = (value for value in batch.values if value is not None and needle in value)
            found = map(read_decision, values)
            yield [decision for decision in found if decision is not None]


def _texts(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in headers}
