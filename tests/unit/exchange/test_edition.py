"""The share of a list that is published, by the agreements in force."""

from dataclasses import replace

import pytest

from stream.core.model.agreement import Agreement, Agreements, Shared
from stream.exchange.edition import shares_of
from tests.support.agreements import agreement
from tests.support.builders import NOW_S

LIST = "KH/scam"


def sharing(name: str, shares: Shared, **fields) -> Agreement:
    made = agreement(name, [LIST], **fields)
    return replace(made, clauses=tuple(replace(one, shares=shares) for one in made.clauses))


@pytest.mark.parametrize(
    ("held", "shares"),
    [
        ((), None),
        ((sharing("a", Shared.NUMBERS),), Shared.NUMBERS),
        ((sharing("a", Shared.NUMBERS), sharing("b", Shared.FINGERPRINTS)), Shared.FINGERPRINTS),
        ((sharing("a", Shared.FILTER), sharing("b", Shared.NUMBERS)), Shared.FILTER),
        (
            (sharing("a", Shared.FILTER, valid_until_s=NOW_S), sharing("b", Shared.NUMBERS)),
            Shared.NUMBERS,
        ),
        ((agreement("a", ["TH/national"], ["KH"]),), None),
    ],
)
def test_the_agreement_that_shares_least_holds_for_all(held, shares):
    """A reader of a repository reads all of it; expired data, or other lists, have no effect."""
    assert shares_of(Agreements(held), LIST, NOW_S) is shares
