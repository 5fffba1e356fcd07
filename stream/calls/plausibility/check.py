"""Which calls break a plausibility rule, for a batch: only what may is looked at at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch
from stream.calls.plausibility.bursts import Bursts
from stream.calls.plausibility.table import RuleTable
from stream.core.model.decision import Action
from stream.core.numbers.number import Kind, region_of
from stream.core.numbers.operator_prefixes import Mark
from stream.core.numbers.plausibility import (
    Oddity,
    in_unassigned_block,
    may_be_two_numbers,
    oddity_of,
    same_numbers,
    short_numbers,
)
from stream.core.policy.policy_columns import Judgements
from stream.core.policy.rules import RULES, RuleState

_NONE: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is known besides the batch.

    `never_call`: what those lists come to that hold numbers that never call out, None: nothing.
    `may_roam` int64: calls whose caller is exempt from `home_number_from_abroad`; where a list of
    such numbers could not be asked, `roaming_unsure`, that rule acts on nobody. `bursts` remembers
    short calls; without it that rule says nothing.
    """

    never_call: Judgements | None
    may_roam: NDArray[np.int64]
    roaming_unsure: bool
    bursts: Bursts | None


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """The rule that each of `calls` (int64, ascending) breaks, and what follows.

    `rules` int64 are places in `RULES`, `states` uint8.
    """

    calls: NDArray[np.int64]
    rules: NDArray[np.int64]
    states: NDArray[np.uint8]


class _Found(NamedTuple):
    """Calls that break a rule, ascending, and the most that may follow: for all, or for each."""

    calls: NDArray[np.int64]
    most: RuleState | NDArray[np.uint8] = RuleState.BLOCK


def broken_rules(batch: CallBatch, table: RuleTable, told: Told) -> Broken | None:
    """Calls that break a rule that is on: of the strongest ones the first. None: no call does."""
    looking = _Looking(batch, table, told)
    states, rules = np.zeros(0, np.uint8), _NONE
    for rule in table.on:
        calls, most = _LOOKS[RULES[rule]](looking)
        if not len(calls):
            continue
        if not len(states):
            states, rules = np.zeros(len(batch), np.uint8), np.zeros(len(batch), np.int64)
        mine = np.minimum(table.states_of(rule, batch, calls), np.asarray(most, np.uint8))
        stronger = mine > states[calls]
        states[calls[stronger]] = mine[stronger]
        rules[calls[stronger]] = rule
    found = np.flatnonzero(states)
    return Broken(found, rules[found], states[found]) if len(found) else None


class _Looking:
    """One batch, and what more than one rule asks of it."""

    def __init__(self, batch: CallBatch, table: RuleTable, told: Told) -> None:
        self.batch = batch
        self.table = table
        self.told = told
        self._invalid: list[int] | None = None

    @property
    def invalid(self) -> list[int]:
        """Calls whose caller is no possible number, short code or name, nor withheld or marked.

        Nor is it one of which two plans each assign another number: that is a number. A disguised
        one is none: it is looked up on lists, but nobody should write it so.
        """
        if self._invalid is None:
            callers, countries = self.batch.callers, self.table.countries
            found = {*np.flatnonzero(callers.kinds == Kind.INVALID).tolist(), *callers.disguised}
            calls = np.array(sorted(found - callers.marks.keys()), np.int64)
            self._invalid = [
                call
                for call, trunk in zip(calls.tolist(), self.trunks(calls).tolist(), strict=True)
                if not may_be_two_numbers(callers.text(call), countries[trunk])
            ]
        return self._invalid

    def trunks(self, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of trunks."""
        return self.table.trunks_of(self.batch, calls)

    def abroad(self, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `calls` that come from abroad."""
        if not len(calls):
            return calls
        return calls[self.table.from_abroad(self.batch, calls, self.trunks(calls))]


def _calls(found: list[int]) -> _Found:
    return _Found(np.array(found, np.int64))


def _never_calls(looking: _Looking) -> _Found:
    judged = looking.told.never_call
    if judged is None:
        return _Found(_NONE)
    most = _STATE_OF[judged.actions]
    most[judged.simulated] = RuleState.SIMULATE
    return _Found(judged.rows, most)


_STATE_OF: Final = np.zeros(len(Action), np.uint8)
_STATE_OF[[Action.OBSERVE, Action.FLAG, Action.BLOCK]] = (
    RuleState.OBSERVE,
    RuleState.FLAG,
    RuleState.BLOCK,
)


def _home_from_abroad(looking: _Looking) -> _Found:
    """Calls that come in from abroad with a number of the trunk's own country."""
    batch, table, told = looking.batch, looking.table, looking.told
    letters = np.ascontiguousarray(batch.callers.e164, "S16").view(np.uint8).reshape(-1, 16)
    begins = np.array([_begin(letters, prefix) for prefix in table.prefixes])
    # Only of those that are at home on some trunk the trunk is looked at.
    calls = looking.abroad(np.flatnonzero(begins.any(axis=0)))
    if not len(calls):
        return _Found(calls)
    trunks = looking.trunks(calls)
    home = begins[table.codes[trunks], calls]
    for place in np.flatnonzero(home & ~table.alone[trunks]).tolist():
        caller = batch.callers.e164[calls[place]].decode("ascii")
        home[place] = region_of(caller) == table.countries[trunks[place]]
    roams = [call for call, mark in batch.callers.marks.items() if mark == Mark.ROAMING]
    home &= ~np.isin(calls, [*told.may_roam.tolist(), *roams])
    return _Found(calls[home], RuleState.OBSERVE if told.roaming_unsure else RuleState.BLOCK)


def _begin(letters: NDArray[np.uint8], prefix: bytes) -> NDArray[np.bool_]:
    """Which rows of letters begin with `prefix`."""
    found: NDArray[np.bool_] = letters[:, 0] == prefix[0]
    for place in range(1, len(prefix)):
        found &= letters[:, place] == prefix[place]
    return found


def _short_from_abroad(looking: _Looking) -> _Found:
    short = np.array(short_numbers(looking.batch.callers), np.int64)
    return _Found(looking.abroad(short))


def _to_itself(looking: _Looking) -> _Found:
    batch = looking.batch
    if batch.callees is None:
        return _Found(_NONE)
    return _Found(np.flatnonzero(same_numbers(batch.callers, batch.callees)))


def _marked(mark: Mark) -> Callable[[_Looking], _Found]:
    def look(looking: _Looking) -> _Found:
        marks = looking.batch.callers.marks
        return _calls(sorted(call for call, one in marks.items() if one == mark))

    return look


def _odd(oddity: Oddity) -> Callable[[_Looking], _Found]:
    def look(looking: _Looking) -> _Found:
        calls = np.array(looking.invalid, np.int64)
        callers, countries = looking.batch.callers, looking.table.countries
        return _calls(
            [
                call
                for call, trunk in zip(looking.invalid, looking.trunks(calls).tolist(), strict=True)
                if oddity_of(callers.text(call), countries[trunk]) is oddity
            ]
        )

    return look


def _in_unassigned_block(looking: _Looking) -> _Found:
    return _Found(np.flatnonzero(in_unassigned_block(looking.batch.callers)))


def _invalid(looking: _Looking) -> _Found:
    return _calls(looking.invalid)


def _short_bursts(looking: _Looking) -> _Found:
    bursts, batch, table = looking.told.bursts, looking.batch, looking.table
    if bursts is None:
        return _Found(_NONE)
    callers = np.flatnonzero(batch.callers.kinds == Kind.E164)
    if table.everywhere[_BURSTS] < 0:
        callers = callers[table.states_of(_BURSTS, batch, callers) > RuleState.OFF]
    return _Found(bursts.look(batch, callers))


_BURSTS: Final = RULES.index("short_bursts")
_LOOKS: Final[Mapping[str, Callable[[_Looking], _Found]]] = {
    "do_not_originate": _never_calls,
    "home_number_from_abroad": _home_from_abroad,
    "short_number_from_abroad": _short_from_abroad,
    "caller_is_callee": _to_itself,
    Mark.VOIP_FROM_ABROAD: _marked(Mark.VOIP_FROM_ABROAD),
    Mark.ROAMING: _marked(Mark.ROAMING),
    "unassigned_country_code": _odd(Oddity.UNASSIGNED_COUNTRY_CODE),
    "impossible_length": _odd(Oddity.IMPOSSIBLE_LENGTH),
    "unassigned_block": _in_unassigned_block,
    "invalid_caller": _invalid,
    "short_bursts": _short_bursts,
}
assert tuple(_LOOKS) == RULES, "each rule is looked at, in their order"
