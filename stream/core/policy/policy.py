"""The policy: what each list may cause, by the settings and by agreements.

`compile_bounded` makes one row for each list of a `Blocklists`, so that no decision looks anything
up by name. The stricter wins. Of the settings and of every clause in force for the list, the lowest
action, the highest confidence and the most countries count. So do the categories that all of them
name. The agreement that decided, or kept a list from acting, is named: `agreement:<id>`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from stream.core.model.agreement import Agreements, Terms, is_country, owner_of
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import NO_SCOPES, Allowed, Outside, Scopes, codes_of_countries
from stream.core.policy.rules import RuleSettings


@dataclass(frozen=True, slots=True)
class ListPolicy:
    """Limits of one list.

    `action` is the strongest verdict of a confirmed match, `unconfirmed` that of a Bloom hit which
    nothing confirms. An entry below `confidence_min` (0 to 100), or a number that fewer than
    `agree_min` lists hold, is only observed. `simulate` decides without acting. A list that was
    not confirmed for `age_s_max` seconds counts as not asked (0: never). Confidence falls to 0 in
    `decay_days` (0: it stays as reported), faster at first the larger `decay_speed` is: see
    `core.model.confidence`. The defaults are those of MISP's model for phone numbers
    (`vishing-model`).
    """

    action: Action = Action.BLOCK
    unconfirmed: Action = Action.FLAG
    confidence_min: int = 0
    agree_min: int = 1
    simulate: bool = False
    age_s_max: int = 0
    decay_days: float = 10.0
    decay_speed: float = 2.3

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_min <= 100:
            raise ValueError(f"confidence_min must be 0 to 100, not {self.confidence_min}")
        if self.agree_min < 1:
            raise ValueError(f"agree_min must be at least 1, not {self.agree_min}")
        if self.age_s_max < 0:
            raise ValueError(f"age_s_max must not be negative, not {self.age_s_max}")
        if not 0 <= self.decay_days <= 36_500:
            raise ValueError(f"decay_days must be 0 (off) to 36500, not {self.decay_days}")
        if not 0.01 <= self.decay_speed <= 100:
            raise ValueError(f"decay_speed must be 0.01 to 100, not {self.decay_speed}")


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The whole policy: `lists` by list name, `default` for every other list.

    `unasked` is what follows for a call when a list could not be asked: OBSERVE allows, FLAG flags.
    """

    default: ListPolicy = field(default_factory=ListPolicy)
    lists: Mapping[str, ListPolicy] = field(default_factory=dict)
    rules: RuleSettings = field(default_factory=RuleSettings)
    unasked: Action = Action.OBSERVE
    decision_ttl_s: int = 86_400

    def __post_init__(self) -> None:
        if self.unasked is Action.BLOCK:
            raise ValueError("unasked may be allow or flag: a missing list must not block everyone")
        if self.decision_ttl_s < 1:
            raise ValueError(f"decision_ttl_s must be positive, not {self.decision_ttl_s}")


class Match(NamedTuple):
    """One list that holds a number (`confirmed`) or may hold it.

    `list` is the list's index in its `Blocklists`; category, confidence and expiry are those of the
    entry and None where the match is unconfirmed. `prefix`: how many digits of the number the
    list's entry has where that is a prefix, else 0. One that is `outside` is only observed, and
    counts for no other.
    """

    list: int
    confirmed: bool
    category: int | None = None
    confidence: int | None = None
    expires_at_s: int | None = None
    prefix: int = 0
    outside: Outside = Outside.NOT


class Stops(NamedTuple):
    """Rules that decisions name where a bound keeps a list from acting that the settings would let
    act.

    By kind of term: the highest action, that of unconfirmed matches, confidence, number of owners.
    `categories` has the numbers of those that are not agreed on. None: that one never does.
    """

    action: str | None = None
    unconfirmed: str | None = None
    confidence: str | None = None
    countries: str | None = None
    categories: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bound:
    """Effect of agreements on one list in one country at one moment.

    The list's `ListPolicy` is then the stricter of the settings and all clauses; `alone` is what
    the settings say. `agreement` is the id that reasons name; `rule` is what a decision of the list
    names in place of the list. The list acts where at least `countries_min` owners hold the number;
    it counts for others where `corroborates`. `may_list`: the countries that agreements let it
    name.
    """

    alone: ListPolicy
    agreement: str | None = None
    rule: str | None = None
    countries_min: int = 1
    corroborates: bool = True
    may_list: Sequence[Allowed] = ()
    stops: Stops = field(default_factory=Stops)


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings, with one `ListPolicy` per list of one `Blocklists`, in its order.

    `bounds` has what agreements make of each list; it is empty where there are none. `scopes` has
    the numbers that each list may name.
    """

    settings: PolicySettings
    by_list: Sequence[ListPolicy]
    bounds: Sequence[Bound] = ()
    names: tuple[str, ...] = ()
    scopes: Scopes = NO_SCOPES


def alone(settings: PolicySettings, name: str) -> ListPolicy:
    """Return the settings of the list `name`, without agreements."""
    return settings.lists.get(name, settings.default)


def compile_policy(settings: PolicySettings, names: Sequence[str]) -> Policy:
    """Return the policy for the lists `names`, in that order, without agreements."""
    return Policy(settings, [alone(settings, name) for name in names], names=tuple(names))


NO_AGREEMENT: Final = "no_agreement"
"""The rule that keeps another country's list from acting where there are agreements, none on it."""


class Agreed(NamedTuple):
    """The terms of one agreement, by its id, that are in force for a list."""

    id: str
    terms: Terms

    @property
    def rule(self) -> str:
        """The rule that decisions name."""
        return f"agreement:{self.id}"


@dataclass(frozen=True, slots=True)
class Bounded:
    """The stricter of settings and agreements for one list, and how it came to that."""

    policy: ListPolicy
    bound: Bound


def bounded(settings: ListPolicy, name: str, country: str, agreed: Sequence[Agreed]) -> Bounded:
    """Return what list `name` may cause in `country`, by its `settings` and what is `agreed`.

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
    """Return the categories that not all name, each with the first of those that do not.

    One that this version does not know yet is as `OTHER`, as it is in decisions.
    """
    # From the last to the first: a key that comes again overwrites, so the first one is named.
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
    """Return the policy for the lists `names`, in that order, in `country` at `at_s`.

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
