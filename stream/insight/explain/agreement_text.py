"""Agreements in words and in JSON: what each says, what a list may cause, and until when."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stream.config.feed_files import feed_tables
from stream.config.settings import EngineSettings
from stream.core.model.agreement import (
    Agreement,
    Agreements,
    AgreementState,
    Clause,
    Terms,
    is_country,
    owner_of,
)
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.model.moments import rfc3339
from stream.core.policy.contradictions import Contradiction, categories_in_words
from stream.core.policy.policy import NO_AGREEMENT, Agreed, Bounded, ListPolicy, alone, bounded
from stream.insight.report.report_json import agreement_head, terms_json

WEEK_S = 7 * 86_400
SOON_S = 30 * 86_400
_UNBOUND = ListPolicy(action=Action.BLOCK, unconfirmed=Action.BLOCK)
"""Another country's own policy is not known here: this is what agreements allow it at most."""


_SAID = ("title", "kind", "state", "valid_from", "valid_until")


def agreement_json(agreement: Agreement, at_s: int) -> dict[str, Any]:
    """Return an agreement as plain values, with its state at that moment."""
    return {
        "agreement": agreement.id,
        **agreement_head(agreement, at_s),
        "confirmed": rfc3339(agreement.confirmed_s) if agreement.kind == "pledge" else None,
        "circle": agreement.circle,
        "lists": [_clause_json(agreement, clause, at_s) for clause in agreement.clauses],
        "texts": [*agreement.texts],
    }


def _clause_json(agreement: Agreement, clause: Clause, at_s: int) -> dict[str, Any]:
    terms = agreement.terms_of(clause, at_s)
    return {
        "list": clause.list,
        "to": sorted(clause.to),
        "reference": clause.reference or None,
        "action": terms.action.name.lower(),
        "unconfirmed": min(terms.action, terms.unconfirmed).name.lower(),
        **terms_json(terms),
        "may_list": None if terms.may_list is None else sorted(terms.may_list),
        "shares": clause.shares,
    }


def named(agreements: Agreements, name: str, list_name: str, country: str) -> dict[str, Any] | None:
    """Return the clause of agreement `name` on a list in a country, as plain values; or None."""
    for agreement in agreements.held:
        if agreement.id == name and (clause := agreement.clause(list_name, country)) is not None:
            return {
                "id": name,
                "title": agreement.title,
                "reference": clause.reference or None,
                "contact": agreement.parties[clause.owner].contact,
                "conditions": [*_conditions(clause.terms)],
            }
    return None


def _conditions(terms: Terms) -> Iterator[str]:
    """Under which an entry may act, in words."""
    if terms.confidence_min:
        yield f"confidence at least {terms.confidence_min}"
    if terms.categories is not None:
        yield categories_in_words(terms.categories)
    if terms.countries_min > 1:
        yield f"{terms.countries_min} countries agree"
    if terms.may_list is not None:
        yield f"a number of {', '.join(sorted(terms.may_list))}"


def explained(
    settings: EngineSettings, agreements: Agreements, name: str, country: str, at_s: int
) -> dict[str, Any]:
    """Return the most that list `name` may cause in `country` at a moment, with its clauses."""
    clauses: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for agreement in agreements.held:
        clause = agreement.clause(name, country)
        if clause is None:
            continue
        head = agreement_head(agreement, at_s)
        told = {
            "agreement": agreement.id,
            **{name: head[name] for name in _SAID},
            "contact": agreement.parties[clause.owner].contact,
            **_clause_json(agreement, clause, at_s),
        }
        (clauses if agreement.in_force(at_s) else others).append(told)
    return {
        "list": name,
        "country": country,
        "at": rfc3339(at_s),
        "policy_known": country == settings.calls.home_country,
        **may_cause(settings, agreements, name, country, at_s),
        "clauses": clauses,
        "not_in_force": others,
        "changes": [*_changes(settings, agreements, name, country, at_s)],
    }


def _changes(
    settings: EngineSettings, agreements: Agreements, name: str, country: str, at_s: int
) -> Iterator[dict[str, Any]]:
    """Changes within a week, each with the moment from which it holds."""
    before, until_s = may_cause(settings, agreements, name, country, at_s), at_s
    while True:
        _, until_s = agreements.unchanged(until_s)
        if until_s > at_s + WEEK_S:
            return
        after = may_cause(settings, agreements, name, country, until_s)
        if after != before:
            yield {"at": rfc3339(until_s), **after}
        before = after


def may_cause(
    settings: EngineSettings, agreements: Agreements, name: str, country: str, at_s: int
) -> dict[str, Any]:
    """Return the most that the list may cause at a moment, each term with its source."""
    home = country == settings.calls.home_country
    policy = alone(settings.policy.settings(), name) if home else _UNBOUND
    agreed = _agreed(agreements, name, country, at_s)
    # Without any agreement other countries' lists do what [policy] says, as our own do.
    found = bounded(policy, name, country if agreements else owner_of(name), agreed)
    bound, rule, stops = found.bound, found.policy, found.bound.stops
    ours = "[policy]" if home else "its own policy"
    left_out = {*bound.stops.categories.values()}
    says = {
        "action": (
            rule.action.name.lower(), rule.action < policy.action or bound.rule, stops.action
        ),
        "unconfirmed": (
            min(rule.action, rule.unconfirmed).name.lower(),
            min(rule.action, rule.unconfirmed) < min(policy.action, policy.unconfirmed),
            stops.unconfirmed,
        ),
        "confidence_min": (
            rule.confidence_min, rule.confidence_min > policy.confidence_min, stops.confidence
        ),
        "countries_min": (bound.countries_min, bound.countries_min > 1, stops.countries),
        "agree_min": (rule.agree_min, False, None),
        "simulate": (rule.simulate, rule.simulate > policy.simulate, bound.rule),
    }  # fmt: skip
    terms = {
        term: {"value": value, "by": by if agreed and by else ours}
        for term, (value, agreed, by) in says.items()
    }
    limits = [one for one in agreed if one.terms.may_list is not None]
    terms["may_list"] = {
        "value": sorted(
            frozenset.intersection(*(one.terms.may_list or frozenset() for one in limits))
        )
        if limits
        else None,
        "by": ", ".join(one.rule for one in limits) or ours,
    }
    terms["categories"] = {
        "value": _allowed(found) if left_out else None,
        "by": ", ".join(sorted(left_out)) or ours,
    }
    own = NO_AGREEMENT if stops.action == NO_AGREEMENT else f"list:{name}"
    return {"may": rule.action.name.lower(), "rule": bound.rule or own, "terms": terms}


def _agreed(agreements: Agreements, name: str, country: str, at_s: int) -> list[Agreed]:
    return [
        Agreed(agreement.id, terms)
        for agreement, clause, terms in agreements.here(country, at_s)
        if clause.list == name
    ]


def _allowed(found: Bounded) -> list[str]:
    stopped = found.bound.stops.categories
    return [one.label for one in Category if int(one) not in stopped]


def contradiction_json(one: Contradiction) -> dict[str, Any]:
    """Return a contradiction as plain values."""
    return {
        "list": one.list,
        "countries": [*one.countries],
        "what": one.what,
        "says": dict(zip(one.ids, one.said, strict=True)),
        "counts": one.counts,
        "from": rfc3339(one.from_s),
        "until": rfc3339(one.until_s),
    }


def contradicted(one: Contradiction) -> str:
    """Return a contradiction in a line."""
    until = f" until {rfc3339(one.until_s)}" if rfc3339(one.until_s) else ""
    says = (
        f"{one.ids[0]} says {one.said[0]}, {one.ids[1]} says {one.said[1]}; what counts: "
        if one.what not in {"circle", "shares", "dates"}
        else f"{one.ids[0]} and {one.ids[1]} differ ({one.said[0]}, {one.said[1]}): "
    )
    where = f"{one.list} in {', '.join(one.countries)}"
    return f"{where}: {one.what}: {says}{one.counts} (from {rfc3339(one.from_s)}{until})"


def notes(settings: EngineSettings, agreements: Agreements, at_s: int) -> Iterator[str]:
    """Remarks for a person: each is no error in itself and may be one."""
    home = settings.calls.home_country
    tables = feed_tables(Path(settings.feeds.dir))
    brought = None if tables is None else {str(one.get("list", "")) for one in tables.values()}
    keys = {name.partition("@")[0] for name in settings.circle_keys()}  # any epoch's
    for agreement in agreements.held:
        name = agreement.id
        if home not in agreement.parties:
            yield f"{name}: {home} ([calls] home_country) is no party: it changes nothing here"
            continue
        if agreement.state(at_s) is AgreementState.ENDED:
            yield f"{name}: ended at {rfc3339(agreement.valid_until_s)}"
            continue
        if agreement.valid_until_s - at_s < SOON_S:
            yield f"{name}: ends soon, at {rfc3339(agreement.valid_until_s)}"
        if agreement.clauses and agreement.circle not in keys:
            circle = agreement.circle
            yield f"{name}: no key of its circle {circle} here: see `ringfence circle list`"
        for clause in agreement.clauses:
            if home in clause.to and brought is not None and clause.list not in brought:
                near = get_close_matches(clause.list, brought, 1, 0.8)
                meant = f"; did you mean {near[0]}?" if near else ""
                yield f"{name}: no feed of {settings.feeds.dir} brings {clause.list}{meant}"
    covered = {clause.list for _, clause, _ in agreements.here(home, at_s)}
    for name in sorted({*(brought or ()), *settings.policy.lists} - covered):
        owner = owner_of(name)
        if agreements and is_country(owner) and owner != home:
            where = "a feed brings" if name in (brought or ()) else "[policy.lists] names"
            yield f"{where} {name}, on which no agreement is in force: it is only observed"
