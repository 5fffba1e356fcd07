"""Agreements for tests: one with few words, and any at all."""

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from stream.core.model.agreement import (
    FOREVER,
    Agreement,
    AgreementKind,
    Agreements,
    Clause,
    Party,
    PartyRole,
    Shared,
    Terms,
    owner_of,
)
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from tests.support.builders import NOW_S


def agreement(
    name: str, lists: Iterable[str], to: Iterable[str] = ("TH",), terms: Terms | None = None, **more
) -> Agreement:
    """An agreement on `lists` that is in force for ever, unless `more` says otherwise."""
    held, countries = sorted(lists), frozenset(to)
    owners = {owner_of(one) for one in held}
    roles = {PartyRole.OWNER: owners, PartyRole.ENFORCER: countries}
    fields: dict[str, Any] = {
        "title": f"{name} (invented)",
        "kind": AgreementKind.MEMORANDUM,
        "circle": "plain",
        "valid_from_s": 0,
        "valid_until_s": FOREVER,
        "confirmed_s": FOREVER,
        "response_target_s": 0,
        "reporting": None,
        "texts": (),
    }
    return Agreement(
        id=name,
        parties={
            party: Party(
                party,
                frozenset(role for role, having in roles.items() if party in having),
                f"noc@{party.lower()}.example",
            )
            for party in sorted(owners | countries)
        },
        clauses=tuple(
            Clause(
                one,
                countries - {owner_of(one)},
                terms or Terms(Action.BLOCK),
                Shared.FINGERPRINTS,
                f"Article {place}",
            )
            for place, one in enumerate(held, 1)
        ),
        **fields | more,
    )


terms = st.builds(
    Terms,
    action=st.sampled_from(Action),
    unconfirmed=st.sampled_from(Action),
    confidence_min=st.sampled_from([0, 50, 60]),
    categories=st.none() | st.frozensets(st.sampled_from(list(Category)[:3]), min_size=1),
    countries_min=st.integers(1, 3),
    simulate=st.booleans(),
)
moments = st.sampled_from([0, NOW_S - 60, NOW_S - 1, NOW_S, NOW_S + 1, NOW_S + 60, FOREVER])


@st.composite
def agreements(draw, lists: Sequence[str], countries: Sequence[str]) -> Agreements:
    """Up to four agreements on some of `lists` for some of `countries`, or none of those needed."""
    held = []
    for place in range(draw(st.integers(0, 4))):
        chosen = draw(st.lists(st.sampled_from(lists), min_size=1, unique=True))
        to = draw(st.lists(st.sampled_from(countries), min_size=1, unique=True))
        kind = draw(
            st.sampled_from(
                [AgreementKind.MEMORANDUM, AgreementKind.MEMORANDUM, AgreementKind.PLEDGE]
            )
        )
        begin, middle, end = sorted(draw(st.tuples(moments, moments, moments)))
        held.append(
            agreement(
                f"a-{place}",
                chosen,
                to,
                draw(terms),
                kind=kind,
                valid_from_s=begin,
                confirmed_s=middle,
                valid_until_s=end,
            )
        )
    return Agreements(tuple(held), needed=True)
