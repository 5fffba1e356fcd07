"""Where everything on trial stands, by the settings and by what operators turned. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stream.core.model.agreement import Agreements
from stream.core.model.decision import Action
from stream.core.model.trials import Kind, Standing, Target, Trials, Turned, known
from stream.core.policy.bounds import compile_bounded
from stream.core.policy.policy import PolicySettings


@dataclass(frozen=True, slots=True)
class Stands:
    """One thing: how it counts now, and whether the settings (or its file) have it on trial.

    `turned` is what an operator did, None where the settings alone speak. `remarks` say what else
    there is to know, contradictions first.
    """

    target: Target
    standing: Standing
    set_on_trial: bool
    turned: Turned | None
    remarks: tuple[str, ...]

    @property
    def is_told(self) -> bool:
        """Whether there is anything to say of it: most things are in force, and always were."""
        return self.standing is Standing.TRIAL or self.turned is not None or self.set_on_trial


@dataclass(frozen=True, slots=True)
class Here:
    """What counts in one country at one moment; `names` are the lists that the register has."""

    policy: PolicySettings
    names: Sequence[str]
    agreements: Agreements
    trials: Trials
    country: str
    at_s: int


def standings(here: Here) -> tuple[Stands, ...]:
    """Everything that can be on trial, and what was turned and is not there any more."""
    by_settings = dict(known(here.policy, here.names, here.agreements))
    found = []
    for target, set_on_trial in by_settings.items():
        standing = here.trials.standing(target, set_on_trial=set_on_trial)
        turned = here.trials.turned.get(target)
        one = Stands(target, standing, set_on_trial, turned, ())
        # Of 10,000 lists in force there is nothing to say, and nothing to compile.
        found.append(replace(one, remarks=tuple(_remarks(here, one))) if one.is_told else one)
    for target, turned in here.trials.turned.items():
        if target not in by_settings:
            gone = (f"there is no {target.kind} {target.name} here: it counts once there is",)
            found.append(Stands(target, turned.standing, False, turned, gone))
    return tuple(sorted(found, key=lambda one: one.target))


def _remarks(here: Here, one: Stands) -> Iterator[str]:
    step = "promotion" if one.standing is Standing.FORCE else "demotion"
    said = Standing.TRIAL if one.set_on_trial else Standing.FORCE
    if one.turned is not None and said is one.standing:
        yield f"the settings say {said} too by now: the {step} changes nothing"
    elif one.turned is not None:
        yield f"the settings say {said}; the {step} goes before them"
    if one.target.kind is Kind.LIST:
        if one.target.name in here.names:
            yield from _of_list(here, one.target.name, one.standing)
        else:
            yield "the register has no such list"


def _of_list(here: Here, name: str, standing: Standing) -> Iterator[str]:
    policy = compile_bounded(
        here.trials.policy(here.policy, [name]),
        [name],
        here.trials.agreements(here.agreements),
        here.country,
        here.at_s,
    ).by_list[0]
    if policy.action is Action.OBSERVE:
        yield "it may only be observed: in force it would act on nobody"
    elif standing is Standing.FORCE and policy.simulate:
        yield "it acts on nobody yet: an agreement on it is on trial"
