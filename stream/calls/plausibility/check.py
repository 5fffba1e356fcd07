"""Calls of a batch that break a plausibility rule: only what may is looked at at all.

The rules are compiled once for the settings, by place of rule and trunk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.calls.plausibility.attestations import Verify, attested, verified, with_passport
from stream.calls.plausibility.bursts import Bursts
from stream.calls.trunks import Trunks
from stream.core.model.call import Ingress
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
from stream.core.policy.rules import RULES, RuleSettings, RuleState
from stream.core.stir.attestation import Attested

__all__ = ["Broken", "RuleInputs", "RuleTable", "Verify", "broken_rules"]

_SIDES = (Ingress.INTERNATIONAL, Ingress.DOMESTIC)
_NONE: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RuleTable:
    """The most that each rule may cause on each trunk.

    By trunk, in the order of `names`; the last place (also -1) is that of all other trunks.
    `states` uint8[rules, trunks] (`RuleState`), `countries`. `abroad` bool: its calls come from
    abroad unless their record says otherwise. `codes` int64: the place of its country's code in
    `prefixes`; `alone` bool: no other country has that code. `on` are the rules, by their place in
    `RULES`, that are on for some trunk. `everywhere` is by rule the state that it has on all
    trunks, -1 where they differ. `attested_max` is the weakest attestation that is one.
    """

    names: tuple[str, ...]
    states: NDArray[np.uint8]
    countries: tuple[str, ...]
    abroad: NDArray[np.bool_]
    prefixes: tuple[bytes, ...]
    codes: NDArray[np.int64]
    alone: NDArray[np.bool_]
    on: tuple[int, ...]
    everywhere: tuple[int, ...]
    attested_max: Attested

    @classmethod
    def of(cls, settings: RuleSettings, trunks: Trunks) -> Self:
        """Compile the table of `settings` on `trunks`."""
        names = (*trunks.named,)
        countries = (*(trunks.named[name].country for name in names), trunks.home_country)
        states = np.array(
            [
                [
                    settings.state(rule, name, country)
                    for name, country in zip((*names, None), countries, strict=True)
                ]
                for rule in RULES
            ],
            np.uint8,
        )
        by_trunk = [phonenumbers.country_code_for_region(country) for country in countries]
        known = sorted({*by_trunk})
        return cls(
            names=names,
            states=states,
            countries=countries,
            abroad=np.array(
                [*(trunks.named[n].ingress is Ingress.INTERNATIONAL for n in names), False]
            ),
            prefixes=tuple(b"+%d" % code for code in known),
            codes=np.array([known.index(code) for code in by_trunk]),
            alone=np.array(
                [len(phonenumbers.region_codes_for_country_code(code)) == 1 for code in by_trunk]
            ),
            on=tuple(np.flatnonzero(states.any(axis=1)).tolist()),
            everywhere=tuple(int(row[0]) if (row == row[0]).all() else -1 for row in states),
            attested_max=Attested[settings.attestation_min],
        )

    def trunks_of(self, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of the trunk of each of `calls` (ascending)."""
        return batch.places("trunk", self.names, calls)

    def from_abroad(
        self, batch: CallBatch, calls: NDArray[np.int64], trunks: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which of `calls`, on those `trunks`, come from abroad."""
        said = batch.places("ingress", _SIDES, calls)
        found: NDArray[np.bool_] = np.where(said < 0, self.abroad[trunks], said == 0)
        return found

    def states_of(self, rule: int, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return what `rule` may cause to each of `calls`. Look trunks up if it matters."""
        if self.everywhere[rule] >= 0:
            return np.full(len(calls), self.everywhere[rule], np.uint8)
        found: NDArray[np.uint8] = self.states[rule, self.trunks_of(batch, calls)]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class RuleInputs:
    """Facts that rules need besides the batch.

    `never_call`: the rulings of lists of numbers that never call out, None: there are none.
    `may_roam` int64: calls whose caller is exempt from `home_number_from_abroad`. If a list of such
    numbers was not available (`roaming_unsure`), that rule blocks no call. `bursts` remembers short
    calls; without it that rule never matches. `verify` reads PASSporTs at `now_s`; without it they
    say nothing.
    """

    never_call: Judgements | None
    may_roam: NDArray[np.int64]
    roaming_unsure: bool
    bursts: Bursts | None
    verify: Verify | None = None
    now_s: int = 0


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


def broken_rules(batch: CallBatch, table: RuleTable, told: RuleInputs) -> Broken | None:
    """Return calls that break a rule that is on: of the strongest the first. None: none does."""
    looking = _Looking(batch, table, told)
    states, rules = np.zeros(0, np.uint8), _NONE
    for rule in table.on:
        calls, most = _LOOKS[RULES[rule]](looking)
        if not len(calls):
            continue
        # Most batches break no rule: columns of their length are made for those that do.
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

    def __init__(self, batch: CallBatch, table: RuleTable, told: RuleInputs) -> None:
        self.batch = batch
        self.table = table
        self.told = told
        self._invalid: list[int] | None = None
        self._attested: NDArray[np.uint8] | None = None

    @property
    def attested(self) -> NDArray[np.uint8]:
        """`Attested` of each call; found once: two rules ask."""
        if self._attested is None:
            verify = self.told.verify
            self._attested = attested(self.batch)
            if verify is not None:
                calls = with_passport(self.batch)
                asked = [self.table.states_of(rule, self.batch, calls) for rule in _OF_SIGNATURES]
                calls = calls[np.logical_or(*asked)]
                found = verified(self.batch, calls, verify, self.told.now_s)
                self._attested[calls] = np.maximum(self._attested[calls], found)
        return self._attested

    @property
    def invalid(self) -> list[int]:  # found once: three rules ask
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
        """Return those of `calls` that come from abroad."""
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
    """Return calls that come in from abroad with a number of the trunk's own country."""
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
    """Return which rows of letters begin with `prefix`."""
    # A comparison for each letter, of all rows: 22 us for 10,000 of them. `np.strings.startswith`
    # takes 470.
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


def _attestation_failed(looking: _Looking) -> _Found:
    return _Found(np.flatnonzero(looking.attested == Attested.FAILED))


def _attestation_missing(looking: _Looking) -> _Found:
    found = looking.attested
    weak = (found > looking.table.attested_max) & (found < Attested.FAILED)
    return _Found(np.flatnonzero((found == Attested.MISSING) | weak))


_OF_SIGNATURES: Final = (RULES.index("attestation_failed"), RULES.index("attestation_missing"))
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
    "attestation_failed": _attestation_failed,
    "attestation_missing": _attestation_missing,
}
assert tuple(_LOOKS) == RULES, "each rule is looked at, in their order"
