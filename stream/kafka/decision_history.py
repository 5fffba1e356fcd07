"""Decisions that were published, read from their topic as any other reader would; in no group."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.core.model.errors import UNREADABLE, TopicMissing
from stream.core.numbers.number import masked
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected, onlooker, subscribed
from stream.kafka.connection_settings import KafkaSettings
from stream.kafka.outage import Patience, down
from stream.kafka.partitioner import partitions_of

LOOK_BACK = 10_000
"""How many records of a partition are looked through for those of one kind."""
_NUMBERS = ("number", "caller", "callee")
T = TypeVar("T")


class Found(NamedTuple):
    """A record that was read, and where it lies."""

    partition: int
    offset: int
    timestamp_ms: int
    decision: dict[str, Any]
    headers: Mapping[str, str]


def decision_in(value: bytes | None) -> dict[str, Any] | None:
    """The decision in a record; None: somebody else writes to this topic too."""
    try:
        decision = msgspec.json.decode(value or b"null")
    except UNREADABLE:
        return None
    return decision if isinstance(decision, dict) else None


def without_numbers(decision: dict[str, Any]) -> dict[str, Any]:
    """The decision, its numbers masked in place."""
    decision |= {
        name: masked(decision[name]) for name in _NUMBERS if isinstance(decision.get(name), str)
    }
    reasons = decision.get("reasons")
    for reason in reasons if isinstance(reasons, list) else ():
        if isinstance(reason, dict) and "prefix" in reason:  # it may be as long as a number
            reason["prefix"] = masked(str(reason["prefix"]))
    return decision


@asynccontextmanager
async def reader(kafka: KafkaSettings, topic: str, observe: Observe) -> AsyncIterator[Any]:
    """A consumer of all partitions of `topic`, in no group; waits for a broker that is away.

    Raises TopicMissing, KafkaRefuses, KafkaAway, SourceDown.
    """

    def make() -> AIOKafkaConsumer:
        return onlooker(kafka)

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, observe)
    try:
        try:
            if topic not in await consumer.topics():
                raise TopicMissing(f"no topic {topic}: `ringfence topics create` makes it")
            await subscribed(consumer, [topic], kafka)
        except KafkaError as error:
            raise down(kafka, f"{topic} can not be read", error) from error
        yield consumer
    finally:
        await consumer.stop()


async def last(
    consumer: Any,
    limit: int,
    look_back: int,
    wanted: Callable[[dict[str, Any]], bool],
    patience: Patience | None = None,
) -> list[Found]:
    """The last `limit` decisions that are `wanted`, oldest first.

    `look_back` records of each partition are looked through. Afterwards `consumer` stands at the
    end, to be followed. Raises KafkaError, KafkaAway where `patience` is over.
    """
    partitions = consumer.assignment()
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    for partition, end in ends.items():
        back = max(limit, look_back) if limit else 0
        consumer.seek(partition, max(begins[partition], end - back))
    unread = {partition for partition, end in ends.items() if begins[partition] < end and limit}
    found = await _up_to(consumer, {one: ends[one] for one in unread}, wanted, patience=patience)
    return found[-limit:] if limit else []


async def about(
    consumer: Any, topic: str, number: str, limit: int, look_back: int, until_ms: int | None = None
) -> tuple[list[Found], bool]:
    """The last `limit` decisions about `number`, newest last, and whether all were looked at.

    All of one number lie in one partition (its key), of which `look_back` records are looked
    through at most, in growing steps back from its end, or from `until_ms` (epoch). Decisions from
    before the topic got more partitions may lie elsewhere. Raises KafkaError.
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
    found: list[Found] = []
    until, step = end, 2000
    while until > least and len(found) < limit:
        since = max(least, until - step)
        consumer.seek(partition, since)
        new = await _up_to(consumer, {partition: until}, lambda _: True, number.encode())
        found = [*new, *found]
        until, step = since, step * 4
    return found[-limit:], until <= begin or len(found) >= limit


async def _up_to(
    consumer: Any,
    ends: dict[TopicPartition, int],
    wanted: Callable[[dict[str, Any]], bool],
    key: bytes | None = None,
    patience: Patience | None = None,
) -> list[Found]:
    """What is wanted from where `consumer` stands up to `ends` (exclusive), oldest first.

    With a `key` records of others are not even decoded.
    """
    found: list[Found] = []
    unread = set(ends)
    while unread:
        fetched = await consumer.getmany(*unread, timeout_ms=500)
        if patience is not None:
            patience.came() if fetched else patience.check("no decisions come")
        for partition, records in fetched.items():
            for record in records:
                if record.offset >= ends[partition] or (key is not None and record.key != key):
                    continue
                decision = decision_in(record.value)
                if decision is not None and wanted(decision):
                    where = (partition.partition, record.offset, record.timestamp)
                    found.append(Found(*where, decision, _texts(record.headers)))
        # Offsets have holes (transaction markers): the position says when the end is reached.
        unread = {p for p in unread if await consumer.position(p) < ends[p]}
    found.sort(key=lambda each: each.timestamp_ms)
    return found


def _texts(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in headers}
