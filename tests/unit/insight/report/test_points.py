from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from stream.core.model.agreement import FOREVER
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import Counts, Sighting
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.page import page
from stream.insight.report.period import period_in
from stream.insight.report.points import Rule, Weight
from stream.insight.report.whole import NoReport, period_for, reported
from tests.support.report_material import (
    FINGERPRINT,
    NOVEMBER,
    all_shipped,
    at_s,
    at_the_end,
    document,
    material,
    rich,
    shipped,
)

DAYS = [date(2026, 10, 1) + timedelta(days=place) for place in range(61)]
WHOLE = at_s(date(2026, 12, 4))


def told(name="th-kh", of=(("KH/scam", "TH"), ("TH/national", "KH")), **fields):
    """A report on days that were all told, with the same figures each."""
    documents = [
        document(day, where, listed, target_s=4 * 3600, **fields)
        for listed, where in of
        for day in DAYS
    ]
    return reported(material(name, documents=tuple(documents), made_at_s=WHOLE))


def rules(report):
    """Rules of a report's points, each once."""
    return list(dict.fromkeys(point.rule for point in report.points))


CALM: dict[str, Any] = {
    "by_category": {"call_centre": Counts(entries=1, entries_month=4, blocked=3)},
    "in_force": Delays.measured([1.0] * 40, 4 * 3600),
}


def test_where_all_is_well_there_is_nothing_to_raise():
    """Every day told, all in time, nothing wrong: no point, and the summary says so."""
    report = told(**CALM)
    assert report.points == ()
    assert report.summary[-1].text == "There is nothing to raise by the figures that were measured."
    assert report.summary[0].text.startswith("90 calls blocked (October 2026: 93 blocked).")
    assert "100 % of 1,200 changes came into force within the agreed 4 h" in report.summary[0].text


def test_who_says_nothing_is_asked_first():
    """A silent partner is urgent, one point however many lists; nothing is made of its silence."""
    report = reported(rich(silent=True))
    first = report.points[0]
    assert (first.weight, first.rule, first.ask) == (Weight.ACT, Rule.SILENT, "KH")
    assert first.source.anchor == "TH-national-in-KH-days_told"
    assert first.source.value == "0 of 23"
    assert [point.rule for point in report.points if "TH/national" in point.text] == [Rule.SILENT]
    asean = [point for point in reported(material("asean")).points if point.rule is Rule.SILENT]
    assert [(point.ask, point.text.count("/scam")) for point in asean] == [("TH", 7)]


def test_everything_that_is_wrong_is_raised_once_with_its_figure():
    """Late, wrong, held, refused, not told, waiting: each names the figure that it comes from."""
    report = reported(rich())
    assert set(rules(report)) == {
        *(Rule.OVERDUE, Rule.STALE, Rule.HELD_NOW, Rule.LATE, Rule.WRONG_ENTRIES, Rule.HELD),
        *(Rule.REFUSED, Rule.GAPS, Rule.UNANSWERED),
    }
    anchors = {f"{pair.slug}-{key}" for pair in report.pairs for key in Key}
    assert all(point.source.anchor in {*anchors, "now"} for point in report.points)
    assert [point.weight for point in report.points] == sorted(
        point.weight for point in report.points
    )
    late = next(point for point in report.points if point.rule is Rule.LATE)
    assert late.source.value == "2"
    assert late.text.startswith("2 of 875 changes of KH/scam came into force in Thailand later")


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"by_category": {}}, Rule.STOPPED_NOTHING),
        ({"by_category": {"job": Counts(entries=1, simulated=2)}}, Rule.ON_TRIAL),
        ({"in_force": Delays.measured([1.0, 20_000.0], 4 * 3600)}, Rule.LATE),
    ],
)
def test_a_figure_leads_to_its_point(fields, rule):
    """Calls that were not stopped, trials, and what came late are each worth a word."""
    assert rules(told(**(CALM | fields))) == [rule]


def test_more_than_was_agreed_is_urgent():
    """A list that may only be flagged and blocks, or that is only observed and acts, is found."""
    flagged = told("th-ph", [("PH/scam", "TH"), ("TH/national", "PH")], **CALM)
    urgent = [point for point in flagged.points if point.rule is Rule.BEYOND_THE_TERMS]
    assert [(point.weight, point.ask) for point in urgent] == [(Weight.ACT, "PH")]
    assert "no more than flags" in urgent[0].text
    pledged = told("th-mm", [("MM/scam", "TH")], **CALM)
    assert Rule.BEYOND_THE_TERMS in rules(pledged)
    assert Rule.NOT_CONFIRMED in rules(pledged)


def test_what_got_slower_is_noted():
    """Twice the time of the period before is noted, where both are of enough changes."""
    documents = [
        document(
            day,
            target_s=4 * 3600,
            **(CALM | {"in_force": Delays.measured([1.0 + 3 * (day.month > 10)] * 3, 4 * 3600)}),
        )
        for day in DAYS
    ]
    report = reported(material(documents=tuple(documents), made_at_s=WHOLE))
    assert [point.ask for point in report.points if point.rule is Rule.SLOWER] == ["TH"]


def test_another_target_is_noted():
    """A country with weaker limits than agreed gets a point; stricter limits harm nobody."""
    documents = [
        document(day, where, listed, target_s=target_s, **CALM)
        for listed, where, target_s in (("KH/scam", "TH", 9 * 3600), ("TH/national", "KH", 60))
        for day in DAYS
    ]
    report = reported(material(documents=tuple(documents), made_at_s=WHOLE))
    assert [(p.ask, p.rule) for p in report.points] == [("TH", Rule.OTHER_TARGET)]


def test_the_agreement_itself_is_looked_at():
    """No target, no schedule, an end that is near, and contradictions belong on the table."""
    th_kh = shipped("th-kh")
    bare = replace(
        th_kh, response_target_s=0, reporting=None, valid_until_s=WHOLE + 20 * 86_400, texts=()
    )
    documents = [
        document(day, where, listed, **CALM)
        for listed, where in (("KH/scam", "TH"), ("TH/national", "KH"))
        for day in DAYS
    ]
    other = replace(shipped("th-ph"), circle="another")
    given = material(documents=tuple(documents), made_at_s=WHOLE, agreement=bare)
    report = reported(replace(given, known=(bare, other)))
    assert rules(report) == [Rule.NO_TARGET, Rule.ENDS, Rule.CONTRADICTION, Rule.NO_SCHEDULE]
    over = replace(bare, valid_until_s=at_s(date(2026, 11, 28)))
    ended = reported(replace(given, agreement=over, known=(over,)))
    assert Rule.ENDED in rules(ended)
    assert next(p for p in ended.points if p.rule is Rule.ENDED).source.value == "27 November 2026"


def test_observers_get_what_the_parties_do_elsewhere():
    """An agreement without lists reports on its parties' lists, each under its own agreement."""
    report = reported(replace(rich(), agreement=shipped("itu")))
    found = {(pair.clause.list, pair.country, pair.agreement.id) for pair in report.pairs}
    assert ("KH/scam", "TH", "th-kh") in found
    # TH/national is shared by two agreements: with KH in 4 hours, with PH in 8.
    assert {one for one in found if one[0] == "TH/national"} == {
        *(("TH/national", "KH", "th-kh"), ("TH/national", "PH", "th-ph"))
    }


def test_what_is_between_others_is_theirs_to_report():
    """Lists that neither are ours nor act here are named, and not called unreported."""
    report = reported(material("asean"))
    assert {pair.country for pair in report.pairs} == {"TH"}
    assert ("VN/scam", "KH") in report.elsewhere
    assert len(report.elsewhere) == 7 * 9 - 7


def test_one_is_told_as_one():
    """A single change and a single wrong entry have words that fit one."""
    fields: dict[str, Any] = {
        "in_force": Delays.measured([0.5], 4 * 3600),
        "sightings": (Sighting(fingerprint=FINGERPRINT, seen_at=document(DAYS[-1]).made_at),),
    }
    report = reported(material(documents=(document(DAYS[-3], **(CALM | fields)),), made_at_s=WHOLE))
    assert "1 change came into force, within 0.50 s (agreed: 4 h)." in report.summary[0].text
    wrong = next(point.text for point in report.points if point.rule is Rule.WRONG_ENTRIES)
    assert wrong.endswith("says whether it is off the list, and how it came on it.")


def test_who_is_no_party_knows_nothing():
    """A report made by a country that has no part in an agreement says so, and raises no lists."""
    report = reported(replace(material("th-ph"), home="KH", known=(shipped("th-ph"),)))
    assert report.pairs == ()
    assert report.points == ()
    said = "Cambodia neither shares nor enforces a list of it, and nothing is known here."
    assert report.summary[0].text == said
    assert report.elsewhere == (("PH/scam", "TH"), ("TH/national", "PH"))


@pytest.mark.parametrize(
    ("name", "typed", "why"),
    [
        ("th-kh", "2025-08", "th-kh began on 2025-09-01, after 2025-08"),
        ("th-kh", "2026-12", "2026-12 has not begun: today is 2026-11-25"),
        ("th-mm", "2026-02", "th-mm began on 2026-03-01, after 2026-02"),
    ],
)
def test_a_period_without_the_agreement_has_no_report(name, typed, why):
    """A day before the agreement, or in the future, is refused, with the reason."""
    with pytest.raises(NoReport, match=why):
        period_for(shipped(name), period_in(typed), at_s(date(2026, 11, 25)))


def test_an_agreement_of_the_past_and_one_of_the_future():
    """Of one that ended the last period is taken in which it was in force, once that is over.

    Of one to come there is nothing.
    """
    held = replace(shipped("th-kh"), valid_until_s=at_s(date(2026, 3, 15)))
    assert period_for(held, None, at_s(date(2026, 3, 20))).text() == "2026-02"
    assert period_for(held, None, at_s(date(2026, 4, 1))).text() == "2026-03"
    assert period_for(held, None, at_s(date(2026, 11, 25))).text() == "2026-03"
    whole = replace(held, valid_until_s=at_s(date(2026, 4, 1)))
    assert period_for(whole, None, at_s(date(2026, 11, 25))).text() == "2026-03"
    with pytest.raises(NoReport, match="was in force until 2026-03-14, before 2026-11"):
        period_for(held, NOVEMBER, at_s(date(2026, 11, 25)))
    with pytest.raises(NoReport, match="begins on 2025-09-01: there is nothing to report yet"):
        period_for(held, None, at_s(date(2025, 1, 1)))


def test_without_a_word_the_last_period_by_the_agreement():
    """Monthly agreements: last month. Quarterly: last quarter. New ones: what runs."""
    now_s = at_s(date(2026, 11, 25))
    assert {one.id: period_for(one, None, now_s).text() for one in all_shipped()} == {
        "asean": "2026-Q3",
        "itu": "2026-Q3",
        "partners": "2026-Q3",
        "th-kh": "2026-10",
        "th-mm": "2026-Q3",
        "th-ph": "2026-10",
    }
    new = replace(shipped("th-kh"), valid_from_s=at_s(date(2026, 11, 20)), valid_until_s=FOREVER)
    assert period_for(new, None, now_s).text() == "2026-11"


def test_a_month_that_runs_is_held_against_as_many_days():
    """25 days of November are compared with 25 of October, a whole November with October."""
    running, whole = reported(rich()), reported(at_the_end(rich()))
    assert (running.days.text(), running.before.text()) == (
        *("2026-11-01..2026-11-25", "2026-10-01..2026-10-25"),
    )
    assert (whole.days.text(), whole.before.text()) == ("2026-11", "2026-10")
    assert running.running
    assert not whole.running


def test_a_month_is_not_over_on_its_last_day():
    """On 30 November a report of November has all days, and hours are to come."""
    report = reported(replace(rich(), made_at_s=at_s(date(2026, 11, 30), 9)))
    assert (report.days.text(), report.before.text()) == ("2026-11", "2026-10")
    assert report.running
    assert '<span class="so-far">so far</span>' in page(report)
    assert not reported(replace(rich(), made_at_s=at_s(date(2026, 12, 1)))).running


def test_what_waits_now_is_told_by_the_newest_document():
    """Of a month that is long over, what waited at its end is a figure, and no news of today."""
    report = reported(replace(rich(), period=period_in("2026-10")))
    theirs = next(pair for pair in report.pairs if pair.country == "KH")
    assert theirs.value(Key.PENDING) == 2
    waits = [one.text for one in report.waiting if one.list == "TH/national"]
    assert "1 appeal past the deadline, by Cambodia's document of 24 November 2026." in waits
    late = replace(rich(), made_at_s=at_s(date(2027, 2, 1)), period=period_in("2026-10"))
    told = [one.text for one in reported(late).waiting if one.who == "KH"]
    assert "Its last enforcement document is of 24 November 2026." in told
