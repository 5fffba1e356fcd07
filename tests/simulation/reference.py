"""The reference: what must come of each call, in plain Python, and what came of it.

One page that a person can check. It knows nothing of batches, groups, transactions or filters.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from tests.simulation.kafka.partition_log import PartitionLog

_ALL = 2**40


@dataclass
class Reference:
    """All calls that were written, by where they lie, and what is to come of them.

    `written`: the call's id and caller; None: what lies there is no call, and must be rejected.
    """

    blocked: frozenset[str]
    in_force: Callable[[str, str], set[str]] | None = None
    """Of lists that change: the verdicts on a caller that they allow at a moment."""
    written: dict[str, tuple[str, str] | None] = field(default_factory=dict)

    def verdicts(self, decision: Mapping[str, Any]) -> set[str]:
        """Return what may be decided about a call: one verdict, unless the lists just changed."""
        caller = decision["caller"]
        if self.in_force is not None:
            return self.in_force(caller, decision["decided_at"])
        return {"block" if caller in self.blocked else "allow"}

    def wrong(self, decision: Mapping[str, Any]) -> str:
        """Return what is wrong with one decision; "": nothing."""
        origin = decision["origin"]
        if origin not in self.written:
            return f"a decision about {origin}, where no call lies"
        call = self.written[origin]
        if call is None:
            return f"a decision about {origin}, which is no call"
        call_id, caller = call
        if (decision["call_id"], decision["caller"]) != call:
            return f"{origin} is call {call_id} of {caller}, not {decision['call_id']}"
        if decision["verdict"] not in (may := self.verdicts(decision)):
            return f"{origin} of {caller} must be {' or '.join(may)}: {decision['verdict']}"
        return ""

    def faults(
        self, decided: Sequence[Mapping[str, Any]], rejected: list[str], *, exactly_once: bool
    ) -> Iterator[str]:
        """Yield all that is wrong with what came so far, but for what has not come yet."""
        ids: dict[str, str] = {}
        for decision in decided:
            if wrong := self.wrong(decision):
                yield wrong
            first = ids.setdefault(decision["origin"], decision["decision_id"])
            if first != decision["decision_id"]:
                yield f"two ids for {decision['origin']}: {first}, {decision['decision_id']}"
        for origin in rejected:
            if self.written.get(origin, ("", "")) is not None:
                yield f"{origin} was rejected, and is a call or nothing"
        if exactly_once:
            times = Counter(decision["origin"] for decision in decided) + Counter(rejected)
            for origin, count in times.items():
                if count > 1:
                    yield f"{origin} came {count} times to a reader of committed records"

    def missing(self, decided: Sequence[Mapping[str, Any]], rejected: list[str]) -> list[str]:
        """Return where calls lie of which nothing came."""
        came = {decision["origin"] for decision in decided} | set(rejected)
        return [origin for origin in self.written if origin not in came]


def decisions_in(
    logs: list[PartitionLog], *, committed: bool = True
) -> Sequence[Mapping[str, Any]]:
    """Return the decisions that a reader of these logs gets."""
    return [json.loads(record.value) for record in _records(logs, committed=committed)]


def rejected_in(logs: list[PartitionLog], *, committed: bool = True) -> list[str]:
    """Return where the records lay that a reader of these logs gets as rejected."""
    found = [dict(record.headers) for record in _records(logs, committed=committed)]
    return [headers["origin"].decode() for headers in found]


def _records(logs: list[PartitionLog], *, committed: bool) -> Iterator[Any]:
    """Yield records as aiokafka's consumer reads them: not by our own parser."""
    for number, log in enumerate(logs):
        content = log.read(log.start, _ALL, committed=committed, whole_first=True)
        level = READ_COMMITTED if committed else READ_UNCOMMITTED
        aborted = sorted(log.aborted_in(log.start, _ALL), key=lambda one: one[1])
        yield from PartitionRecords(
            TopicPartition("t", number),
            MemoryRecords(content),
            aborted,
            log.start,
            None,
            None,
            True,
            level,
        )
