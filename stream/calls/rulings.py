"""Rulings for the calls that a list or rule matched, as columns.

The order: an emergency number called is never blocked, nor is a number on the allowlist. Then come
confirmed and unconfirmed lists, the plausibility rules, and lists that were not available. Innocent
calls, nearly all, are never processed one by one. Of the calls that match a list, only those are
whose called number may be an emergency number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import FEW, BatchTally, CallBatch, OutOfScope
from stream.calls.plausibility.bursts import Bursts
from stream.calls.plausibility.check import Broken, RuleInputs, RuleTable, Verify, broken_rules
from stream.calls.ruling_columns import (
    ALLOWLIST,
    CALLEE,
    CALLER,
    EMERGENCY,
    FIXED_RULES,
    NO_RULE,
    PLAUSIBLE,
    UNASKED,
    RuleNames,
    Rulings,
    strengths,
    stronger,
    together,
    with_reasons,
)
from stream.calls.trunks import Trunks
from stream.core.filters.blocklists import Blocklists
from stream.core.filters.matches import NO_MATCHES, Matches
from stream.core.model.decision import Action, SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.number import Kind, Numbers
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import Policy
from stream.core.policy.policy_columns import Judgements, PolicyColumns, judge, stopped
from stream.core.policy.rules import RULES, RuleLists, RuleState


@dataclass(frozen=True, slots=True)
class Rules:
    """All that deciding needs besides the batch and the lists; built once per `Blocklists`."""

    policy: Policy
    emergency: EmergencyNumbers
    trunks: Trunks
    sip: SipAnswerSettings
    emit_all: bool
    verify: Verify | None = None
    """Of PASSporTs in records; None: they say nothing."""
    columns: PolicyColumns = field(init=False)
    """The policy by list, as arrays."""
    rule_names: RuleNames = field(init=False)
    """The names of rules and lists in decisions."""
    table: RuleTable = field(init=False)
    """The most that each plausibility rule may cause on each trunk."""
    lists: RuleLists = field(init=False)
    """The lists that those rules ask."""

    def __post_init__(self) -> None:
        settings = self.policy.settings.rules
        object.__setattr__(self, "table", RuleTable.of(settings, self.trunks))
        object.__setattr__(self, "lists", RuleLists.of(settings, self.policy.names))
        object.__setattr__(self, "columns", PolicyColumns.of(self.policy))
        object.__setattr__(self, "rule_names", RuleNames.of(self.policy))


def rulings_of(
    batch: CallBatch,
    blocklists: Blocklists,
    rules: Rules,
    now_s: int,
    tally: BatchTally,
    bursts: Bursts | None = None,
    found: Sequence[Matches] | None = None,
) -> Rulings:
    """Rule on every call that a list or rule matched; calls absent from it are innocent.

    `bursts` remembers short calls; without it the rule for bursts never matches. `found`: what
    `matches_of` returns, for a caller that has it already.
    """
    if found is None:
        found = matches_of(batch, blocklists, rules, now_s)
    return _OneBatch(batch, blocklists, rules, now_s, tally).rulings(found, bursts)


def matches_of(
    batch: CallBatch, blocklists: Blocklists, rules: Rules, now_s: int
) -> Sequence[Matches]:
    """Match callers, and callees where they are read: two `Matches`."""

    def match(numbers: Numbers) -> Matches:
        return blocklists.match(numbers, now_s, rules.columns.decay, rules.columns.scopes)

    callers, callees = batch.callers, batch.callees
    if callees is None:
        return match(callers), NO_MATCHES
    count = len(callers)
    if count > FEW:
        return match(callers), match(callees)
    both = match(callers.followed_by(callees))
    if not len(both):
        return both, both
    begin = int(np.searchsorted(both.rows, count))
    called = both.at(np.arange(begin, len(both)))
    return both.first(begin), replace(called, rows=called.rows - count)


_NO_RULINGS = Rulings.blank(np.zeros(0, np.int64), NO_MATCHES)
_NEVER_CALL = RULES.index("do_not_originate")


class _OneBatch:
    """The rulings of one batch, step by step."""

    def __init__(
        self, batch: CallBatch, blocklists: Blocklists, rules: Rules, now_s: int, tally: BatchTally
    ) -> None:
        self._batch = batch
        self._blocklists = blocklists
        self._rules = rules
        self._now_s = now_s
        self._tally = tally

    def rulings(self, found: Sequence[Matches], bursts: Bursts | None) -> Rulings:
        """See `rulings_of`."""
        rules, now_s = self._rules, self._now_s
        stale = rules.columns.stale(now_s - self._blocklists.synced_at_s)
        silent = frozenset(stale).union(self._blocklists.unusable)
        if stale:
            found = [matches.without(silent) for matches in found]
        # Before lists that rules ask are taken out: those rules need what they say.
        of_callers = found[0]
        if asked := rules.lists.all:
            found = [matches.without(asked) for matches in found]
        rulings = self._by_lists(*found)
        if rules.table.on:
            rulings = self._plausible(rulings, of_callers, silent, bursts)
        if silent.difference(asked):
            rulings = self._unasked(rulings)
        return rulings

    def _by_lists(self, of_callers: Matches, of_callees: Matches) -> Rulings:
        """Rule on every call with a match, by all its lists together."""
        if not len(of_callers) and not len(of_callees):
            return _NO_RULINGS
        both = Matches(
            *map(np.concatenate, zip(of_callers.columns, of_callees.columns, strict=True))
        )
        rulings = self._of_one(of_callers, both, CALLER, 0)
        if len(of_callees):
            called = self._of_one(of_callees, both, CALLEE, len(of_callers))
            self._spare_allowed_callees(called)
            rulings = stronger(rulings, called)
        # Where an agreement keeps a list from acting, the ruling names it and stays as it is.
        passing = np.flatnonzero(rulings.rules == NO_RULE)
        rulings.rule(passing, NO_RULE, Action.OBSERVE)
        # The allowlist over the lists, help over all: the last word is the strongest.
        everyone = np.arange(len(rulings))
        allowed = self._allowed(self._batch.callers, rulings.calls)
        rulings.rule(everyone[allowed], ALLOWLIST, Action.OBSERVE)
        for_help = self._for_help(rulings.calls)
        rulings.rule(everyone[for_help], EMERGENCY, Action.OBSERVE)
        self._count_matches(rulings)
        return rulings

    def _of_one(self, matches: Matches, both: Matches, role: int, offset: int) -> Rulings:
        """Rule by the matches of callers, or of callees, which lie in `both` from `offset`."""
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
        """Let callees on the allowlist pass; their callers are judged all the same."""
        if self._batch.callees is not None:
            spared = np.flatnonzero(self._allowed(self._batch.callees, called.calls))
            called.actions[spared] = Action.OBSERVE
            called.simulated[spared] = False
            called.rules[spared] = NO_RULE

    def _allowed(self, numbers: Numbers, calls: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of `calls` have their number on the allowlist."""
        return self._blocklists.allow.allowed(numbers.e164[calls], self._now_s)

    def _for_help(self, calls: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of `calls` call an emergency number."""
        batch, rules = self._batch, self._rules
        found = np.zeros(len(calls), np.bool_)
        for place in np.flatnonzero(~_surely_not(batch, calls, rules.emergency)).tolist():
            call_fields = batch.key_fields[int(calls[place])]
            country = rules.trunks.country(call_fields.trunk)
            found[place] = rules.emergency.is_emergency(call_fields.callee, country)
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
        for place in np.flatnonzero(matches.outside).tolist():
            why = Outside(matches.outside[place]).label
            name, sure = names[matches.lists[place]], bool(matches.confirmed[place])
            self._tally.outside[OutOfScope(name, why, sure)] += 1

    def _plausible(
        self, rulings: Rulings, of_callers: Matches, silent: frozenset[int], bursts: Bursts | None
    ) -> Rulings:
        """Rule on calls whose lists decide less strictly; `of_callers`: all matches of callers."""
        lists = self._rules.lists
        never_call = of_callers.at(np.flatnonzero(np.isin(of_callers.lists, lists.never_call)))
        may_roam = np.isin(of_callers.lists, lists.may_roam) & of_callers.confirmed
        may_roam &= of_callers.outside == Outside.NOT
        told = RuleInputs(
            judge(never_call, self._rules.columns) if len(never_call) else None,
            of_callers.rows[may_roam],
            lists.missing or not silent.isdisjoint(lists.may_roam),
            bursts,
            self._rules.verify,
            self._now_s,
        )
        broken = broken_rules(self._batch, self._rules.table, told)
        if broken is None:
            return rulings
        places = np.flatnonzero(broken.states > strengths(rulings, len(self._batch))[broken.calls])
        return self._ruled(rulings, broken, places, told, never_call)

    def _ruled(
        self,
        rulings: Rulings,
        broken: Broken,
        places: NDArray[np.int64],
        told: RuleInputs,
        never_call: Matches,
    ) -> Rulings:
        """Put the rules at `places` of `broken` in place of earlier rulings."""
        calls, rules, states = broken.calls[places], broken.rules[places], broken.states[places]
        new = np.setdiff1d(calls, rulings.calls)
        whole = together(rulings, Rulings.blank(new, rulings.matches))
        place_of = np.zeros(len(self._batch), np.int64)
        place_of[whole.calls] = np.arange(len(whole))
        kinds = rules * len(RuleState) + states
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            rule, state = divmod(kind, len(RuleState))
            whole.rule(
                place_of[calls[kinds == kind]],
                PLAUSIBLE + rule,
                RuleState(state).action,
                simulated=state == RuleState.SIMULATE,
            )
        if told.never_call is not None:
            which = calls[rules == _NEVER_CALL]
            whole = with_reasons(whole, place_of[which], which, told.never_call, never_call)
        whole.rule(
            place_of[calls[self._allowed(self._batch.callers, calls)]], ALLOWLIST, Action.OBSERVE
        )
        whole.rule(place_of[calls[self._for_help(calls)]], EMERGENCY, Action.OBSERVE)
        return whole

    def _unasked(self, rulings: Rulings) -> Rulings:
        """Rule on E.164 callers that no list matched while some lists could not be asked."""
        quiet = self._batch.callers.kinds == Kind.E164
        quiet[rulings.calls] = False
        self._tally.unasked_calls += int(np.count_nonzero(quiet))
        action = self._rules.policy.settings.unasked
        if action == Action.OBSERVE:
            return rulings
        calls = np.flatnonzero(quiet)
        free = self._for_help(calls) | self._allowed(self._batch.callers, calls)
        left = Rulings.blank(calls[~free], rulings.matches)
        left.rule(np.arange(len(left)), UNASKED, action)
        return together(rulings, left)


def _surely_not(
    batch: CallBatch, calls: NDArray[np.int64], emergency: EmergencyNumbers
) -> NDArray[np.bool_]:
    """Return which of `calls` surely call no emergency number, by the length of `+` and digits."""
    found = np.zeros(len(calls), np.bool_)
    if batch.located is not None:
        from stream.core.kernels.write_decisions import find_long_numbers

        callees = batch.located.field("callee")
        find_long_numbers(
            callees.data, callees.starts, callees.sizes, calls, emergency.length_max, found
        )
    return found
