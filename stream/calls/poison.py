"""Which record stops workers, told from where they stopped. Pure; `calls.crashes` keeps the notes.

No record should stop a worker: what is no call is rejected, and an exception is a bug. This is for
the bugs that are left, and for what no exception tells of (a crash of a library, a killed process).

A worker notes what it works on. Its successor finds the note and

1. after one exception, or after two deaths within the same records, probes these one by one, each
   under a note of its own, before it decides them together;
2. sets a record aside whose own note it finds: after an exception that followed another crash
   there, or after two deaths. Then it goes to `calls.rejected` with its bytes.

A death may be anybody's kill -9 or a machine without memory, so it weighs less than an exception:
two deaths at one record alone are no accident. And where many records seem to stop workers it is
not the records: `SET_ASIDE_MAX` within `SET_ASIDE_S` are the most. Then the worker stops as before,
and a person has to look.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from stream.kafka.batch import Partition

SET_ASIDE_MAX = 5
SET_ASIDE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker stopped while it worked on the records `first` to `last` of a partition.

    `timestamp_ms` is Kafka's of the record where it was one alone, else -1: the offset alone may be
    that of another record, in a topic made anew. `raised`: it was an exception, else the worker
    died. `at_ms` is when that was found.
    """

    topic: str
    partition: int
    first: int
    last: int
    timestamp_ms: int
    raised: bool
    at_ms: int

    @property
    def place(self) -> Partition:
        """The partition."""
        return Partition(self.topic, self.partition)

    @property
    def alone(self) -> bool:
        """Whether the worker worked on this record alone."""
        return self.first == self.last and self.timestamp_ms >= 0

    def holds(self, record: "Record") -> bool:
        """Whether the worker worked on `record`."""
        return self.place == record.place and self.first <= record.offset <= self.last


@dataclass(frozen=True, slots=True)
class Record:
    """One record, by where it lies and when it was written."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """The partition."""
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is set aside, since `at_ms`."""

    record: Record
    at_ms: int


Ranges = Mapping[Partition, Sequence[tuple[int, int]]]
"""First and last offsets, by partition."""


def suspected(crashes: Sequence[Crash]) -> Ranges:
    """The records of which one may stop a worker."""
    found: dict[Partition, list[tuple[int, int]]] = {}
    for crash in crashes:
        if crash.raised:
            found.setdefault(crash.place, []).append((crash.first, crash.last))
    for one, other in combinations((each for each in crashes if not each.raised), 2):
        first, last = max(one.first, other.first), min(one.last, other.last)
        if one.place == other.place and first <= last:
            found.setdefault(one.place, []).append((first, last))
    return found


def convicted(crashes: Sequence[Crash]) -> list[Record]:
    """The records that stopped workers, each by itself."""
    raised: Counter[Record] = Counter()
    died: Counter[Record] = Counter()
    for crash in crashes:
        if crash.alone:
            record = Record(crash.topic, crash.partition, crash.first, crash.timestamp_ms)
            (raised if crash.raised else died)[record] += 1
    return [
        record
        for record in raised | died
        if died[record] >= 2
        or (raised[record] and sum(crash.holds(record) for crash in crashes) >= 2)
    ]


def set_aside(
    before: Iterable[SetAside], records: Iterable[Record], now_ms: int
) -> tuple[list[SetAside], list[Record]]:
    """All that is set aside now, and those of `records` for which it would be too many."""
    kept = list(before)
    known = {one.record for one in kept}
    left = []
    for record in records:
        if record in known:
            continue
        lately = sum(now_ms - one.at_ms < SET_ASIDE_S * 1000 for one in kept)
        if lately < SET_ASIDE_MAX:
            kept.append(SetAside(record, now_ms))
        else:
            left.append(record)
    return kept, left


def passed(crashes: Iterable[Crash], positions: Mapping[Partition, int]) -> list[Crash]:
    """Those of `crashes` whose records are not all behind `positions`."""
    return [crash for crash in crashes if crash.last >= positions.get(crash.place, 0)]
