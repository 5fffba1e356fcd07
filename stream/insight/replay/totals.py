"""The totals of a replay, in bounded memory. Pure.

Numbers are kept one by one, for those who called most and for the estimate of false positives, up
to `NUMBERS_MAX` of each kind of change. Calls of numbers beyond that are still counted, and the
report says how many numbers are not known in detail.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.calls.trunks import Trunks
from stream.core.model.call import Stage
from stream.core.model.decision import Action
from stream.core.numbers.number import Kind, parse, region_of
from stream.insight.replay.compare import CallChange, Compared

NUMBERS_MAX: Final = 200_000
"""Of each kind of change: some 40 MB."""
PAIRS_MAX: Final = 1_000_000
"""Of callers and those they called, for newly blocked numbers: some 80 MB."""
TRUNKS_MAX: Final = 1_000
"""Records name trunks: a switch that writes a new name each time must not fill the memory."""
NOBODY: Final = b""
"""In place of a number: withheld, or none that can be read."""
OTHERS: Final = "others"
WITHOUT: Final = "none"


@dataclass(slots=True)
class SeenNumber:
    """One number: how many of its calls changed, by which rule first, and signs of innocence."""

    calls: int
    rule: str
    long: bool = False
    called_back: bool = False


@dataclass(slots=True)
class Tallied:
    """The calls of one kind of change. `numbers` by E.164 bytes; `untracked` calls of others."""

    calls: int = 0
    numbers: dict[bytes, SeenNumber] = field(default_factory=dict)
    untracked: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    by_country: Counter[str] = field(default_factory=Counter)
    by_trunk: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Sums:
    """The totals of a replay. An answered call of `long_s` or more is a sign of innocence.

    `before` and `after` count calls by `Action`; `on_trial` those that something on trial would
    have touched, on either side. `durations` is 0 where no newly blocked record told how long its
    call was. `pairs` are hashes of (called, caller) of newly blocked calls.
    """

    trunks: Trunks
    long_s: float
    calls: int = 0
    rejected: int = 0
    before: list[int] = field(default_factory=lambda: [0] * len(Action))
    after: list[int] = field(default_factory=lambda: [0] * len(Action))
    on_trial: list[int] = field(default_factory=lambda: [0, 0])
    changes: dict[CallChange, Tallied] = field(
        default_factory=lambda: {change: Tallied() for change in CallChange}
    )
    durations: int = 0
    pairs: set[int] = field(default_factory=set)
    pairs_left_out: int = 0

    def add(self, compared: Compared) -> None:
        """Count one batch."""
        batch = compared.before.batch
        self.calls += len(batch)
        self.rejected += len(batch.rejected)
        for sums, ruled in ((self.before, compared.before), (self.after, compared.after)):
            counts = np.bincount(ruled.actions, minlength=len(sums)).tolist()
            sums[:] = [old + new for old, new in zip(sums, counts, strict=True)]
        self.on_trial[0] += compared.before.on_trial
        self.on_trial[1] += compared.after.on_trial
        for change, calls in compared.changes.items():
            for call in calls.tolist():
                self._one(compared, change, call)

    def _one(self, compared: Compared, change: CallChange, call: int) -> None:
        tallied = self.changes[change]
        gone = change in {CallChange.NO_LONGER_BLOCKED, CallChange.NO_LONGER_FLAGGED}
        ruled = compared.before if gone else compared.after
        batch, by_caller = ruled.batch, ruled.by_caller(call)
        number = _number(batch, call, by_caller=by_caller)
        rule, trunk = ruled.rule(call), batch.text("trunk", call)
        tallied.calls += 1
        tallied.by_rule[rule] += 1
        tallied.by_country[_country(number)] += 1
        known = trunk in tallied.by_trunk or len(tallied.by_trunk) < TRUNKS_MAX
        tallied.by_trunk[(trunk or WITHOUT) if known else OTHERS] += 1
        seen = tallied.numbers.get(number)
        if seen is None:
            if len(tallied.numbers) >= NUMBERS_MAX:
                tallied.untracked += 1
                return
            seen = tallied.numbers[number] = SeenNumber(0, rule)
        seen.calls += 1
        if change is CallChange.NEWLY_BLOCKED and by_caller and number:
            self._estimate(batch, call, number, seen, trunk)

    def _estimate(
        self, batch: CallBatch, call: int, number: bytes, seen: SeenNumber, trunk: str | None
    ) -> None:
        """Note this record's signs of innocence for the number, and whom it called."""
        if not seen.long:  # a record is decoded whole only where it can still say something
            whole = batch.call_of(call)
            if whole.stage is Stage.END and whole.duration_s is not None:
                self.durations += 1
                seen.long = whole.duration_s >= self.long_s
        called = parse(
            batch.text("callee", call), self.trunks.country(trunk), self.trunks.prefix(trunk)
        )
        if called.kind is not Kind.E164:
            return
        if len(self.pairs) < PAIRS_MAX:
            # Hashes bound the memory. Two equal ones of 64 bits among a million are not expected.
            self.pairs.add(hash((called.text.encode(), number)))
        else:
            self.pairs_left_out += 1

    def wanted(self) -> NDArray[np.bytes_]:
        """Return the newly blocked numbers for which calls back are looked for; S16, sorted."""
        numbers = [one for one in self.changes[CallChange.NEWLY_BLOCKED].numbers if one]
        return np.array(sorted(numbers), "S16")

    def called_back(self, batch: CallBatch, wanted: NDArray[np.bytes_]) -> None:
        """Look for calls back: to one of `wanted`, by a number that it had called."""
        assert batch.callees is not None, "called numbers are read in this pass"
        called = batch.callees.e164
        if not len(wanted):
            return
        places = np.minimum(np.searchsorted(wanted, called), len(wanted) - 1)
        for call in np.flatnonzero((wanted[places] == called) & (called != NOBODY)).tolist():
            number = bytes(called[call])
            if hash((bytes(batch.callers.e164[call]), number)) in self.pairs:
                self.changes[CallChange.NEWLY_BLOCKED].numbers[number].called_back = True


def _number(batch: CallBatch, call: int, *, by_caller: bool) -> bytes:
    if by_caller or batch.callees is None:
        return bytes(batch.callers.e164[call])
    return bytes(batch.callees.e164[call])


def _country(number: bytes) -> str:
    return (region_of(number.decode()) or OTHERS) if number else WITHOUT
