"""The gate against a model that says the same in the plainest words."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stream.feeds.gate import OF_LOOKS, OF_ROWS, GateLimits, GateVerdict, Last, VersionFacts, decide

COUNTS = st.integers(0, 30) | st.integers(0, 3000)
SUMS = st.sampled_from(["a" * 64, "b" * 64])
TIMES = st.none() | st.integers(1, 3)
HANDLINGS = st.sampled_from(["drop", "hold", "refuse"])
SUSPECTED = st.sampled_from(["hold", "refuse", "pass"])
LIMITS = st.builds(
    GateLimits,
    shrink_percent_max=st.integers(0, 100),
    shrink_few=COUNTS,
    grow_percent_max=st.integers(0, 300),
    grow_few=COUNTS,
    bad_rows_percent_max=st.integers(0, 100),
    bad_rows_few=COUNTS,
    second_person=st.booleans(),
    **{reason.value: HANDLINGS for reason in OF_ROWS},
    **{reason.value: SUSPECTED for reason in OF_LOOKS},
)
LASTS = st.none() | st.builds(Last, SUMS, COUNTS, TIMES)
SEEN = st.builds(
    VersionFacts,
    sha256=SUMS,
    whole=st.booleans(),
    unreadable=st.sampled_from(["", "", "a login page"]),
    too_coarse=st.sampled_from(["", "", "matches everybody"]),
    sent_by=st.sampled_from(["", "page:anna"]),
    as_of_s=TIMES,
    good=COUNTS,
    bad=COUNTS,
    expired=COUNTS,
    gained=st.none() | COUNTS,
    lost=st.none() | COUNTS,
    held=COUNTS,
    rows=st.dictionaries(st.sampled_from(OF_ROWS), st.integers(0, 3), max_size=3),
    looks=st.dictionaries(st.sampled_from(OF_LOOKS), st.just("some"), max_size=2),
)


def model(seen: VersionFacts, last: Last | None, limits: GateLimits) -> GateVerdict:
    """The verdict, by exact fractions and one question after the other."""
    if last is not None and last.sha256 == seen.sha256:
        return GateVerdict.SAME
    if seen.unreadable or seen.too_coarse:
        return GateVerdict.REFUSED
    before = None if last is None else last.as_of_s
    if seen.whole and seen.as_of_s is not None and before is not None and seen.as_of_s < before:
        return GateVerdict.REFUSED
    handled = {limits.handling(reason) for reason, rows in seen.rows.items() if rows > 0}
    suspected = {limits.handling(reason) for reason in seen.looks}
    if "refuse" in handled or "refuse" in suspected or (seen.good == seen.bad == 0 < seen.expired):
        return GateVerdict.REFUSED
    rows = seen.good + seen.bad
    bad = Fraction(seen.bad, rows) > Fraction(limits.bad_rows_percent_max, 100) if rows else False
    held = [
        "hold" in handled,
        "hold" in suspected,
        seen.whole and rows == 0,
        limits.second_person and seen.sent_by != "",
    ]  # expired ones were refused above
    held += [seen.bad > limits.bad_rows_few and bad, seen.bad > 0 and seen.good == 0]
    if last is not None and last.numbers > 0:
        gone = Fraction(seen.lost or 0, seen.held or last.numbers)
        new = Fraction(seen.gained or 0, last.numbers)
        lost_much = gone > Fraction(limits.shrink_percent_max, 100)
        held.append(lost_much and (seen.lost or 0) > limits.shrink_few)
        won_much = new > Fraction(limits.grow_percent_max, 100)
        held.append(won_much and (seen.gained or 0) > limits.grow_few)
    return GateVerdict.HELD if any(held) else GateVerdict.ACCEPTED


@given(SEEN, LASTS, LIMITS)
def test_the_gate_agrees_with_the_model(
    seen: VersionFacts, last: Last | None, limits: GateLimits
) -> None:
    """Every version gets the model's verdict, and a reason that stands among its findings."""
    decision = decide(seen, last, limits)
    assert decision.verdict is model(seen, last, limits)
    if decision.verdict is GateVerdict.ACCEPTED:
        assert decision.reason is None
        assert {finding.reason for finding in decision.findings} <= {*OF_ROWS, *OF_LOOKS}
    else:
        assert decision.findings[0].reason is decision.reason


@given(SEEN, LASTS, LIMITS)
def test_nothing_is_accepted_that_a_stricter_gate_would_be_needed_for(
    seen: VersionFacts, last: Last | None, limits: GateLimits
) -> None:
    """A version that the strictest limits accept is accepted by all others, or loses rows."""
    strictest = GateLimits(
        shrink_percent_max=0,
        shrink_few=0,
        grow_percent_max=0,
        grow_few=0,
        bad_rows_percent_max=0,
        bad_rows_few=0,
        second_person=True,
        **dict.fromkeys((one.value for one in (*OF_ROWS, *OF_LOOKS)), "refuse"),  # type: ignore[arg-type]
    )
    if decide(seen, last, strictest).verdict is GateVerdict.ACCEPTED:
        assert decide(seen, last, limits).verdict is GateVerdict.ACCEPTED
