"""Contradictions between agreements: what each says, what counts, where and when."""

from dataclasses import replace

import pytest

from stream.core.model.agreement import FOREVER, Agreements, Shared, Terms
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.contradictions import categories_in_words, contradictions
from tests.support.agreements import agreement

DAY = 86_400
PLAIN = Terms(Action.BLOCK)


def found(*held):
    return list(contradictions(Agreements(held)))


def terms_differ(mine: Terms, theirs: Terms):
    """Term -> what each says and what counts, of two agreements on one list."""
    pair = agreement("a", ["KH/scam"], terms=mine), agreement("b", ["KH/scam"], terms=theirs)
    return {one.what: (one.said, one.counts) for one in found(*pair)}


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ({"action": Action.BLOCK}, {"action": Action.FLAG}, {"action": ("block", "flag", "flag")}),
        (
            {"unconfirmed": Action.OBSERVE},
            {"unconfirmed": Action.BLOCK},
            {"unconfirmed": ("observe", "block", "observe")},
        ),
        ({"confidence_min": 60}, {"confidence_min": 7}, {"confidence_min": ("60", "7", "60")}),
        ({"countries_min": 1}, {"countries_min": 2}, {"countries_min": ("1", "2", "2")}),
        ({"simulate": True}, {}, {"simulate": ("true", "false", "true")}),
        ({}, {"simulate": True}, {"simulate": ("false", "true", "true")}),
        (
            {"categories": frozenset({Category.LOAN, Category.CALL_CENTRE})},
            {},
            {"categories": ("call_centre, loan", "all", "call_centre, loan")},
        ),
        (
            {"categories": frozenset({Category.LOAN})},
            {"categories": frozenset({Category.CALL_CENTRE})},
            {"categories": ("loan", "call_centre", "none")},
        ),
        ({"may_list": frozenset({"LA", "KH"})}, {}, {"may_list": ("KH, LA", "all", "KH, LA")}),
        (
            {"may_list": frozenset({"LA"})},
            {"may_list": frozenset({"KH"})},
            {"may_list": ("LA", "KH", "none")},
        ),
        ({}, {}, {}),
    ],
)
def test_a_term_that_differs_is_named_and_the_stricter_counts(mine, theirs, said) -> None:
    """Each term alone: what both say, and the one that calls are decided by."""
    wanted = {what: ((one, other), counts) for what, (one, other, counts) in said.items()}
    assert terms_differ(
        Terms(**{"action": Action.BLOCK} | mine), Terms(**{"action": Action.BLOCK} | theirs)
    ) == wanted  # fmt: skip


def test_a_contradiction_says_where_and_when() -> None:
    """The countries of both, and the time in which both are in force."""
    one = agreement(
        *("a", ["KH/scam", "MM/scam"], ["TH", "VN"]), valid_from_s=DAY, valid_until_s=5 * DAY
    )
    other = agreement(
        *("b", ["KH/scam"], ["VN", "LA"], Terms(Action.FLAG)), valid_from_s=2 * DAY
    )  # fmt: skip
    action, dates = found(one, other)
    assert (action.list, action.countries, action.ids) == ("KH/scam", ("VN",), ("a", "b"))
    assert (action.from_s, action.until_s) == (2 * DAY, 5 * DAY)
    assert dates.what == "dates"
    assert dates.said == (
        "1970-01-02T00:00:00Z to 1970-01-06T00:00:00Z",
        "1970-01-03T00:00:00Z to further notice",
    )
    assert dates.counts == "while only one is in force, it counts alone"


@pytest.mark.parametrize(
    ("dates", "countries"),
    [
        ((DAY, FOREVER), ["TH"]),  # the other ends at that moment
        ((0, DAY), ["VN"]),  # in another country
    ],
)
def test_agreements_that_never_meet_do_not_contradict(dates, countries) -> None:
    """One after the other, or in different countries, each counts by itself."""
    one = agreement("a", ["KH/scam"], terms=PLAIN, valid_until_s=DAY)
    other = agreement(
        *("b", ["KH/scam"], countries, Terms(Action.FLAG)),
        valid_from_s=dates[0],
        valid_until_s=dates[1],
    )
    assert found(one, other) == []


def test_agreements_that_never_meet_do_not_hide_others() -> None:
    """After a pair that is not in force together the next pair is compared."""
    held = (
        agreement("a", ["KH/scam"], valid_until_s=DAY),
        agreement("b", ["KH/scam"], valid_from_s=DAY),
        agreement("c", ["KH/scam"], terms=Terms(Action.FLAG), valid_from_s=DAY),
    )
    assert [(one.ids, one.what) for one in found(*held)] == [(("b", "c"), "action")]


def test_other_lists_between_do_not_hide_a_contradiction() -> None:
    """Agreements are compared pair by pair and list by list."""
    flag = Terms(Action.FLAG)
    held = (
        agreement("a", ["KH/scam", "LA/scam", "MM/scam"]),
        agreement("b", ["KH/other"]),
        agreement("c", ["LA/scam", "MM/scam"], terms=flag),
    )
    assert [(one.ids, one.list) for one in found(*held)] == [
        (("a", "c"), "LA/scam"),
        (("a", "c"), "MM/scam"),
    ]


def test_a_list_has_one_circle_in_all_countries() -> None:
    """Two keys for a list contradict even where no country has both agreements."""
    one = agreement("a", ["KH/scam"], ["TH"], circle="mekong")
    other = agreement("b", ["KH/scam"], ["VN"], Terms(Action.FLAG), circle="asean")
    (circle,) = found(one, other)
    assert (circle.what, circle.said) == ("circle", ("mekong", "asean"))
    assert circle.countries == ("TH", "VN")
    assert circle.counts == "its owner can hash a list with one circle's key only"


@pytest.mark.parametrize(
    ("mine", "theirs", "least"),
    [
        (Shared.NUMBERS, Shared.FILTER, "filter"),
        (Shared.FINGERPRINTS, Shared.NUMBERS, "fingerprints"),
    ],
)
def test_the_least_that_is_shared_counts(mine, theirs, least) -> None:
    """Numbers, fingerprints or a filter: who may share the filter only shares no numbers."""

    def sharing(name, shares):
        made = agreement(name, ["KH/scam"])
        return replace(made, clauses=(replace(made.clauses[0], shares=shares),))

    (shares,) = found(sharing("a", mine), sharing("b", theirs))
    assert (shares.what, shares.said) == ("shares", (mine, theirs))
    assert shares.counts == f"the owner may share its {least} only"


def test_categories_in_words() -> None:
    """All, none, or their labels in order."""
    assert categories_in_words(None) == "all"
    assert categories_in_words(frozenset()) == "none"
