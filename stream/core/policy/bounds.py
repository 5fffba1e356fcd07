"""What agreements make of each list, in one country at one moment: the stricter wins.

Of the settings and of every clause in force for the list the lowest highest action counts, the
highest confidence, the most countries, and the categories that all of them name. What decided, or
kept a list from acting, is named: `agreement:<id>`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from stream.core.model.agreement import Agreements, Terms, is_country, owner_of
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import Allowed, codes_of_countries
from stream.core.policy.policy import (
    Bound,
    ListPolicy,
    Policy,
    PolicySettings,
    Stops,
    alone,
    compile_policy,
)

NO_AGREEMENT: Final = "no_agreement"
"""The rule that keeps another country's list from acting where there are agreements, none on it."""


class Agreed(NamedTuple):
    """The terms of one agreement, by its id, that are in force for a list."""

    id: str
    terms: Terms

    @property
    def rule(self) -> str:
        """What a decision names."""
        return f"agreement:{self.id}"


@dataclass(frozen=True, slots=True)
class Bounded:
    """What a list may cause: the stricter of settings and agreements, and how it came to that."""

    policy: ListPolicy
    bound: Bound


def bounded(settings: ListPolicy, name: str, country: str, agreed: Sequence[Agreed]) -> Bounded:
    """What list `name` may cause in `country` by its `settings` and what is `agreed`, if anything.

    Another country's list of which nothing is agreed is only observed. Ours, and an
    organisation's, are as the settings say.
    """
    if not agreed:
        if owner_of(name) == country or not is_country(owner_of(name)):
            return Bounded(settings, Bound(settings))
        stops = Stops(action=NO_AGREEMENT, unconfirmed=NO_AGREEMENT)
        nothing = replace(settings, action=Action.OBSERVE, unconfirmed=Action.OBSERVE)
        return Bounded(nothing, Bound(settings, corroborates=False, stops=stops))
    first = min(agreed, key=_strictness)
    surest = max(agreed, key=lambda one: one.terms.confidence_min)
    widest = max(agreed, key=lambda one: one.terms.countries_min)
    doubting = min(agreed, key=lambda one: min(one.terms.action, one.terms.unconfirmed))
    policy = replace(
        settings,
        action=min(settings.action, first.terms.action),
        unconfirmed=min(settings.unconfirmed, doubting.terms.action, doubting.terms.unconfirmed),
        confidence_min=max(settings.confidence_min, surest.terms.confidence_min),
        simulate=settings.simulate or any(one.terms.simulate for one in agreed),
    )
    # Settings that are stricter by themselves decide by themselves.
    decides = first.terms.action <= settings.action or policy.simulate > settings.simulate
    stops = Stops(
        action=first.rule,
        unconfirmed=doubting.rule,
        confidence=surest.rule,
        countries=widest.rule,
        categories=_left_out(agreed),
    )
    return Bounded(
        policy,
        Bound(
            alone=settings,
            agreement=first.id,
            rule=first.rule if decides else None,
            countries_min=widest.terms.countries_min,
            may_list=tuple(
                Allowed(codes_of_countries(one.terms.may_list), one.rule)
                for one in agreed
                if one.terms.may_list is not None
            ),
            stops=stops,
        ),
    )


def _strictness(agreed: Agreed) -> tuple[object, ...]:
    """The least of these is the strictest; its id is what reasons name."""
    terms = agreed.terms
    width = len(Category) if terms.categories is None else len(terms.categories)
    return (
        terms.action,
        not terms.simulate,
        -terms.countries_min,
        -terms.confidence_min,
        width,
        agreed.id,
    )


def _left_out(agreed: Sequence[Agreed]) -> Mapping[int, str]:
    """The categories that not all name, each with the first of those that do not.

    One that this version does not know yet is as `OTHER`, as it is in decisions.
    """
    return {
        number: one.rule
        for one in reversed(agreed)
        if one.terms.categories is not None
        for number in range(256)
        if _KNOWN.get(number, Category.OTHER) not in one.terms.categories
    }


_KNOWN: Final = {int(category): category for category in Category}


def compile_bounded(
    settings: PolicySettings, names: Sequence[str], agreements: Agreements, country: str, at_s: int
) -> Policy:
    """The policy for the lists `names`, in that order, in `country` at `at_s`.

    Without any agreement it is that of the settings. It holds as long as `Agreements.unchanged`
    says.
    """
    if not agreements:
        return compile_policy(settings, names)
    agreed: dict[str, list[Agreed]] = {name: [] for name in names}
    for agreement, clause, terms in agreements.here(country, at_s):
        if clause.list in agreed:
            agreed[clause.list].append(Agreed(agreement.id, terms))
    found = [bounded(alone(settings, name), name, country, agreed[name]) for name in names]
    return Policy(
        settings, [one.policy for one in found], [one.bound for one in found], tuple(names)
    )
