"""The terms that let a list act on a number, or keep it from acting. Pure.

The terms are those of `core.policy` in the order in which they are looked at: what does not hold
first, decides. Each says who says so: an agreement, or the settings.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stream.core.model.agreement import owner_of
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import Outside, words_of
from stream.core.policy.policy import Bound, ListPolicy, Match, Policy

OURS = "[policy]"
"""The source of a term that no agreement sets."""


def terms_of(policy: Policy, match: Match, matches: Sequence[Match]) -> list[dict[str, Any]]:
    """Return the terms for the list of `match`, one of all `matches` of a number; plain values.

    Each: `term`, what it `wants` and what the number `has` in words, whether it `holds`, `by` whom.
    """
    rule = policy.by_list[match.list]
    bound = policy.bounds[match.list] if policy.bounds else Bound(rule)
    found = [_action(rule, bound, match)]
    if match.outside:
        found.append(_outside(policy, match))
    if match.confirmed:
        found += [*_of_entry(policy, rule, bound, match, matches)]
    if rule.simulate:
        by = bound.rule if bound.rule and not bound.alone.simulate else OURS
        found.append(_term("simulate", "on trial: decided, not done", "", False, by))
    return found


def deciding(terms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the deciding term: the first that does not hold, else the action; or None."""
    return next((term for term in terms if not term["holds"]), terms[0] if terms else None)


def _action(rule: ListPolicy, bound: Bound, match: Match) -> dict[str, Any]:
    stops, alone = bound.stops, bound.alone
    if match.confirmed:
        name, action, own, stop = "action", rule.action, alone.action, stops.action
    else:
        name, stop = "unconfirmed", stops.unconfirmed
        action = min(rule.action, rule.unconfirmed)
        own = min(alone.action, alone.unconfirmed)
    by = stop if stop and action < own else bound.rule or OURS
    return _term(name, f"may {action.name.lower()}", "", action > Action.OBSERVE, by)


def _outside(policy: Policy, match: Match) -> dict[str, Any]:
    """Return the term that keeps the number out: the gate could not read it from its hash."""
    if match.outside is not Outside.COUNTRY:
        kinds = {Outside.OWN: "our own numbers", Outside.EMERGENCY: "numbers dialled for help"}
        by = {Outside.OWN: "[feeds] own_numbers", Outside.EMERGENCY: "[policy.emergency]"}
        what = kinds[match.outside]
        return _term(match.outside.label, f"none of {what}", "one", False, by[match.outside])
    scope = policy.scopes.by_list[match.list]
    wants = f"a number of {words_of(scope.codes)}"
    return _term(match.outside.label, wants, "another", False, scope.by)


def _of_entry(
    policy: Policy, rule: ListPolicy, bound: Bound, match: Match, matches: Sequence[Match]
) -> Iterator[dict[str, Any]]:
    """Yield the terms for an entry that is confirmed, and for others beside it."""
    stops, sure = bound.stops, match.confidence or 0
    if rule.confidence_min:
        by = stops.confidence if rule.confidence_min > bound.alone.confidence_min else None
        holds = sure >= rule.confidence_min
        yield _term("confidence_min", f"at least {rule.confidence_min}", f"{sure}", holds, by)
    if stops.categories:
        category = match.category or 0
        allowed = [one.label for one in Category if int(one) not in stops.categories]
        by = stops.categories.get(category) or min(stops.categories.values())
        has = Category(category).label
        yield _term("categories", ", ".join(allowed), has, category not in stops.categories, by)
    if bound.countries_min > 1:
        count = len(_owners(policy, matches))
        holds = count >= bound.countries_min
        wants = f"{bound.countries_min} countries"
        yield _term("countries_min", wants, f"{count}", holds, stops.countries)
    if rule.agree_min > 1:
        count = sum(one.confirmed and not one.outside for one in matches)
        yield _term("agree_min", f"{rule.agree_min} lists", f"{count}", count >= rule.agree_min)


def _owners(policy: Policy, matches: Sequence[Match]) -> set[str]:
    """Return the owners of the lists that hold the number for sure, and count for others."""
    return {
        owner_of(policy.names[one.list])
        for one in matches
        if one.confirmed
        and not one.outside
        and policy.bounds
        and policy.bounds[one.list].corroborates
    }


def _term(term: str, wants: str, has: str, holds: bool, by: str | None = None) -> dict[str, Any]:
    return {"term": term, "wants": wants, "has": has, "holds": holds, "by": by or OURS}
