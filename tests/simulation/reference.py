"""The reference: what must come of each call, in plain Python, and what came of it.

One page that a person can check. It knows nothing of batches, groups, transactions or filters.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from tests.simulation.kafka.partition_log import PartitionLog

_ALL = 2**40


class Written(NamedTuple):
    """The record at one place of the topic of calls. `call_id` "": no call, and to be rejected."""

    call_id: str
    caller: str
    at_s: float


@dataclass
class Reference:
    """All calls that were written, by where they lie, and what came of them so far."""

    blocked: frozenset[str]
    exactly_once: bool
    in_force: Callable[[str, str], set[str]] | None = None
    """Of lists that change: the verdicts on a caller that they allow at a moment."""
    written: dict[str, Written] = field(default_factory=dict)
    left: dict[str, Written] = field(default_factory=dict)
    """Those of which nothing came yet."""
    excused: set[str] = field(default_factory=set)
    """Those that Kafka deleted: something may come of them or not."""
    ends: dict[int, int] = field(default_factory=dict)
    """The offset behind the last call of each partition."""
    others: bool = False
    """True once other calls lay at the same places: decisions about those are there as well."""
    _ids: dict[str, str] = field(default_factory=dict)
    _times: Counter[str] = field(default_factory=Counter)

    def write(self, place: tuple[int, int], call_id: str, caller: str, at_s: float) -> None:
        """Take a call that the switch wrote to a partition, at an offset."""
        self.ends[place[0]] = place[1] + 1
        origin = origin_at("calls", *place)
        self.written[origin] = self.left[origin] = Written(call_id, caller, at_s)

    def verdicts(self, decision: Mapping[str, Any]) -> set[str]:
        """Return what may be decided about a call: one verdict, unless the lists just changed."""
        caller = decision["caller"]
        if self.in_force is not None:
            return self.in_force(caller, decision["decided_at"])
        return {"block" if caller in self.blocked else "allow"}

    def decided(self, decision: Mapping[str, Any]) -> str:
        """Take one decision that a reader of committed records got; say what is wrong with it."""
        origin = decision["origin"]
        first = self._ids.setdefault(origin, decision["decision_id"])
        call = self.written.get(origin)
        if self.others and (call is None or call.call_id != decision["call_id"]):
            return ""
        if call is None:
            return f"a decision about {origin}, where no call lies"
        if not call.call_id:
            return f"a decision about {origin}, which is no call"
        if (decision["call_id"], decision["caller"]) != (call.call_id, call.caller):
            return f"{origin} is {call.call_id} of {call.caller}, not {decision['call_id']}"
        if decision["verdict"] not in (may := self.verdicts(decision)):
            return f"{origin} of {call.caller} must be {' or '.join(may)}: {decision['verdict']}"
        if first != decision["decision_id"] and not self.others:
            return f"two ids for {origin}: {first}, {decision['decision_id']}"
        return self._came(origin)

    def rejected(self, origin: str) -> str:
        """Take one rejected record; say what is wrong with it."""
        call = self.written.get(origin)
        if call is None or call.call_id:
            return "" if self.others else f"{origin} was rejected, and is a call or nothing"
        return self._came(origin)

    def _came(self, origin: str) -> str:
        self.left.pop(origin, None)
        self._times[origin] += 1
        if self.exactly_once and self._times[origin] > 1 and not self.others:
            return f"{origin} came {self._times[origin]} times to a reader of committed records"
        return ""

    # What Kafka itself loses.

    def excuse(self, partition: int, offsets: range) -> None:
        """Retention deleted these: who has them already may decide them."""
        for origin in self._of(partition, offsets):
            self.excused.add(origin)
            self.left.pop(origin, None)

    def lose(self, partition: int, offsets: range) -> None:
        """An unclean election lost these: others will lie there."""
        self.others = True
        for origin in self._of(partition, offsets):
            self.left.pop(origin, None)
            del self.written[origin]
        # What is left before them may be no calls, as of a transaction that was aborted (seed 2).
        kept = self._of(partition, range(offsets.start))
        self.ends[partition] = int(kept[-1].rpartition("/")[2]) + 1 if kept else 0

    def _of(self, partition: int, offsets: range) -> list[str]:
        origins = [origin_at("calls", partition, offset) for offset in offsets]
        return [origin for origin in origins if origin in self.written]

    def forget(self) -> None:
        """The topic was deleted with all its calls."""
        self.others = True
        self.written.clear()
        self.left.clear()
        self.ends.clear()


def origin_at(topic: str, partition: int, offset: int) -> str:
    """Return where a record lies, as decisions and rejected records have it."""
    return f"{topic}/{partition}/{offset}"


class TopicReader:
    """A reader of a topic that gets each record once, by aiokafka's own parser."""

    def __init__(self, logs: Callable[[], Iterable[PartitionLog]], *, committed: bool) -> None:
        self._logs, self._committed = logs, committed
        self._next: Counter[int] = Counter()

    def read(self) -> Iterator[Any]:
        """Yield the records that came since."""
        level = READ_COMMITTED if self._committed else READ_UNCOMMITTED
        for number, log in enumerate(self._logs()):
            first = max(self._next[number], log.start)
            self._next[number] = log.stable if self._committed else log.end
            content = log.read(first, _ALL, committed=self._committed, whole_first=True)
            if content:
                aborted = sorted(log.aborted_in(first, _ALL), key=lambda one: one[1])
                records, tp = MemoryRecords(content), TopicPartition("t", number)
                yield from PartitionRecords(tp, records, aborted, first, None, None, True, level)


def decision_in(record: Any) -> dict[str, Any]:
    """Return a decision."""
    found: dict[str, Any] = json.loads(record.value)
    return found


def rejected_in(record: Any) -> str:
    """Return where a rejected record lay."""
    origin: bytes = dict(record.headers)["origin"]
    return origin.decode()
