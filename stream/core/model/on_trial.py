"""Lists, agreements and rules on trial, and those that an operator promoted or demoted. Pure.

A list, an agreement or a rule is on trial where the settings (or the agreement's file) say so. A
promotion puts it in force without an edit of a file, and a demotion puts it on trial. The list
store keeps both, and they override the settings until they are taken back. Neither switches on what
the settings leave off: a promoted list still may do no more than its `action`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from stream.core.model.agreement import Agreement, Agreements
from stream.core.policy.policy import PolicySettings, alone
from stream.core.policy.rules import RULES, RuleSettings, RuleState


class TrialKind(StrEnum):
    """Things that can be on trial."""

    LIST = "list"
    AGREEMENT = "agreement"
    RULE = "rule"


class TrialStatus(StrEnum):
    """Status: on trial something is decided and recorded, and no call is blocked."""

    TRIAL = "trial"
    FORCE = "force"


_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}(?:/[A-Za-z0-9_.-]{1,64})?\Z")


class Target(NamedTuple):
    """One thing that can be on trial; written `list:KH/scam`, `agreement:th-kh`, `rule:NAME`."""

    kind: TrialKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def read(cls, text: str) -> "Target | None":
        """Return the target that was written; None: it is none."""
        kind, _, name = text.partition(":")
        if kind not in frozenset(TrialKind) or not _NAME.match(name):
            return None
        return cls(TrialKind(kind), name)


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """A promotion or demotion: who, when (seconds since the epoch) and why.

    `figures` are the trial's figures at that moment, by name.
    """

    standing: TrialStatus
    at_s: int
    actor: str
    reason: str
    figures: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Trials:
    """Promotions and demotions. `generation` rises with each of them, 0: there was none."""

    turned: Mapping[Target, Turned] = field(default_factory=dict)
    generation: int = 0

    def policy(self, settings: PolicySettings, names: Sequence[str]) -> PolicySettings:
        """Return the settings as they count for the lists `names`."""
        turned = self._of(TrialKind.LIST)
        lists = {
            name: replace(alone(settings, name), simulate=one.standing is TrialStatus.TRIAL)
            for name, one in turned.items()
            if name in names
        }
        if lists:
            settings = replace(settings, lists={**settings.lists, **lists})
        for name, one in self._of(TrialKind.RULE).items():
            if name in RULES:
                on_trial = one.standing is TrialStatus.TRIAL
                settings = replace(settings, rules=_ruled(settings.rules, name, on_trial=on_trial))
        return settings

    def agreements(self, agreements: Agreements) -> Agreements:
        """Return the agreements as they count."""
        turned = self._of(TrialKind.AGREEMENT)
        if not turned:
            return agreements
        held = tuple(
            _tried(one, on_trial=turned[one.id].standing is TrialStatus.TRIAL)
            if one.id in turned
            else one
            for one in agreements.held
        )
        return replace(agreements, held=held)

    def standing(self, target: Target, *, set_on_trial: bool) -> TrialStatus:
        """Return the status of `target`, which the settings have on trial or not."""
        turned = self.turned.get(target)
        if turned is not None:
            return turned.standing
        return TrialStatus.TRIAL if set_on_trial else TrialStatus.FORCE

    def with_turned(self, targets: Iterable[Target], standing: TrialStatus) -> "Trials":
        """Return the same with `targets` as if they were put to `standing`; to try it."""
        made = Turned(standing=standing, at_s=0, actor="", reason="")
        return replace(self, turned={**self.turned, **dict.fromkeys(targets, made)})

    def as_of(self, at_s: int) -> "Trials":
        """Return what was said by then; the audit alone knows what it replaced."""
        said = {target: one for target, one in self.turned.items() if one.at_s <= at_s}
        return replace(self, turned=said)

    def _of(self, kind: TrialKind) -> dict[str, Turned]:
        return {target.name: one for target, one in self.turned.items() if target.kind is kind}


NO_TRIALS: Final = Trials()


def known(
    settings: PolicySettings, names: Iterable[str], agreements: Agreements
) -> Iterator[tuple[Target, bool]]:
    """Everything that can be on trial, and whether the settings and files have it there."""
    for name in sorted({*names, *settings.lists}):
        yield Target(TrialKind.LIST, name), alone(settings, name).simulate
    for name in RULES:
        if settings.rules.is_on(name):
            yield Target(TrialKind.RULE, name), settings.rules.is_on_trial(name)
    for agreement in agreements.held:
        on_trial = any(clause.terms.simulate for clause in agreement.clauses)
        yield Target(TrialKind.AGREEMENT, agreement.id), on_trial


_PROMOTED: Final = {RuleState.SIMULATE: RuleState.BLOCK}
_DEMOTED: Final = {RuleState.BLOCK: RuleState.SIMULATE, RuleState.FLAG: RuleState.OBSERVE}
"""A rule has no trial of flagging: one that flags is observed instead, and flags no call."""


def _ruled(rules: RuleSettings, name: str, *, on_trial: bool) -> RuleSettings:
    """Return the rules with one of them turned, on every trunk and in every country that has it."""
    turned = _DEMOTED if on_trial else _PROMOTED

    def tables(held: Mapping[str, Mapping[str, RuleState]]) -> dict[str, Mapping[str, RuleState]]:
        return {
            place: {**states, name: turned.get(states[name], states[name])}
            if name in states
            else states
            for place, states in held.items()
        }

    state: RuleState = getattr(rules.default, name)
    return replace(
        rules,
        default=replace(rules.default, **{name: turned.get(state, state)}),
        countries=tables(rules.countries),
        trunks=tables(rules.trunks),
    )


def _tried(agreement: Agreement, *, on_trial: bool) -> Agreement:
    clauses = tuple(
        replace(clause, terms=replace(clause.terms, simulate=on_trial))
        for clause in agreement.clauses
    )
    return replace(agreement, clauses=clauses)
