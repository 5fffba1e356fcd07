"""Where everything on trial stands, by the settings and by what operators turned. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stream.core.agreement import Agreements
from stream.core.bounds import compile_bounded
from stream.core.decision import Action
from stream.core.policy import PolicySettings
from stream.core.trials import Kind, Standing, Target, Trials, Turned, known


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
        remarks = tuple(_remarks(here, target, standing, turned, set_on_trial=set_on_trial))
        found.append(Stands(target, standing, set_on_trial, turned, remarks))
    for target, turned in here.trials.turned.items():
        if target not in by_settings:
            gone = (f"there is no {target.kind} {target.name} here: it counts once there is",)
            found.append(Stands(target, turned.standing, False, turned, gone))
    return tuple(sorted(found, key=lambda one: one.target))


def _remarks(
    here: Here, target: Target, standing: Standing, turned: Turned | None, *, set_on_trial: bool
) -> Iterator[str]:
    if turned is not None and set_on_trial is (standing is Standing.TRIAL):
        yield f"the settings say {standing} too by now: the {_step(standing)} changes nothing"
    elif turned is not None:
        said = Standing.TRIAL if set_on_trial else Standing.FORCE
        yield f"the settings say {said}; the {_step(standing)} goes before them"
    if target.kind is Kind.LIST:
        if target.name not in here.names:
            yield "the register has no such list"
            return
        yield from _of_list(here, target.name, standing)


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


def _step(standing: Standing) -> str:
    return "promotion" if standing is Standing.FORCE else "demotion"
