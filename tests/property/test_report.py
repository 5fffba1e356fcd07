"""Figures of reports, against what they are counted from."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.model.agreement import Every
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import (
    Appeals,
    Counts,
    Enforcement,
    Sighting,
    VersionCounts,
)
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.figures import counted, late_of
from stream.insight.report.page import page
from stream.insight.report.period import newest, period_in, period_of
from stream.insight.report.report_json import report_json
from stream.insight.report.whole import reported
from stream.insight.report.words import duration, scrubbed, share
from tests.support.report_material import NOVEMBER, document, material, shipped

DAYS = st.dates(date(1971, 1, 1), date(9000, 12, 31))
DELAYS = st.lists(st.floats(0, 10**6), min_size=1, max_size=40)
COUNT = st.integers(0, 10**9)
COUNTS = st.builds(
    lambda entries, more, calls: Counts(
        entries=entries,
        entries_month=None if more is None else entries + more,
        blocked=calls[0],
        flagged=calls[1],
        simulated=calls[2],
    ),
    COUNT,
    st.none() | COUNT,
    st.tuples(COUNT, COUNT, COUNT),
)
TH_KH = shipped("th-kh")
PLACES = st.sampled_from([("TH", "KH/scam"), ("KH", "TH/national")])


@st.composite
def documents(draw: st.DrawFn) -> Enforcement:
    """Any document of October and November 2026, with or without each of its parts."""
    country, name = draw(PLACES)
    target_s = draw(st.sampled_from([None, 3600, 4 * 3600, 9 * 3600]))
    delays = st.none() | DELAYS.map(lambda held: Delays.measured(held, target_s))
    made = draw(st.integers(0, 48))
    day = date(2026, 10, 1) + timedelta(days=draw(st.integers(0, 60)))
    return document(
        day,
        country,
        name,
        made_at=document(day).made_at + timedelta(hours=made),
        target_s=target_s,
        by_category=draw(
            st.none() | st.dictionaries(st.sampled_from(["loan", "job"]), COUNTS, max_size=2)
        ),
        in_force=draw(delays),
        first_stopped=draw(delays),
        sightings=tuple(
            Sighting(fingerprint=f"{one:016x}", seen_at=document(day).made_at)
            for one in draw(st.sets(st.integers(0, 5), max_size=3))
        ),
        appeals=draw(
            st.none()
            | st.builds(
                Appeals,
                **dict.fromkeys(("received", "redressed", "rejected", "pending", "overdue"), COUNT),
                answers=delays,
            )
        ),
        versions=draw(
            st.none()
            | st.builds(
                VersionCounts,
                **dict.fromkeys(("accepted", "held", "refused"), COUNT),
                stale_s_max=st.none() | COUNT,
            )
        ),
    )


@given(DELAYS, st.integers(1, 10**6), st.integers(1, 10**6))
def test_no_delay_is_made_better_than_it_was(delays, target_s, other_s):
    """Held against its own target: exact. Else what is late is late, and little more is."""
    truly = sum(delay > target_s for delay in delays)
    measured, elsewhere = (Delays.measured(delays, one) for one in (target_s, other_s))
    assert measured is not None
    assert elsewhere is not None
    assert late_of(measured, target_s, same=True) == truly
    found = late_of(elsewhere, target_s, same=False)
    assert found is not None
    # A step is 5 % long, and its end is given to the millisecond.
    assert truly <= found <= sum(delay > target_s / 1.06 - 0.002 for delay in delays)
    assert late_of(measured, 0, same=True) is None


@settings(max_examples=40)
@given(st.lists(documents(), max_size=12), st.randoms())
def test_figures_are_sums_of_the_newest_documents(held, random):
    """In whatever order, and however often they come; None where no day has measured it."""
    clause = TH_KH.clause("KH/scam", "TH")
    assert clause is not None
    today = date(2026, 12, 24)
    found = counted(held, clause, "TH", TH_KH, NOVEMBER, today)
    newest_of: dict[date, Enforcement] = {}
    for one in held:
        if one.country == "TH" and one.day in NOVEMBER:
            before = newest_of.get(one.day)
            if before is None or before.made_at < one.made_at:
                newest_of[one.day] = one
    days = newest_of.values()
    assert found.figures[Key.DAYS_TOLD] == len(days)
    assert {*found.missing} == {*NOVEMBER.dates()} - newest_of.keys()
    calls = [one.by_category for one in days if one.by_category is not None]
    blocked = sum(each.blocked for one in calls for each in one.values())
    assert found.figures[Key.BLOCKED] == (blocked if calls else None)
    lived = [one.in_force for one in days if one.in_force is not None]
    assert found.figures[Key.CHANGES] == (sum(one.count for one in lived) or None)
    assert found.figures[Key.IN_FORCE_MAX] == max((one.max_s for one in lived), default=None)
    appeals = [one.appeals for one in days if one.appeals is not None]
    received = sum(one.received for one in appeals)
    assert found.figures[Key.APPEALS] == (received if appeals else None)
    shuffled = random.sample(held, len(held))
    if len({(one.country, one.day, one.made_at) for one in held}) == len(held):
        assert counted(shuffled + held, clause, "TH", TH_KH, NOVEMBER, today) == found


@settings(max_examples=25, deadline=None)
@given(st.lists(documents(), max_size=6), st.sampled_from(["2026-11", "2026-Q4", "2026-11-20"]))
def test_whatever_was_told_there_is_a_page(held, typed):
    """Any documents make a page and its JSON; what is null in JSON has no figure on the page."""
    report = reported(material(period=period_in(typed), documents=tuple(held)))
    html, told = page(report), report_json(report)
    assert html.rstrip().endswith("</html>")
    for one in told["lists"]:
        measured = [name for name, figure in one["figures"].items() if figure["value"] is not None]
        assert measured[0] == "days_told"
    assert ("not measured" in html.lower()) or all(
        figure["value"] is not None for one in told["lists"] for figure in one["figures"].values()
    )


@given(DAYS, st.sampled_from(Every))
def test_a_period_is_read_as_it_is_written(day, every):
    """A period's text is the same period again; the one before ends the day before it begins."""
    period = period_of(every, day)
    assert day in period
    assert period_in(period.text()) == period
    assert (period.first - period.before().last).days == 1
    assert period.before().kind is period.kind
    assert newest(every, day, date(1970, 6, 1)).last < period.first


@settings(max_examples=50)
@given(st.text(max_size=30), st.from_regex(r"\+[1-9][0-9]{6,14}\Z"), st.sampled_from(" -.("))
def test_no_number_comes_through(text, number, between):
    """Within any text, whole or in groups, a number of seven digits or more is left out."""
    grouped = between.join([number[:4], number[4:]])
    for written in (number, grouped):
        shown = scrubbed(f"{text} {written} {text}")
        assert written not in shown


@given(st.floats(0, 10**10))
def test_a_time_is_near_what_it_says(seconds):
    """Units are never full: no `60 s` after minutes, no `24 h` after days."""
    text = duration(seconds)
    assert not any(part in f" {text}" for part in (" 60 min ", " 0 s ", "-"))
    assert not text.endswith((" 60 s", " 60 min", "days 24 h")) or seconds < 120


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_flatters_nobody(part, whole):
    """Rounded down: 100 % of all alone, 0 % of none alone."""
    text = share(min(part, whole) / whole)
    assert (text == "100 %") == (part >= whole)
    assert (text == "0 %") == (part == 0)
