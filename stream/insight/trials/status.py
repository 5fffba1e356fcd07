"""The status of everything on trial, and the decisions that each trial would have changed. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stream.core.model.agreement import Agreements
from stream.core.model.decision import Action, Decision, Verdict
from stream.core.model.on_trial import Target, TrialKind, Trials, TrialStatus, Turned, known
from stream.core.policy.policy import PolicySettings, compile_bounded


@dataclass(frozen=True, slots=True)
class Stands:
    """One thing: how it counts now, and whether the settings (or its file) have it on trial.

    `turned` is what an operator did, None where only the settings decide. `remarks` say what else
    there is to know, contradictions first.
    """

    target: Target
    standing: TrialStatus
    set_on_trial: bool
    turned: Turned | None
    remarks: tuple[str, ...]

    @property
    def is_told(self) -> bool:
        """There is something to show: most things are in force, and always were."""
        return self.standing is TrialStatus.TRIAL or self.turned is not None or self.set_on_trial


@dataclass(frozen=True, slots=True)
class Here:
    """Policy, agreements and trials of a country at a moment; `names` are the store's lists."""

    policy: PolicySettings
    names: Sequence[str]
    agreements: Agreements
    trials: Trials
    country: str
    at_s: int


def standings(here: Here) -> tuple[Stands, ...]:
    """Return the status of everything that can be on trial, and of what was turned and is gone."""
    by_settings = dict(known(here.policy, here.names, here.agreements))
    listed = frozenset(here.names)  # each of 10,000 lists on trial looks for its name
    found = []
    for target, set_on_trial in by_settings.items():
        standing = here.trials.standing(target, set_on_trial=set_on_trial)
        turned = here.trials.turned.get(target)
        one = Stands(target, standing, set_on_trial, turned, ())
        # Of 10,000 lists in force there is nothing to say, and nothing to compile.
        found.append(
            replace(one, remarks=tuple(_remarks(here, listed, one))) if one.is_told else one
        )
    for target, turned in here.trials.turned.items():
        if target not in by_settings:
            gone = (f"there is no {target.kind} {target.name} here: it counts once there is",)
            found.append(Stands(target, turned.standing, False, turned, gone))
    return tuple(sorted(found, key=lambda one: one.target))


def _remarks(here: Here, listed: frozenset[str], one: Stands) -> Iterator[str]:
    step = "promotion" if one.standing is TrialStatus.FORCE else "demotion"
    said = TrialStatus.TRIAL if one.set_on_trial else TrialStatus.FORCE
    if one.turned is not None and said is one.standing:
        yield f"the settings say {said} too by now: the {step} changes nothing"
    elif one.turned is not None:
        yield f"the settings say {said}; the {step} overrides them"
    if one.target.kind is TrialKind.LIST:
        if one.target.name in listed:
            yield from _of_list(here, one.target.name, one.standing)
        else:
            yield "the list store has no such list"


def _of_list(here: Here, name: str, standing: TrialStatus) -> Iterator[str]:
    policy = compile_bounded(
        here.trials.policy(here.policy, [name]),
        [name],
        here.trials.agreements(here.agreements),
        here.country,
        here.at_s,
    ).by_list[0]
    if policy.action is Action.OBSERVE:
        yield "it may only be observed: in force it would block no call"
    elif standing is TrialStatus.FORCE and policy.simulate:
        yield "it blocks no call yet: an agreement on it is on trial"


NUMBERS_MAX: Final = 100_000
"""Of each thing, as hashes: some 10 MB."""


@dataclass(slots=True)
class TrialCount:
    """One thing. `would_block` and `would_flag` are calls that went on because it is on trial.
    `stopped` are those of its calls that something in force blocked or flagged.

    `numbers` are hashes of the numbers of the former; `more_numbers`: there are others besides.
    """

    would_block: int = 0
    would_flag: int = 0
    stopped: int = 0
    numbers: set[int] = field(default_factory=set)
    more_numbers: bool = False
    enforced_numbers: set[int] = field(default_factory=set)

    @property
    def numbers_also_enforced(self) -> int:
        """The count of its numbers that something in force stopped in other calls."""
        return len(self.numbers & self.enforced_numbers)

    def plain(self) -> dict[str, int]:
        """Return the figures by name, for JSON and the audit."""
        return {
            "would_block": self.would_block,
            "would_flag": self.would_flag,
            "numbers": len(self.numbers),
            "stopped": self.stopped,
            "numbers_also_enforced": self.numbers_also_enforced,
        }


@dataclass(slots=True)
class TrialCounts:
    """Of all things that decisions name; `decisions` were looked at."""

    tried: dict[Target, TrialCount] = field(default_factory=dict)
    decisions: int = 0

    def add(self, decision: Decision) -> None:
        """Count one decision, unless it repeats another about the same call."""
        self.decisions += 1
        if isinstance(decision.repeats, str):
            return
        for target in named(decision):
            self._count(self.tried.setdefault(target, TrialCount()), decision)

    def of(self, target: Target) -> TrialCount:
        """Return the counts of one thing."""
        return self.tried.get(target, TrialCount())

    def _count(self, tried: TrialCount, decision: Decision) -> None:
        if decision.simulated:
            tried.would_block += decision.would == Verdict.BLOCK
            tried.would_flag += decision.would == Verdict.FLAG
            tried.more_numbers |= not _remember(tried.numbers, decision.number)
        elif decision.verdict != Verdict.ALLOW:
            tried.stopped += 1
            _remember(tried.enforced_numbers, decision.number)


def named(decision: Decision) -> Iterable[Target]:
    """Return the things named by a decision that can be on trial, each once."""
    found = [Target(TrialKind.LIST, reason.list) for reason in decision.reasons]
    found += [
        Target(TrialKind.AGREEMENT, reason.agreement)
        for reason in decision.reasons
        if reason.agreement is not None
    ]
    rule = Target.read(decision.rule)
    return dict.fromkeys(found if rule is None else [*found, rule])


def _remember(numbers: set[int], number: str | None) -> bool:
    """Remember a number's hash; False: there is no room."""
    if number is None:
        return True
    if len(numbers) >= NUMBERS_MAX:
        return hash(number) in numbers
    numbers.add(hash(number))
    return True
