"""The end of an agreement by which a list was shared."""

import pytest

from stream.core.model.agreement import Agreement, Agreements
from tests.support.agreements import agreement
from tests.support.builders import NOW_S

LIST = "KH/scam"


def over(name: str, until_s: int = NOW_S, from_s: int = 0) -> Agreement:
    return agreement(name, [LIST], ["TH"], valid_until_s=until_s, valid_from_s=from_s)


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ((), None),
        ((over("a"),), "a"),
        ((over("a", NOW_S - 9), over("b"), over("c", NOW_S - 5)), "b"),
        ((over("a"), agreement("b", [LIST])), None),
        ((over("a", NOW_S + 1),), None),
        ((over("a", NOW_S + 9, NOW_S + 5),), None),
        ((over("a"), over("b", NOW_S + 9, NOW_S + 5)), "a"),
        ((agreement("a", ["PH/scam"], valid_until_s=1),), None),
        ((agreement("a", [LIST], ["PH"], valid_until_s=1),), None),
    ],
)
def test_an_agreement_that_is_over_is_named(held: tuple[Agreement, ...], found: str | None) -> None:
    """The last by which that list was shared with that country, where none is in its place."""
    ended = Agreements(held).ended(LIST, "TH", NOW_S)
    assert (ended.id if ended is not None else None) == found
