"""What is to be done with each call that anything speaks of, and why, in columns.

The order (design, section 4): an emergency number called is never blocked; nor is a number on the
allowlist; then what confirmed and unconfirmed lists say, then the plausibility rules, then lists
that could not be asked. Innocent calls, nearly all of them, are never looked at one by one; and of
those that a list speaks of only the ones whose called number may be one for help.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch
from stream.calls.plausible import broken_rules
from stream.calls.trunks import Trunks
from stream.calls.wording import ALLOWLIST, EMERGENCY, FIXED_RULES, NO_RULE, UNASKED, Wording
from stream.core.blocklists import Blocklists
from stream.core.decision import Action, SipSettings, Verdict
from stream.core.emergency import EmergencyNumbers
from stream.core.judging import Judgements, PolicyColumns, judge, stopped
from stream.core.matches import NO_MATCHES, Matches
from stream.core.number import Kind, Numbers
from stream.core.policy import Policy

CALLER, CALLEE = 0, 1
"""Which of a call's numbers decided it, in `Rulings.roles`."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that deciding needs besides the batch and the lists; built once per `Blocklists`."""

    policy: Policy
    emergency: EmergencyNumbers
    trunks: Trunks
    sip: SipSettings
    emit_all: bool
    columns: PolicyColumns = field(init=False)
    """The policy by list, as arrays."""
    wording: Wording = field(init=False)
    """How decisions name rules and lists."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", PolicyColumns.of(self.policy))
        object.__setattr__(self, "wording", Wording.of(self.policy))


class Counted(NamedTuple):
    """A label set of the decision counter: `list` is "" where no list decided."""

    verdict: Verdict
    rule: str
    list: str
    simulated: bool


@dataclass(slots=True)
class Tally:
    """What happened in one batch, for the metrics; every call is in `decisions` exactly once."""

    decisions: Counter[Counted] = field(default_factory=Counter)
    unconfirmed: Counter[str] = field(default_factory=Counter)
    observed: Counter[str] = field(default_factory=Counter)
    unasked_calls: int = 0
    unscanned_calls: int = 0
    repeats_marked: int = 0
    repeats_left_out: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Rulings:
    """What is to be done, in columns of one length; no call is in it twice.

    `calls` int64, indexes of calls. `actions` uint8 (`Action`) is what happens to the call, or
    would happen where `simulated` (bool), OBSERVE for one that may pass. `rules` int64 is a place
    in `Wording.rules`; `roles` uint8. The reasons are `matches`
    from `first` to `last` (int64), of which the one at `deciding` decided; it is -1, and there are
    no reasons, where no list did.
    """

    matches: Matches
    calls: NDArray[np.int64]
    actions: NDArray[np.uint8]
    simulated: NDArray[np.bool_]
    rules: NDArray[np.int64]
    roles: NDArray[np.uint8]
    deciding: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def blank(cls, calls: NDArray[np.int64], matches: Matches) -> Self:
        """Rulings that let `calls` pass, by no rule."""
        count = len(calls)
        small = np.zeros((3, count), np.uint8)
        large = np.zeros((3, count), np.int64)
        return cls(
            matches,
            calls,
            small[0],
            small[1].view(np.bool_),
            large[0],
            small[2],
            np.full(count, -1, np.int64),
            large[1],
            large[2],
        )

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The columns, in the order of their fields, without the matches."""
        return (
            self.calls,
            self.actions,
            self.simulated,
            self.rules,
            self.roles,
            self.deciding,
            self.first,
            self.last,
        )

    def __len__(self) -> int:
        return len(self.calls)

    def at(self, places: NDArray[np.int64]) -> Self:
        """The rulings at `places`, in that order."""
        return type(self)(self.matches, *(column[places] for column in self.columns))

    def rule(self, places: NDArray[np.int64], rule: int, action: Action) -> None:
        """Let a rule that is no list's speak in place of what spoke before, at `places`."""
        self.actions[places] = action
        self.simulated[places] = False
        self.rules[places] = rule
        self.roles[places] = CALLER
        self.deciding[places] = -1
        self.first[places] = self.last[places] = 0


def rulings_of(
    batch: CallBatch, blocklists: Blocklists, rules: Rules, now_s: int, tally: Tally
) -> Rulings:
    """A ruling for every call that anything speaks of; calls absent from it are innocent."""
    return _Bench(batch, blocklists, rules, now_s, tally).rulings()


class _Bench:
    """Where one batch is judged."""

    def __init__(
        self, batch: CallBatch, blocklists: Blocklists, rules: Rules, now_s: int, tally: Tally
    ) -> None:
        self._batch = batch
        self._blocklists = blocklists
        self._rules = rules
        self._now_s = now_s
        self._tally = tally

    def rulings(self) -> Rulings:
        """See `rulings_of`."""
        rules, batch, now_s = self._rules, self._batch, self._now_s
        stale = rules.columns.stale(now_s - self._blocklists.synced_at_s)
        silent = frozenset(stale).union(self._blocklists.unusable)
        found = [
            NO_MATCHES
            if numbers is None
            else self._blocklists.match(numbers, now_s, rules.columns.decay)
            for numbers in (batch.callers, batch.callees)
        ]
        if stale:
            found = [matches.without(silent) for matches in found]
        rulings = self._by_lists(*found)
        if rules.policy.settings.rules.on:
            rulings = self._plausible(rulings)
        if silent:
            rulings = self._unasked(rulings)
        return rulings

    def _by_lists(self, of_callers: Matches, of_callees: Matches) -> Rulings:
        """What the lists come to, for every call with a match."""
        if not len(of_callers) and not len(of_callees):
            return Rulings.blank(np.zeros(0, np.int64), NO_MATCHES)
        both = Matches(
            *map(np.concatenate, zip(of_callers.columns, of_callees.columns, strict=True))
        )
        rulings = self._of_one(of_callers, both, CALLER, 0)
        if len(of_callees):
            called = self._of_one(of_callees, both, CALLEE, len(of_callers))
            self._spare_allowed_callees(called)
            rulings = _stronger(rulings, called)
        # Where an agreement keeps a list from acting, the ruling names it and stays as it is.
        passing = np.flatnonzero(rulings.rules == NO_RULE)
        rulings.rule(passing, NO_RULE, Action.OBSERVE)
        everyone = np.arange(len(rulings))
        allowed = self._allowed(self._batch.callers, rulings.calls)
        rulings.rule(everyone[allowed], ALLOWLIST, Action.OBSERVE)
        for_help = self._for_help(rulings.calls)
        rulings.rule(everyone[for_help], EMERGENCY, Action.OBSERVE)
        self._count_matches(rulings)
        return rulings

    def _of_one(self, matches: Matches, both: Matches, role: int, offset: int) -> Rulings:
        """What the matches of callers, or of callees, come to; they lie in `both` from `offset`."""
        columns = self._rules.columns
        judged: Judgements = judge(matches, columns)
        count = len(judged.rows)
        rules = matches.lists[judged.deciding]
        if columns.bounds is not None:
            rules = columns.bounds.rules[rules]
        rules = np.where(judged.actions == Action.OBSERVE, NO_RULE, rules + len(FIXED_RULES))
        deciding = judged.deciding
        kept = stopped(matches, judged, columns)
        if kept is not None:
            rules[kept.places] = kept.rules + len(FIXED_RULES)
            deciding[kept.places] = kept.deciding
        return Rulings(
            calls=judged.rows,
            actions=judged.actions,
            simulated=judged.simulated,
            rules=rules,
            roles=np.full(count, role, np.uint8),
            deciding=deciding + offset,
            first=judged.first + offset,
            last=judged.last + offset,
            matches=both,
        )

    def _spare_allowed_callees(self, called: Rulings) -> None:
        """An allowed number called takes only itself out of the judgement, not its caller."""
        if self._batch.callees is not None:
            spared = np.flatnonzero(self._allowed(self._batch.callees, called.calls))
            called.actions[spared] = Action.OBSERVE
            called.simulated[spared] = False
            called.rules[spared] = NO_RULE

    def _allowed(self, numbers: Numbers, calls: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `calls` have their number on the allowlist."""
        return self._blocklists.allow.allowed(numbers.e164[calls], self._now_s)

    def _for_help(self, calls: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `calls` call an emergency number."""
        batch, rules = self._batch, self._rules
        found = np.zeros(len(calls), np.bool_)
        for place in np.flatnonzero(~_surely_not(batch, calls, rules.emergency)).tolist():
            glance = batch.glances[int(calls[place])]
            country = rules.trunks.country(glance.trunk)
            found[place] = rules.emergency.is_emergency(glance.callee, country)
        return found

    def _count_matches(self, rulings: Rulings) -> None:
        matches, names = rulings.matches, self._blocklists.names
        passing = (rulings.actions == Action.OBSERVE) | rulings.simulated
        passed = passing[np.searchsorted(rulings.calls, matches.rows)]
        for counter, which in (
            (self._tally.unconfirmed, ~matches.confirmed),
            (self._tally.observed, matches.confirmed & passed),
        ):
            for index, times in enumerate(np.bincount(matches.lists[which]).tolist()):
                if times:
                    counter[names[index]] += times

    def _plausible(self, rulings: Rulings) -> Rulings:
        """Rule on calls that no list blocks."""
        broken = broken_rules(self._batch, self._rules.trunks, self._rules.policy.settings.rules)
        if not broken:
            return rulings
        acts = (rulings.actions > Action.OBSERVE) & ~rulings.simulated
        decided = acts | ((rulings.rules != NO_RULE) & (rulings.rules < len(FIXED_RULES)))
        calls = np.setdiff1d(np.array([*broken], np.int64), rulings.calls[decided])
        new = np.setdiff1d(calls, rulings.calls)
        whole = _together(rulings, Rulings.blank(new, rulings.matches))
        place_of = np.zeros(len(self._batch), np.int64)
        place_of[whole.calls] = np.arange(len(whole))
        told = [broken[call] for call in calls.tolist()]
        for one in {*told}:
            which = np.array([each == one for each in told], np.bool_)
            whole.rule(place_of[calls[which]], one.rule, one.action)
        whole.rule(
            place_of[calls[self._allowed(self._batch.callers, calls)]], ALLOWLIST, Action.OBSERVE
        )
        whole.rule(place_of[calls[self._for_help(calls)]], EMERGENCY, Action.OBSERVE)
        return whole

    def _unasked(self, rulings: Rulings) -> Rulings:
        """What follows for E.164 callers that no list speaks of while some could not be asked."""
        quiet = self._batch.callers.kinds == Kind.E164
        quiet[rulings.calls] = False
        self._tally.unasked_calls += int(np.count_nonzero(quiet))
        action = self._rules.policy.settings.unasked
        if action == Action.OBSERVE:
            return rulings
        calls = np.flatnonzero(quiet)
        left = Rulings.blank(calls[~self._for_help(calls)], rulings.matches)
        left.rule(np.arange(len(left)), UNASKED, action)
        return _together(rulings, left)


def _together(rulings: Rulings, more: Rulings) -> Rulings:
    """Both, `more` behind; they share the matches and no call."""
    columns = map(np.concatenate, zip(rulings.columns, more.columns, strict=True))
    return Rulings(rulings.matches, *columns)


def _stronger(of_callers: Rulings, of_callees: Rulings) -> Rulings:
    """For each call the stronger of what its two numbers come to; of equals the caller's.

    One that an agreement keeps from acting goes before one that says nothing.
    """
    both = _together(of_callers, of_callees)
    acts = (both.actions > Action.OBSERVE) & ~both.simulated
    strength = acts * (Action.BLOCK + 1) + both.actions.astype(np.int64)
    order = np.lexsort((both.roles, both.rules == NO_RULE, -strength, both.calls))
    first = np.diff(both.calls[order], prepend=-1) != 0
    return both.at(order[first])


def _surely_not(
    batch: CallBatch, calls: NDArray[np.int64], emergency: EmergencyNumbers
) -> NDArray[np.bool_]:
    """Which of `calls` call no emergency number, seen by the length alone of `+` and digits."""
    found = np.zeros(len(calls), np.bool_)
    if batch.located is not None:
        from stream.core.kernels.writing import find_long_numbers

        callees = batch.located.field("callee")
        find_long_numbers(
            callees.data, callees.starts, callees.sizes, calls, emergency.length_max, found
        )
    return found
