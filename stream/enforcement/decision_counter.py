"""Count recorded decisions by the lists that led to them, with positions of our own in Redis.

A decision counts for the lists that caused it: the one that its rule names, or all those of the
agreement that it names. Of those, several may have been needed. Lists that hold the number and
would have done less do not count. So a call is counted once for each list that stopped it.

The counter joins no group: a position in Kafka would be a second truth beside that in Redis, which
moves with the counts. A second counter beside it does no harm: what one has counted, the other does
not count again.
"""

import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.core.filters.digests import fingerprints_in
from stream.core.model.agreement import owner_of
from stream.core.model.decision import Decision, Reason, Verdict, read_decision
from stream.core.model.enforcement_document import CallOutcome
from stream.core.model.moments import read_rfc3339
from stream.kafka.call_events import CallEvent
from stream.kafka.clients import down
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import reader, records_in
from stream.lists.store.enforcement_counts import (
    REBUILT_DAYS,
    SEEN,
    Cell,
    CountPosition,
    DecisionCounts,
    day_of,
)
from stream.lists.store.enforcement_store import ID_BYTES, EnforcementStore
from stream.ops.clock import now_ms

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 5_000
"""Records counted by one transaction, which holds Redis up for some 20 ms."""
WAIT_MS: Final = 500
"""One wait for decisions: the gauge of what is left is set again after it."""
UNCONFIRMED: Final = "unconfirmed"
"""The category of a Bloom hit that nothing confirms."""
_OUTCOMES: Final[Mapping[str, CallOutcome]] = {
    Verdict.BLOCK: CallOutcome.BLOCKED,
    Verdict.FLAG: CallOutcome.FLAGGED,
}


@dataclass(slots=True)
class Passed:
    """Records that are not counted: `unreadable` as decisions, `repeated`, of days `too_old`."""

    unreadable: int = 0
    repeated: int = 0
    too_old: int = 0


@dataclass(frozen=True, slots=True)
class DecisionTally:
    """Counts decisions that were made in `home`. `key_of` gives a list's hashing key.

    None where there is none: its calls are counted, and not how many numbers they were.
    """

    home: str
    key_of: Callable[[str], bytes | None]

    def batch(
        self, values: Collection[bytes | None], seen: set[bytes], today: date
    ) -> tuple[DecisionCounts, Passed]:
        """Return the counts of the records with these `values`, and what was passed over.

        Decisions in `seen` are not counted again; `seen` gets those that are.
        """
        batch, passed = DecisionCounts(), Passed()
        hashed: dict[tuple[str, str], int] = {}
        oldest = today - timedelta(days=REBUILT_DAYS)
        for value in values:
            decision = read_decision(value)
            at = None if decision is None else read_rfc3339(decision.decided_at, None)
            if decision is None or at is None:
                passed.unreadable += 1  # another program writes to this topic too
                continue
            stopped = self._stopped_by(decision)
            if not stopped:
                continue
            if decision.repeats:
                passed.repeated += 1  # another record of a call that was decided already
                continue
            # A hash of fixed size: Redis keeps the last ones of each partition as one string.
            identity = blake2b(decision.decision_id.encode(), digest_size=ID_BYTES).digest()
            if identity in seen:
                passed.repeated += 1
                continue
            at_ms = int(at.timestamp() * 1000)
            day = _day_of(at_ms)
            if day is None or not oldest < day:
                passed.too_old += 1
                continue
            seen.add(identity)
            batch.ids.append(identity)
            for reason, outcome in stopped:
                self._add(batch, hashed, decision, reason, outcome, day, at_ms)
        return batch, passed

    def _stopped_by(self, decision: Decision) -> list[tuple[Reason, CallOutcome]]:
        outcome = CallOutcome.SIMULATED if decision.simulated else _OUTCOMES.get(decision.verdict)
        if outcome is None:
            return []
        return [
            (reason, outcome)
            for reason in decision.deciding()
            if owner_of(reason.list) != self.home
        ]

    def _add(
        self,
        batch: DecisionCounts,
        hashed: dict[tuple[str, str], int],
        decision: Decision,
        reason: Reason,
        outcome: CallOutcome,
        day: date,
        at_ms: int,
    ) -> None:
        cell = Cell(reason.list, day, reason.category or UNCONFIRMED)
        batch.calls[cell, outcome] += 1
        text = decision.entry_of(reason)
        if text is None:
            return
        fingerprint = hashed.get((reason.list, text))
        if fingerprint is None:
            key = self.key_of(reason.list)
            if key is None:
                return
            found = fingerprints_in(np.array([text], "S16"), key)
            fingerprint = hashed[reason.list, text] = int(found[0])
        batch.numbers.setdefault(cell, set()).add(fingerprint)
        if outcome is not CallOutcome.SIMULATED:
            place = reason.list, fingerprint
            batch.stopped[place] = min(batch.stopped.get(place, at_ms), at_ms)


def _day_of(at_ms: int) -> date | None:
    """Return the UTC day; None: no calendar has it (a zone beyond the first or last day of all)."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).date()
    except (OverflowError, ValueError):
        return None


KeysOf = Callable[[], Awaitable[Mapping[str, bytes]]]
"""Returns the hashing key of each list by its name, if it is known here."""
Told = Callable[[DecisionCounts, Passed], None]
"""Called with what was counted of a batch, and what was passed over."""


@dataclass(frozen=True, slots=True)
class CounterSettings:
    """The topic of decisions. `home`: the country that enforces; its own lists are not counted."""

    kafka: KafkaSettings
    home: str
    topic: str


@dataclass(slots=True)
class _Partition:
    """The position in a partition, and the decisions by which a repeat is recognised."""

    position: CountPosition
    order: deque[bytes]
    seen: set[bytes]

    def move(self, position: CountPosition, ids: list[bytes]) -> None:
        self.position = position
        self.order.extend(ids)
        while len(self.order) > SEEN:
            self.seen.discard(self.order.popleft())


class DecisionCounter:
    """Counts the decisions that `consumer` reads; see `opened`.

    Methods raise SourceDown, KafkaAway, KafkaRefuses and ListStoreDown.
    """

    def __init__(
        self,
        consumer: Any,  # aiokafka has no types
        settings: CounterSettings,
        store: EnforcementStore,
        keys_of: KeysOf,
        told: Told,
    ) -> None:
        self._consumer, self._settings = consumer, settings
        self._store, self._keys_of, self._told = store, keys_of, told
        self._partitions: dict[TopicPartition, _Partition] = {}

    async def catch_up(self) -> None:
        """Count everything that is there now."""
        with self._renamed():
            await self._assigned()
            ends = await self._consumer.end_offsets(list(self._partitions))
            spans = {one: (await self._consumer.position(one), ends[one]) for one in ends}
            found = records_in(self._consumer, spans, records_max=RECORDS_MAX)
            async with aclosing(found):
                async for fetched in found:
                    await self._count(fetched)

    async def turn(self) -> int:
        """Count what comes within `WAIT_MS`; about how many records are not counted yet."""
        with self._renamed():
            # Without a group only the consumer's own metadata show a new partition.
            if self._consumer.assignment() != self._partitions.keys():
                await self._assigned()
            fetched = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=RECORDS_MAX)
            await self._count(fetched)
            ends = await self._consumer.end_offsets(list(self._partitions))
            return sum([max(ends[one] - await self._consumer.position(one), 0) for one in ends])

    async def _assigned(self) -> None:
        """Go on in all partitions of the topic; if it has more of them, all begin again."""
        assignment = self._consumer.assignment()
        self._partitions = {}
        await self._store.begin(sorted(_name(one) for one in assignment))
        for partition in assignment:
            await self._take(partition)

    async def _take(self, partition: TopicPartition) -> None:
        """Go on where the partition is counted to."""
        name = _name(partition)
        position, ids = await self._store.progress(name)
        end = (await self._consumer.end_offsets([partition]))[partition]
        if position.offset is not None and position.offset > end:
            log.warning("%s ends before its counted position: the topic was created again", name)
            await self._store.begin_again(name)
            position = CountPosition(place=0)
        order = deque(ids[position.place :] + ids[: position.place])
        self._partitions[partition] = _Partition(position, order, set(order))
        if position.offset is None:
            await self._consumer.seek_to_beginning(partition)
        else:
            self._consumer.seek(partition, position.offset)

    async def _count(self, fetched: Mapping[TopicPartition, list[Any]]) -> None:
        if not any(fetched.values()):
            return
        tally = DecisionTally(self._settings.home, (await self._keys_of()).get)
        for partition, records in fetched.items():
            known = self._partitions.get(partition)
            if not records or known is None:
                continue  # one that has just come is taken up before the next turn
            begin = known.position.offset or 0
            values = [record.value for record in records if record.offset >= begin]
            batch, passed = tally.batch(values, known.seen, day_of(now_ms()))
            name, offset = _name(partition), records[-1].offset + 1
            # One script moves the position and adds the counts, if the position is still ours. So a
            # kill or a second counter neither loses a decision nor counts it twice.
            after = await self._store.count(name, known.position, offset, batch)
            if after is None:
                log.info("%s is counted by another process too", name)
                await self._take(partition)
            else:
                known.move(after, batch.ids)
                self._told(batch, passed)

    @contextmanager
    def _renamed(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            text = f"{self._settings.topic} cannot be read"
            raise down(self._settings.kafka, text, error) from error


@asynccontextmanager
async def opened(
    settings: CounterSettings, store: EnforcementStore, keys_of: KeysOf, told: Told
) -> AsyncGenerator[DecisionCounter, None]:
    """Open a counter as soon as Kafka answers. Raises TopicMissing, KafkaRefuses, KafkaAway."""
    async with reader(settings.kafka, [settings.topic], _wait) as consumer:
        yield DecisionCounter(consumer, settings, store, keys_of, told)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"


def _wait(event: CallEvent) -> None:
    assert event is CallEvent.KAFKA_AWAITED, "nothing else happens while connecting"
