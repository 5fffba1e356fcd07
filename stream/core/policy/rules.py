"""The plausibility rules: their names, what each may cause, and where. Pure.

A rule has one state on each trunk: that of `[policy.rules.trunks]`, else that of the trunk's
country in `[policy.rules.countries]`, else the default. The country is the trunk's own, whose
regulator says what may come in there, not that of either number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import NamedTuple, Self

from stream.core.model.decision import Action


class RuleState(IntEnum):
    """Effect of a rule; ordered, so that of several that a call breaks the largest counts.

    SIMULATE blocks on trial: the decision says so (`simulated`), the call goes on.
    """

    OFF = 0
    OBSERVE = 1
    SIMULATE = 2
    FLAG = 3
    BLOCK = 4

    @property
    def action(self) -> Action:
        """The action on the call; on trial, the action that would follow."""
        return _ACTIONS[self]


_ACTIONS = {
    RuleState.OFF: Action.OBSERVE,
    RuleState.OBSERVE: Action.OBSERVE,
    RuleState.SIMULATE: Action.BLOCK,
    RuleState.FLAG: Action.FLAG,
    RuleState.BLOCK: Action.BLOCK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStates:
    """The state of each rule, in the order in which they are named where a call breaks several.

    - `do_not_originate`: the caller is on one of `RuleSettings.do_not_originate_lists`: a number
      that takes calls and never makes any (FCC 25-15).
    - `home_number_from_abroad`: a caller with the trunk country's own code on an international
      trunk (Ofcom, NBTC: national CLI from abroad is spoofed unless roaming).
    - `short_number_from_abroad`: a national number of three or four digits there (NBTC).
    - `caller_is_callee`: one number is both; it needs `calls.check_callee`.
    - `voip_from_abroad_mark`, `roaming_mark`: the country's operators have put a mark before the
      number, see `core.numbers.operator_prefixes`.
    - `unassigned_country_code`: the number begins with one that no country has (NBTC, FCC).
    - `impossible_length`: no number of its country is so short or so long.
    - `unassigned_block`: its plan has given out no number that begins so (FCC: unallocated); for
      the countries of which `numbering.json` has blocks.
    - `invalid_caller`: no possible number, short code or name, and neither withheld nor marked.
    - `short_bursts`: many short calls of one number in a while, see `calls.plausibility.bursts`.
    - `attestation_failed`: a signature of STIR/SHAKEN was found wrong, see `core.stir`.
    - `attestation_missing`: no network attests the number at `RuleSettings.attestation_min`.
    """

    do_not_originate: RuleState = RuleState.BLOCK
    home_number_from_abroad: RuleState = RuleState.OFF
    short_number_from_abroad: RuleState = RuleState.OFF
    caller_is_callee: RuleState = RuleState.OFF
    voip_from_abroad_mark: RuleState = RuleState.OFF
    roaming_mark: RuleState = RuleState.OFF
    unassigned_country_code: RuleState = RuleState.OFF
    impossible_length: RuleState = RuleState.OFF
    unassigned_block: RuleState = RuleState.OFF
    invalid_caller: RuleState = RuleState.OFF
    short_bursts: RuleState = RuleState.OFF
    attestation_failed: RuleState = RuleState.OFF
    attestation_missing: RuleState = RuleState.OFF


RULES = tuple(each.name for each in fields(RuleStates))
"""The names of all rules, in their order."""


@dataclass(frozen=True, slots=True)
class BurstSettings:
    """When a number's short calls are a burst: `calls` of them within `window_s` seconds.

    Short is a call of at most `call_s_max` seconds, the time that it rang included where the
    switch counts it.
    """

    window_s: float = 60.0
    calls: int = 30
    call_s_max: float = 3.0


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """All that the rules go by; see the module.

    `trunks` and `countries` have the states that differ there, by rule. The numbers on
    `home_number_from_abroad_except` may come from abroad. Lists named here are asked by their rule
    alone: they neither block nor count as lists. `attestation_min` is the weakest level (A, B, C)
    with which a call is attested.
    """

    default: RuleStates = field(default_factory=RuleStates)
    countries: Mapping[str, Mapping[str, RuleState]] = field(default_factory=dict)
    trunks: Mapping[str, Mapping[str, RuleState]] = field(default_factory=dict)
    do_not_originate_lists: tuple[str, ...] = ()
    home_number_from_abroad_except: tuple[str, ...] = ()
    bursts: BurstSettings = field(default_factory=BurstSettings)
    attestation_min: str = "C"

    def state(self, rule: str, trunk: str | None, country: str) -> RuleState:
        """Return the effect of `rule` on a trunk of that name (None: any other) and country."""
        if rule == "do_not_originate" and not self.do_not_originate_lists:
            return RuleState.OFF
        default: RuleState = getattr(self.default, rule)
        by_country = self.countries.get(country, {}).get(rule, default)
        return by_country if trunk is None else self.trunks.get(trunk, {}).get(rule, by_country)

    @property
    def lists(self) -> frozenset[str]:
        """The lists that rules ask."""
        return frozenset((*self.do_not_originate_lists, *self.home_number_from_abroad_except))

    def is_on(self, rule: str) -> bool:
        """Return whether `rule` is on on some trunk."""
        return self._states(rule) != {RuleState.OFF}

    def is_on_trial(self, rule: str) -> bool:
        """Return whether `rule` is on trial on some trunk."""
        return RuleState.SIMULATE in self._states(rule)

    @property
    def with_memory(self) -> tuple[str, ...]:
        """Rules that are on and go by more than the call itself: a lookup cannot tell them."""
        return ("short_bursts",) if self.is_on("short_bursts") else ()

    @property
    def of_attestation(self) -> tuple[str, ...]:
        """Rules that are on and go by STIR/SHAKEN, of which a question need not tell."""
        return tuple(rule for rule in _OF_ATTESTATION if self.is_on(rule))

    def blocks_everywhere(self, rule: str) -> bool:
        """Return whether `rule` blocks on every trunk, whatever its country."""
        return self._states(rule) == {RuleState.BLOCK}

    def _states(self, rule: str) -> set[RuleState]:
        if rule == "do_not_originate" and not self.do_not_originate_lists:
            return {RuleState.OFF}
        tables = (*self.countries.values(), *self.trunks.values())
        others = (table[rule] for table in tables if rule in table)
        return {self.state(rule, None, ""), *others}


_OF_ATTESTATION = ("attestation_failed", "attestation_missing")


def rules_that_ask(settings: RuleSettings, name: str) -> Iterator[str]:
    """Yield the rules that ask list `name`."""
    if name in settings.do_not_originate_lists:
        yield "do_not_originate"
    if name in settings.home_number_from_abroad_except:
        yield "home_number_from_abroad"


class RuleLists(NamedTuple):
    """The lists that rules ask, by their index; `missing`: one of the second kind is not there."""

    never_call: tuple[int, ...]
    may_roam: tuple[int, ...]
    missing: bool

    @classmethod
    def of(cls, settings: RuleSettings, names: Sequence[str]) -> Self:
        """Return the places of those lists in `names`."""
        never_call, may_roam = (
            tuple(names.index(name) for name in chosen if name in names)
            for chosen in (settings.do_not_originate_lists, settings.home_number_from_abroad_except)
        )
        missing = len(may_roam) < len(settings.home_number_from_abroad_except)
        return cls(never_call, may_roam, missing)

    @property
    def all(self) -> tuple[int, ...]:
        """Both kinds."""
        return (*self.never_call, *self.may_roam)
