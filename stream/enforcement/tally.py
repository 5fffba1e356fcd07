"""What recorded decisions say that other owners' lists did. Pure.

A decision counts for the lists that it was made by: the one that its rule names, or all those of
the agreement that it names, of which several may have been needed. Lists that hold the number and
would have done less do not count. So a call is counted once for each list that stopped it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Final

import numpy as np

from stream.core.filters.digests import Digests, elements
from stream.core.model.agreement import owner_of
from stream.core.model.decision import Decision, Reason, Verdict, moment_of, read_decision
from stream.core.model.enforcement import Outcome
from stream.lists.store.enforcement_counts import REBUILT_DAYS, Batch, Cell
from stream.lists.store.enforcement_store import ID_BYTES

UNCONFIRMED: Final = "unconfirmed"
"""The category of a Bloom hit that nothing confirms."""
_OUTCOMES: Final[Mapping[str, Outcome]] = {
    Verdict.BLOCK: Outcome.BLOCKED,
    Verdict.FLAG: Outcome.FLAGGED,
}


@dataclass(slots=True)
class Passed:
    """Records that are not counted: `unreadable` as decisions, `repeated`, of days `too_old`."""

    unreadable: int = 0
    repeated: int = 0
    too_old: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts decisions that were made in `home`. `key_of` gives a list's hashing key.

    None where there is none: its calls are counted, and not how many numbers they were.
    """

    home: str
    key_of: Callable[[str], bytes | None]

    def batch(
        self, values: Collection[bytes | None], seen: set[bytes], today: date
    ) -> tuple[Batch, Passed]:
        """What the records with these `values` come to; decisions of `seen` are not counted again.

        `seen` gets those that are.
        """
        batch, passed = Batch(), Passed()
        hashed: dict[tuple[str, str], int] = {}
        oldest = today - timedelta(days=REBUILT_DAYS)
        for value in values:
            decision = read_decision(value)
            at = None if decision is None else moment_of(decision.decided_at)
            if decision is None or at is None:
                passed.unreadable += 1  # somebody else writes to this topic too
                continue
            stopped = self._stopped_by(decision)
            if not stopped:
                continue
            if decision.repeats:
                passed.repeated += 1  # another record of a call that was decided already
                continue
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

    def _stopped_by(self, decision: Decision) -> list[tuple[Reason, Outcome]]:
        outcome = Outcome.SIMULATED if decision.simulated else _OUTCOMES.get(decision.verdict)
        if outcome is None:
            return []
        return [
            (reason, outcome)
            for reason in decision.deciding()
            if owner_of(reason.list) != self.home
        ]

    def _add(
        self,
        batch: Batch,
        hashed: dict[tuple[str, str], int],
        decision: Decision,
        reason: Reason,
        outcome: Outcome,
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
            fingerprint = hashed[reason.list, text] = _fingerprint(text, key)
        batch.numbers.setdefault(cell, set()).add(fingerprint)
        if outcome is not Outcome.SIMULATED:
            place = reason.list, fingerprint
            batch.stopped[place] = min(batch.stopped.get(place, at_ms), at_ms)


def _day_of(at_ms: int) -> date | None:
    """The UTC day; None: no calendar has it (a zone beyond the first or last day of all)."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).date()
    except (OverflowError, ValueError):
        return None


def _fingerprint(text: str, key: bytes) -> int:
    """Of one number or prefix entry in the circle with `key`."""
    return int(Digests(elements(np.array([text], "S16"), key)).fingerprints()[0])
