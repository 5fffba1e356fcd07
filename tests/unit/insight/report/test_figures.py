from datetime import date, timedelta

from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import Appeals, Counts, Sighting, VersionCounts
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.figures import counted, expected_days
from stream.insight.report.period import period_in
from tests.support.report_material import FINGERPRINT, NOVEMBER, document, shipped

TH_KH = shipped("th-kh")
SCAM = TH_KH.clause("KH/scam", "TH")
LATER = date(2027, 1, 1)
FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def of(*documents, period=NOVEMBER, agreement=TH_KH, today=LATER):
    """Figures of KH/scam in TH."""
    assert SCAM is not None
    return counted(documents, SCAM, "TH", agreement, period, today)


def test_nothing_told_is_nothing_measured():
    """Without a document every figure is None but the days told, which are none of 30."""
    found = of()
    assert {key: value for key, value in found.figures.items() if value is not None} == {
        Key.DAYS_TOLD: 0
    }
    assert (found.expected, len(found.missing), found.last_told) == (30, 30, None)
    assert found.categories is None
    assert all(day.silent for day in found.days)


def test_a_document_of_nulls_measures_nothing():
    """A country that counts nothing says so by nulls: its day is reported, its figures are not."""
    found = of(document(FIRST))
    assert [key for key, value in found.figures.items() if value is not None] == [Key.DAYS_TOLD]
    assert found.days[0].blocked is None


def test_a_quiet_day_is_measured():
    """Where decisions were counted and none was by the list, that is 0, and no `not measured`."""
    found = of(document(FIRST, by_category={}))
    figures = found.figures
    assert (figures[Key.BLOCKED], figures[Key.ENTRIES], found.days[0].blocked) == (0, 0, 0)
    assert figures[Key.CHANGES] is None


def test_days_add_up_and_numbers_do_not():
    """Calls of two days are added; numbers are the month's, since one may call on both."""
    found = of(
        document(FIRST, by_category={"loan": Counts(entries=5, entries_month=5, blocked=10)}),
        document(
            SECOND,
            by_category={
                "loan": Counts(entries=4, entries_month=7, blocked=20, flagged=1),
                "job": Counts(entries=1, entries_month=1, simulated=2),
            },
        ),
    )
    figures = found.figures
    assert (figures[Key.BLOCKED], figures[Key.FLAGGED], figures[Key.SIMULATED]) == (30, 1, 2)
    assert figures[Key.ENTRIES] == 8
    assert found.categories is not None
    assert [(row.category, row.entries, row.blocked) for row in found.categories] == [
        *(("loan", 7, 30), ("job", 1, 0))
    ]


def test_numbers_of_some_days_are_known_from_the_first_of_a_month_on():
    """Of a day its own count is known, of a month the month's; of a week in it, or more: not."""
    told = [
        document(day, by_category={"loan": Counts(entries=2, entries_month=9, blocked=1)})
        for day in (FIRST, SECOND, date(2026, 11, 9))
    ]
    entries = {
        text: of(*told, period=period_in(text)).figures[Key.ENTRIES]
        for text in ("2026-11", "2026-11-02", "2026-11-01..2026-11-02", "2026-W46", "2026-11-03")
    }
    assert entries == {
        "2026-11": 9,
        "2026-11-02": 2,
        "2026-11-01..2026-11-02": 9,
        "2026-W46": None,
        "2026-11-03": None,
    }


def test_the_newest_telling_of_a_day_counts():
    """A document that was made again replaces the one before."""
    older = document(FIRST, by_category={"loan": Counts(entries=1, blocked=1)})
    newer = document(
        FIRST,
        by_category={"loan": Counts(entries=1, blocked=4)},
        made_at=older.made_at + timedelta(hours=1),
    )
    for order in ((older, newer), (newer, older)):
        found = of(*order)
        assert (found.figures[Key.BLOCKED], found.days[0].blocked) == (4, 4)
        assert found.figures[Key.DAYS_TOLD] == 1


def test_late_is_held_against_the_agreement():
    """Measured against the agreed time: exact. Against another: if perhaps late, then late."""
    delays = [1.0, 2.0, 4 * 3600 - 60, 4 * 3600 + 1, 9 * 3600]
    same = document(FIRST, target_s=4 * 3600, in_force=Delays.measured(delays, 4 * 3600))
    other = document(FIRST, target_s=3600, in_force=Delays.measured(delays, 3600))
    assert of(same).figures[Key.LATE] == 2
    assert of(same).figures[Key.IN_TIME] == 3 / 5
    found = of(other)
    # A minute before the end may lie in the step that ends after it.
    assert found.figures[Key.LATE] in {2, 3}
    assert found.targets_s == {3600}


def test_without_a_target_nothing_is_late():
    """Where no time is agreed, nothing is in time or late; how long it took is known."""
    pledge = shipped("itu")
    told = document(FIRST, in_force=Delays.measured([5.0], None))
    figures = of(told, agreement=pledge).figures
    assert (figures[Key.LATE], figures[Key.IN_TIME], figures[Key.IN_FORCE_MAX]) == (None, None, 5.0)


def test_mistakes_and_appeals():
    """A number counts once however often it was seen; what waits is the last day's."""
    seen = [
        Sighting(fingerprint=FINGERPRINT, seen_at=document(day).made_at, appeal_id=f"A-{day.day}")
        for day in (FIRST, SECOND)
    ]
    answers = Delays.measured([600, 5 * 3600], 4 * 3600)
    found = of(
        document(
            FIRST,
            target_s=4 * 3600,
            sightings=(seen[0],),
            appeals=Appeals(
                received=3, redressed=1, rejected=0, pending=2, overdue=1, answers=answers
            ),
        ),
        document(
            SECOND,
            target_s=4 * 3600,
            sightings=(seen[1],),
            appeals=Appeals(received=1, redressed=1, rejected=1, pending=1, overdue=0),
        ),
    ).figures
    assert found[Key.SIGHTINGS] == 1
    assert [found[key] for key in (Key.APPEALS, Key.REDRESSED, Key.REJECTED)] == [4, 2, 1]
    assert [found[key] for key in (Key.PENDING, Key.OVERDUE)] == [1, 0]
    assert (found[Key.ANSWERED_LATE], found[Key.ANSWERED_IN_TIME]) == (1, 0.5)


def test_where_nobody_takes_appeals_none_found_is_no_finding():
    """No wrong entry is a finding only where somebody could have complained."""
    assert of(document(FIRST, by_category={})).figures[Key.SIGHTINGS] is None
    seen = Sighting(fingerprint=FINGERPRINT, seen_at=document(FIRST).made_at)
    assert of(document(FIRST, sightings=(seen,))).figures[Key.SIGHTINGS] == 1
    taken = Appeals(received=0, redressed=0, rejected=0, pending=0, overdue=0)
    assert of(document(FIRST, appeals=taken)).figures[Key.SIGHTINGS] == 0


def test_versions():
    """Versions are added, the greatest age is the greatest."""
    found = of(
        document(FIRST, versions=VersionCounts(accepted=3, held=1, refused=0, stale_s_max=40)),
        document(SECOND, versions=VersionCounts(accepted=1, held=0, refused=2)),
    ).figures
    assert [found[key] for key in (Key.ACCEPTED, Key.HELD, Key.REFUSED, Key.STALE_MAX)] == [
        *(4, 1, 2, 40)
    ]


def test_a_day_is_expected_when_the_next_is_over():
    """A country has a day to tell of a day; days before and after the agreement are not asked."""
    today = date(2026, 11, 25)
    assert expected_days(NOVEMBER, TH_KH, today)[-1] == date(2026, 11, 23)
    begins = period_in("2025-08-20..2025-09-03")
    assert expected_days(begins, TH_KH, today) == [date(2025, 9, day) for day in (1, 2, 3)]
    ends = period_in("2027-08-30..2027-09-03")
    assert expected_days(ends, TH_KH, date(2028, 1, 1)) == [date(2027, 8, day) for day in (30, 31)]


def test_charts_end_where_nobody_is_late():
    """Days whose report is not due yet are no gap; an early report is shown."""
    today = date(2026, 11, 25)
    assert of(document(FIRST), today=today).days[-1].day == date(2026, 11, 23)
    assert of(document(today), today=today).days[-1].day == today
    assert of(today=date(2026, 11, 2)).days[-1].day == date(2026, 11, 30)


def test_others_documents_are_passed_over():
    """Other lists, other countries and other months are not counted."""
    counts = {"loan": Counts(entries=1, blocked=1)}
    found = of(
        document(FIRST, name="PH/scam", by_category=counts),
        document(FIRST, country="PH", by_category=counts),
        document(date(2026, 10, 31), by_category=counts),
    )
    assert found.figures[Key.DAYS_TOLD] == 0
