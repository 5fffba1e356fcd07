"""One batch of calls decided twice, as production does and as a candidate would. Pure.

Both sides use the engine's own `calls.rulings`, on the same decoded calls and at the same moment.
So only lists, policy or agreements can make a difference. A candidate whose trunks have another
country, for example, reads the same records in its own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import BatchTally, CallBatch
from stream.calls.plausibility.bursts import Bursts
from stream.calls.ruling_columns import ALLOWLIST, CALLER, Rulings
from stream.calls.rulings import Rules, matches_of, rulings_of
from stream.core.filters.blocklists import Blocklists
from stream.core.filters.matches import Matches
from stream.core.model.decision import Action

_NOBODY = -1
"""In place of a ruling: the call is innocent on that side."""


class CallChange(StrEnum):
    """A change for a call with the candidate; of each call at most one is true."""

    NEWLY_BLOCKED = "newly_blocked"
    NO_LONGER_BLOCKED = "no_longer_blocked"
    NEWLY_FLAGGED = "newly_flagged"
    NO_LONGER_FLAGGED = "no_longer_flagged"
    SPARED = "spared_by_allowlist"
    """Nothing changes for it: the candidate alone lists it, and the allowlist lets it through."""


@dataclass(frozen=True, slots=True)
class Side:
    """Everything that one side decides with; `bursts` is its own memory of short calls."""

    blocklists: Blocklists
    rules: Rules
    bursts: Bursts | None = None

    @property
    def asks_attestation(self) -> bool:
        """True if one of its rules needs the fields of STIR/SHAKEN."""
        return bool(self.rules.policy.settings.rules.of_attestation)


@dataclass(frozen=True, slots=True, eq=False)
class Ruled:
    """One side's verdicts on its `batch`: `actions` uint8 (`Action`) and `places` int64 by call.

    A ruling on trial blocks no call and counts as OBSERVE. `places` are those in `rulings`, -1
    where there is none. `on_trial` counts the calls that something on trial would have touched.
    """

    side: Side
    batch: CallBatch
    rulings: Rulings
    actions: NDArray[np.uint8]
    places: NDArray[np.int64]
    on_trial: int

    def rule(self, call: int) -> str:
        """Return the rule that decided the call, as decisions name it: `list:KH/scam`."""
        place = int(self.places[call])
        if place == _NOBODY:
            return self.side.rules.rule_names.rules[0]
        number = int(self.rulings.rules[place])
        rule_names = self.side.rules.rule_names
        name, of_list = rule_names.rules[number], rule_names.lists[number]
        return f"{name} on {of_list}" if of_list and of_list not in name else name

    def by_caller(self, call: int) -> bool:
        """Return the caller's number decided it, not the number called."""
        place = int(self.places[call])
        return place == _NOBODY or int(self.rulings.roles[place]) == CALLER


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A batch decided twice; `changes` are the calls (int64) of each kind, none in two of them."""

    before: Ruled
    after: Ruled
    changes: dict[CallChange, NDArray[np.int64]]


def compare(
    batch: CallBatch,
    production: Side,
    candidate: Side,
    at_s: int,
    batch_after: CallBatch | None = None,
) -> Compared:
    """Decide `batch` twice, both as if it were `at_s` (seconds since the epoch).

    `batch_after` are the same calls as the candidate reads them; None: as production does.
    """
    found = matches_of(batch, production.blocklists, production.rules, at_s)
    before = _ruled(batch, production, at_s, found)
    if batch_after is None and _match_alike(production, candidate):
        after = _ruled(batch, candidate, at_s, found)
    else:
        after = _ruled(batch if batch_after is None else batch_after, candidate, at_s)
    assert len(before.batch) == len(after.batch), "the same records are calls to both"
    was, now = before.actions, after.actions
    changed = {
        CallChange.NEWLY_BLOCKED: (now == Action.BLOCK) & (was != Action.BLOCK),
        CallChange.NO_LONGER_BLOCKED: (was == Action.BLOCK) & (now != Action.BLOCK),
        CallChange.NEWLY_FLAGGED: (now == Action.FLAG) & (was == Action.OBSERVE),
        CallChange.NO_LONGER_FLAGGED: (was == Action.FLAG) & (now == Action.OBSERVE),
        CallChange.SPARED: _allowed(after) & ~_allowed(before) & (was == now),
    }
    changes = {change: np.flatnonzero(which) for change, which in changed.items()}
    return Compared(before, after, changes)


def _match_alike(production: Side, candidate: Side) -> bool:
    """Return whether both find the same matches: often only the candidate's policy differs.

    Matching is most of what deciding costs.
    """
    here, there = production.blocklists, candidate.blocklists
    mine, theirs = production.rules.columns, candidate.rules.columns
    return (
        (here.lists is there.lists and here.circles is there.circles)
        and here.prefixes is there.prefixes
        and np.array_equal(mine.decay, theirs.decay)
        and mine.scopes.same_as(theirs.scopes)
    )


def _ruled(
    batch: CallBatch, side: Side, at_s: int, found: Sequence[Matches] | None = None
) -> Ruled:
    rulings = rulings_of(batch, side.blocklists, side.rules, at_s, BatchTally(), side.bursts, found)
    actions = np.zeros(len(batch), np.uint8)
    actions[rulings.calls] = np.where(rulings.simulated, Action.OBSERVE, rulings.actions)
    places = np.full(len(batch), _NOBODY, np.int64)
    places[rulings.calls] = np.arange(len(rulings))
    return Ruled(side, batch, rulings, actions, places, int(np.count_nonzero(rulings.simulated)))


def _allowed(ruled: Ruled) -> NDArray[np.bool_]:
    """Return the calls that the allowlist lets through although a list or rule matched them."""
    found = np.zeros(len(ruled.actions), np.bool_)
    found[ruled.rulings.calls[ruled.rulings.rules == ALLOWLIST]] = True
    return found
