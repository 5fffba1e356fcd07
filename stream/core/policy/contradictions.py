"""Contradictions: two agreements in force together with different terms for a list in a country.

The stricter wins, so calls are decided all the same; but one term does not mean what it says.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from stream.core.model.agreement import FOREVER, Agreement, Agreements, Clause, Shared, Terms
from stream.core.model.entry import Category
from stream.core.model.moments import rfc3339


class Contradiction(NamedTuple):
    """Two agreements, `ids`, and `what` they say differently of `list` in `countries`.

    `said` are the two statements in words, and `counts` is their result. Both are in force from
    `from_s` until before `until_s`, in seconds since the epoch.
    """

    list: str
    countries: tuple[str, ...]
    ids: tuple[str, str]
    what: str
    said: tuple[str, str]
    counts: str
    from_s: int
    until_s: int


class _Term(NamedTuple):
    """Words of two clauses on one term, and which counts."""

    what: str
    said: tuple[str, str]
    counts: str


def contradictions(agreements: Agreements) -> Iterator[Contradiction]:
    """Yield all of them, by the agreements' ids, then by list."""
    for one, other in combinations(agreements.held, 2):
        from_s = max(one.valid_from_s, other.valid_from_s)
        until_s = min(one.valid_until_s, other.valid_until_s)
        if from_s >= until_s:
            continue
        theirs = {clause.list: clause for clause in other.clauses}
        for mine in one.clauses:
            clause = theirs.get(mine.list)
            if clause is None:
                continue
            for what, said, counts in _of_list(one, other, mine, clause):
                countries = tuple(sorted(mine.to & clause.to or mine.to | clause.to))
                yield Contradiction(
                    mine.list, countries, (one.id, other.id), what, said, counts, from_s, until_s
                )


def _of_list(one: Agreement, other: Agreement, mine: Clause, theirs: Clause) -> Iterator[_Term]:
    """Yield the terms that differ for one list."""
    if one.circle != other.circle:
        said = (one.circle, other.circle)
        yield _Term("circle", said, "its owner can hash a list with one circle's key only")
    if not mine.to & theirs.to:
        return
    for term in _terms(mine.terms, theirs.terms):
        if term.said[0] != term.said[1]:
            yield term
    if mine.shares != theirs.shares:
        levels = [*Shared]
        least = max(mine.shares, theirs.shares, key=levels.index)
        yield _Term("shares", (mine.shares, theirs.shares), f"the owner may share its {least} only")
    dates = (_dates(one), _dates(other))
    if dates[0] != dates[1]:
        yield _Term("dates", dates, "while only one is in force, it counts alone")


def _dates(agreement: Agreement) -> str:
    """From when until when it is in force, in UTC."""
    begin, end = (
        "further notice" if at_s >= FOREVER else rfc3339(at_s)
        for at_s in (agreement.valid_from_s, agreement.valid_until_s)
    )
    return f"{begin} to {end}"


def _terms(mine: Terms, theirs: Terms) -> Iterator[_Term]:
    """Yield each term of both, with the one that counts."""
    for what in ("action", "unconfirmed"):
        acts = (getattr(mine, what), getattr(theirs, what))
        words = (acts[0].name.lower(), acts[1].name.lower())
        yield _Term(what, words, min(acts).name.lower())
    for what in ("confidence_min", "countries_min"):
        numbers = (getattr(mine, what), getattr(theirs, what))
        yield _Term(what, (str(numbers[0]), str(numbers[1])), str(max(numbers)))
    both = frozenset(Category).intersection(
        *(terms.categories for terms in (mine, theirs) if terms.categories is not None)
    )
    named = (categories_in_words(mine.categories), categories_in_words(theirs.categories))
    yield _Term("categories", named, categories_in_words(both))
    whose = (mine.may_list, theirs.may_list)
    limits = [one for one in whose if one is not None]
    common = frozenset.intersection(*limits) if limits else None
    yield _Term("may_list", (_lands(whose[0]), _lands(whose[1])), _lands(common))
    trial = (mine.simulate, theirs.simulate)
    yield _Term("simulate", (str(trial[0]).lower(), str(trial[1]).lower()), "true")


def _lands(may_list: frozenset[str] | None) -> str:
    """Countries whose numbers a list may name; None: all of them."""
    return "all" if may_list is None else ", ".join(sorted(may_list)) or "none"


def categories_in_words(categories: frozenset[Category] | None) -> str:
    """Return the labels of categories; None: all of them."""
    if categories is None:
        return "all"
    return ", ".join(category.label for category in sorted(categories)) or "none"
