"""The judge: every decision and every rejected record on the topics, compared with the truth.

Knows the truth as plain Python sets and the topics as bytes; nothing of the engine's. A decision
that is repeated under one id (at-least-once delivery) counts once.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from stream.lab.demo.changes import Probe
from stream.lab.demo.traffic import Truth


class GivenReason(msgspec.Struct, frozen=True):
    """One reason of a decision: the list, and what the number is listed for."""

    list: str
    category: str | None = None


class SeenDecision(msgspec.Struct, frozen=True):
    """The fields of a decision that demo and exercise read; the wire form has more."""

    decision_id: str
    verdict: str
    call_id: str
    number: str | None
    role: str
    reasons: list[GivenReason] = []
    rule: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The findings of the judge.

    `missed`: calls (records) that had to be blocked or flagged and were not, or were only flagged
    where a block was due. `false_blocks`: blocked calls that had to be let through or only flagged.
    `wrong` says in words what else differs from the truth; empty when nothing does.
    """

    listed: int
    blocked: int
    flagged: int
    missed: int
    false_blocks: int
    rejected: int
    repeats: int
    wrong: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Everything is as the truth says."""
        return not (self.missed or self.false_blocks or self.wrong)


@dataclass
class TruthJudge:
    """Takes what lies on the topics, record by record, and compares it with `truth` at the end.

    `changes` are the two numbers whose listing changes in mid-run; their calls are judged by the
    moment at which they came in.
    """

    truth: Truth
    changes: tuple[Probe, ...] = ()
    repeats: int = 0
    _ids: set[str] = field(default_factory=set)
    _decided: dict[str, list[SeenDecision]] = field(default_factory=dict)
    _rejected: Counter[bytes | None] = field(default_factory=Counter)
    _unreadable: int = 0

    def decision(self, value: bytes | None, read_ms: float) -> SeenDecision | None:
        """Take a record of the decisions topic; None where it is a repeat or no decision.

        `read_ms` is when it was read, milliseconds since the epoch.
        """
        try:
            seen = msgspec.json.decode(value or b"", type=SeenDecision)
        except msgspec.MsgspecError:
            self._unreadable += 1
            return None
        if seen.decision_id in self._ids:
            self.repeats += 1
            return None
        self._ids.add(seen.decision_id)
        for change in self.changes:
            if change.owns(seen.call_id):
                change.decided(seen.call_id, seen.verdict, read_ms)
                return seen
        self._decided.setdefault(seen.call_id, []).append(seen)
        return seen

    def rejected(self, value: bytes | None) -> None:
        """Take one record of the topic of rejected records."""
        self._rejected[value] += 1

    @property
    def decisions_due(self) -> int:
        """Decisions still to come for the calls whose truth is fixed beforehand."""
        due = self.truth.decisions("block") + self.truth.decisions("flag")
        return due - sum(map(len, self._decided.values()))

    @property
    def rejections_due(self) -> int:
        """Rejected records still to come."""
        return self.truth.rejected - self._rejected.total()

    def verdicts(self) -> Verdicts:
        """Compare all that was seen so far."""
        missed = false_blocks = wrong_flags = wrong_lists = 0
        for call_id, expected in self.truth.expected.items():
            seen = self._decided.get(call_id, [])
            right = [each for each in seen if each.verdict == expected.verdict]
            missed += max(0, self.truth.copies.get(call_id, 1) - len(right))
            for each in right:
                wrong_lists += {named.list for named in each.reasons} != expected.lists
        for call_id, seen in self._decided.items():
            expected_here = self.truth.expected.get(call_id)
            due = expected_here.verdict if expected_here else "allow"
            if due != "block":
                false_blocks += sum(each.verdict == "block" for each in seen)
            wrong_flags += sum(each.verdict == "flag" and due == "allow" for each in seen)
        missed += sum(change.missed() for change in self.changes)
        false_blocks += sum(change.false_blocks() for change in self.changes)
        blocked, flagged = self._count("block"), self._count("flag")
        probes_due = sum(change.blocks_due() for change in self.changes)
        return Verdicts(
            listed=self.truth.decisions("block") + self.truth.decisions("flag") + probes_due,
            blocked=blocked + sum(change.blocks for change in self.changes),
            flagged=flagged,
            missed=missed,
            false_blocks=false_blocks,
            rejected=self._rejected.total(),
            repeats=self.repeats,
            wrong=self._wrong(wrong_flags, wrong_lists),
        )

    def _count(self, verdict: str) -> int:
        return sum(each.verdict == verdict for seen in self._decided.values() for each in seen)

    def _wrong(self, wrong_flags: int, wrong_lists: int) -> tuple[str, ...]:
        lost = (self.truth.garbage - self._rejected).total()
        made_up = (self._rejected - self.truth.garbage).total()
        extra = sum(
            max(0, len(seen) - self.truth.copies.get(call_id, 1))
            for call_id, seen in self._decided.items()
        )
        found = (
            (wrong_flags, "innocent calls flagged"),
            (wrong_lists, "decisions that name other lists than those that hold the number"),
            (extra, "decisions more than there were records"),
            (lost, "bad records that never reached the topic of rejected records"),
            (made_up, "records rejected that were calls, or whose bytes were changed"),
            (self._unreadable, "records on the decisions topic that are no decisions"),
        )
        return tuple(f"{count:,} {what}" for count, what in found if count)
