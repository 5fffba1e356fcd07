"""The gate: which versions go live by themselves, which wait for a person, which never do."""

import pytest

from stream.feeds.gate import (
    NEVER_LIVE,
    OF_LOOKS,
    OF_ROWS,
    GateLimits,
    GateReason,
    GateVerdict,
    Last,
    VersionFacts,
    decide,
)

ACCEPTED, SAME, HELD, REFUSED = (
    GateVerdict.ACCEPTED,
    GateVerdict.SAME,
    GateVerdict.HELD,
    GateVerdict.REFUSED,
)
LAST = Last(sha256="a" * 64, numbers=1000, as_of_s=5000)
LIMITS = GateLimits()


def seen(**fields) -> VersionFacts:
    """A version like the last one, in other bytes."""
    plain = {"sha256": "b" * 64, "whole": True, "as_of_s": 6000, "good": 1000}
    return VersionFacts(**{**plain, "gained": 0, "lost": 0, **fields})


CASES = {
    "nothing against it": ({}, ACCEPTED, None),
    "the same bytes": ({"sha256": "a" * 64}, SAME, GateReason.SAME),
    "a login page": ({"unreadable": "HTML"}, REFUSED, GateReason.NOT_THE_FORMAT),
    "a filter that matches everybody": (
        {"unreadable": "its bits match 1", "too_coarse": "its bits match 1"},
        REFUSED,
        GateReason.FILTER_TOO_COARSE,
    ),
    "made before the last": ({"as_of_s": 4999}, REFUSED, GateReason.OLDER),
    "made at the same second": ({"as_of_s": 5000}, ACCEPTED, None),
    "no word when it was made": ({"as_of_s": None}, ACCEPTED, None),
    "an increment of before": ({"as_of_s": 4999, "whole": False}, ACCEPTED, None),
    "an agreement that is over": (
        {"agreement_over": "th-kh ended"},
        HELD,
        GateReason.AGREEMENT_EXPIRED,
    ),
    "handed in": ({"sent_by": "page:anna"}, ACCEPTED, None),
    "empty": ({"good": 0, "lost": 1000}, HELD, GateReason.EMPTY),
    "an empty increment": ({"good": 0, "whole": False}, ACCEPTED, None),
    "all over": ({"good": 0, "expired": 5}, REFUSED, GateReason.EXPIRED),
    "nearly all over": ({"good": 1, "expired": 400}, ACCEPTED, None),
    "30 % gone": ({"lost": 300}, ACCEPTED, None),
    "more than 30 % gone": ({"lost": 301}, HELD, GateReason.SHRUNK),
    "an increment that takes half": ({"lost": 500, "whole": False}, HELD, GateReason.SHRUNK),
    "other numbers altogether": ({"lost": 1000, "gained": 1000}, HELD, GateReason.SHRUNK),
    "twice as many": ({"gained": 1000}, ACCEPTED, None),
    "more than twice as many": ({"gained": 1001}, HELD, GateReason.GROWN),
    "one row in five bad": ({"good": 800, "bad": 200}, ACCEPTED, None),
    "more than one in five bad": ({"good": 799, "bad": 201}, HELD, GateReason.TOO_MANY_BAD_ROWS),
    "ten bad rows of twelve": ({"good": 2, "bad": 10}, ACCEPTED, None),
    "no good row": ({"good": 0, "bad": 1}, HELD, GateReason.TOO_MANY_BAD_ROWS),
    "another's source": ({"rows": {GateReason.OWNER_NOT_ALLOWED: 1}}, REFUSED, None),
    "a foreign number": ({"rows": {GateReason.COUNTRY_NOT_ALLOWED: 1}}, HELD, None),
    "a hospital's number": ({"rows": {GateReason.ALLOW_LISTED: 1}}, HELD, None),
    "a number put right": ({"rows": {GateReason.REDRESSED: 1}}, ACCEPTED, None),
    "a column of dates": (
        {"looks": {GateReason.LOOKS_LIKE_DATES: "4 of 4"}},
        HELD,
        GateReason.LOOKS_LIKE_DATES,
    ),
    "a column of ids": (
        {"looks": {GateReason.LOOKS_LIKE_IDS: "4 of 4"}},
        HELD,
        GateReason.LOOKS_LIKE_IDS,
    ),
    "dates that are no numbers either": (
        {"good": 0, "bad": 4, "looks": {GateReason.LOOKS_LIKE_DATES: "4 of 4"}},
        HELD,
        GateReason.LOOKS_LIKE_DATES,
    ),
    "no such rows": ({"rows": {GateReason.ALLOW_LISTED: 0}}, ACCEPTED, None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_version_after_another(case) -> None:
    """Each fact about a version leads to its one verdict, and to the reason that is named."""
    fields, verdict, reason = case
    decision = decide(seen(**fields), LAST, LIMITS)
    assert decision.verdict is verdict
    if reason is not None or not fields.get("rows"):
        assert decision.reason is reason
    else:
        assert verdict is ACCEPTED or decision.reason in fields["rows"]


@pytest.mark.parametrize(
    "fields", [{"lost": 900}, {"gained": 50_000}, {"as_of_s": 1}, {"sha256": "a" * 64}]
)
def test_a_first_version_is_compared_with_nothing(fields) -> None:
    """The size limits, the age and the checksum of the last version begin once there is one."""
    assert decide(seen(**fields), None, LIMITS).verdict is ACCEPTED


def test_a_feed_that_lost_all_its_numbers_may_fill_up_again() -> None:
    """No per cent of nothing: after an empty version that a person released, any size comes in."""
    nothing_left = Last(sha256="a" * 64, numbers=0, as_of_s=5000)
    assert decide(seen(gained=70_000), nothing_left, LIMITS).verdict is ACCEPTED


def test_the_gravest_reason_decides_and_all_are_told() -> None:
    """A version with several faults is refused for the worst of them; the others are named too."""
    rows = {GateReason.OWNER_NOT_ALLOWED: 2, GateReason.COUNTRY_NOT_ALLOWED: 3}
    decision = decide(seen(lost=900, rows=rows), LAST, LIMITS)
    assert decision.verdict is REFUSED
    assert decision.reason is GateReason.OWNER_NOT_ALLOWED
    assert {f.reason for f in decision.findings} == {*rows, GateReason.SHRUNK}


@pytest.mark.parametrize(
    ("reasons", "given", "detail", "lenient"),
    [(OF_ROWS, "rows", "1 rows", "drop"), (OF_LOOKS, "looks", "9 of 9", "pass")],
)
@pytest.mark.parametrize(
    ("handling", "verdict"), [("", ACCEPTED), ("hold", HELD), ("refuse", REFUSED)]
)
def test_a_reason_is_handled_as_configured(
    reasons, given, detail, lenient, handling, verdict
) -> None:
    """The feed file says what happens to rows that a feed may not bring, and to wrong columns.

    A gang's SIM cards have numbers in a row: an operator releases them, or says so for good. What
    is accepted nevertheless is still a finding.
    """
    for reason in reasons:
        found = {reason: 1 if given == "rows" else detail}
        decision = decide(
            seen(**{given: found}), LAST, GateLimits(**{reason.value: handling or lenient})
        )
        assert decision.verdict is verdict
        assert [(one.reason, one.detail) for one in decision.findings] == [(reason, detail)]


def test_the_handlings_of_a_feed_are_shown_by_reason() -> None:
    """The page names every handling of a feed, those that its file changes as well."""
    shown = GateLimits(allow_listed="refuse", looks_like_dates="pass").handlings()
    assert set(shown) == {*OF_ROWS, *OF_LOOKS}
    assert (shown[GateReason.ALLOW_LISTED], shown[GateReason.LOOKS_LIKE_DATES]) == (
        "refuse",
        "pass",
    )
    assert (shown[GateReason.REDRESSED], shown[GateReason.LOOKS_LIKE_IDS]) == ("drop", "hold")


def test_a_feed_may_ask_for_two_persons() -> None:
    """With `second_person` each version that is handed in waits; what is fetched does not."""
    limits = GateLimits(second_person=True)
    decision = decide(seen(sent_by="page:anna"), LAST, limits)
    assert (decision.verdict, decision.reason) == (HELD, GateReason.SECOND_PERSON)
    assert decision.findings[0].detail == "page:anna handed it in"
    assert decide(seen(), LAST, limits).verdict is ACCEPTED
    assert decide(seen(sent_by="page:anna", sha256="a" * 64), LAST, limits).verdict is SAME


def test_small_lists_may_move() -> None:
    """A list of twelve may lose ten numbers and gain a thousand: no per cent of it means much."""
    small = Last(sha256="a" * 64, numbers=12, as_of_s=None)
    assert decide(seen(lost=10, gained=1000), small, LIMITS).verdict is ACCEPTED
    assert decide(seen(lost=11), small, LIMITS).reason is GateReason.SHRUNK
    assert decide(seen(gained=1001), small, LIMITS).reason is GateReason.GROWN


def test_what_goes_is_judged_by_what_is_on_the_list() -> None:
    """A version can be stored and not written down: the list has more then than was accepted last.

    Found by the simulation, seed 1492: of 11 numbers on the list 11 went, "of 4". It has fewer live
    numbers where reports of the last version are over. Seed 73000117: an increment took 14 "of 13".
    """
    limits = GateLimits(shrink_percent_max=50)
    assert decide(seen(lost=900, held=2000), LAST, limits).verdict is ACCEPTED
    (finding,) = decide(seen(lost=1100, held=2000), LAST, limits).findings
    assert finding.detail == "1,100 of 2,000 numbers would go"
    (finding,) = decide(seen(lost=201, held=400), LAST, limits).findings
    assert finding.detail == "201 of 400 numbers would go"
    assert decide(seen(lost=200, held=400), LAST, limits).verdict is ACCEPTED
    assert decide(seen(lost=1, held=1), LAST, GateLimits(shrink_few=0)).reason is GateReason.SHRUNK
    (finding,) = decide(seen(whole=False, lost=1100), LAST, limits).findings
    assert finding.detail == "1,100 of 1,100 numbers would go"
    any_size = GateLimits(shrink_percent_max=100)
    assert decide(seen(whole=False, lost=1100), LAST, any_size).verdict is ACCEPTED


@pytest.mark.parametrize(
    "fields", [{"shrink_percent_max": -1}, {"bad_rows_percent_max": 101}, {"grow_few": -1}]
)
def test_impossible_limits_are_refused(fields) -> None:
    """A limit below nothing or above all is a mistake, named by its key."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        GateLimits(**fields)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *(("shrink_percent_max", 100), ("bad_rows_percent_max", 100)),
        ("grow_percent_max", 1_000_000),
        *(("shrink_few", 10**9), ("grow_few", 10**9), ("bad_rows_few", 10**9)),
    ],
)
def test_the_largest_limit_is_one_and_the_next_is_none(name, most) -> None:
    """The error has the key, the range and the value."""
    assert getattr(GateLimits(**{name: most}), name) == most
    with pytest.raises(ValueError, match=f"^{name} must be 0 to {most}, not {most + 1}$"):
        GateLimits(**{name: most + 1})


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"sha256": "a" * 64}, "sha256 aaaaaaaaaaaa..."),
        ({"as_of_s": 3766}, "made 1,234 s before the accepted version"),
        ({"good": 0}, "no row at all"),
        ({"good": 0, "expired": 1500}, "all of 1,500 entries are over"),
        ({"good": 4000, "bad": 1200}, "1,200 of 5,200 rows were rejected"),
        ({"lost": 301}, "301 of 1,000 numbers would go"),
        ({"gained": 1001}, "1,001 numbers would come to 1,000"),
        ({"rows": {GateReason.ALLOW_LISTED: 1234}}, "1,234 rows"),
    ],
)
def test_a_finding_has_the_figures_that_a_person_decides_by(fields, detail) -> None:
    """A person releases or rejects a version by these, without the file."""
    (finding,) = decide(seen(**fields), LAST, LIMITS).findings
    assert finding.detail == detail


def test_what_is_unknown_exceeds_no_limit() -> None:
    """Of a filter nobody knows how many numbers come and go: the strictest limits let it pass."""
    strict = GateLimits(shrink_percent_max=0, shrink_few=0, grow_percent_max=0, grow_few=0)
    assert decide(seen(lost=None, gained=None), LAST, strict).verdict is ACCEPTED
    assert decide(seen(lost=1), LAST, strict).reason is GateReason.SHRUNK
    assert decide(seen(gained=1), LAST, strict).reason is GateReason.GROWN


def test_what_never_goes_live_is_of_rows() -> None:
    """Emergency numbers, own numbers and short prefixes are left out even of a released version."""
    assert set(OF_ROWS) > NEVER_LIVE


@pytest.mark.parametrize("rate", [0, -1e-3, 0.0101, 0.9, 1, float("nan"), float("inf")])
def test_a_setting_may_only_lower_the_bound_on_filters(rate) -> None:
    """A feed's limit above 1 % is no setting at all."""
    with pytest.raises(
        ValueError, match=r"filter_error_rate_max must be above 0 and at most 0\.01"
    ):
        GateLimits(filter_error_rate_max=rate)
    assert GateLimits(filter_error_rate_max=1e-4).filter_error_rate_max == 1e-4
