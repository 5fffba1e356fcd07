"""The document of a day: what is read, what is refused, and days put together."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import (
    DOCUMENT_BYTES_MAX,
    Appeals,
    Counts,
    Enforcement,
    Sighting,
    VersionCounts,
    read,
    target_of,
    together_in,
    written,
)
from stream.core.model.errors import DocumentUnreadable

DAY = date(2026, 11, 25)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TARGET = "TH/enforcement/KH-scam/2026-11-25.json"


def document(day=DAY, **more):
    fields = {
        "country": "TH",
        "list": "KH/scam",
        "day": day,
        "made_at": datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
        "agreements": ("th-kh",),
        "target_s": 14_400,
        "by_category": {"loan": Counts(entries=3, entries_month=5, blocked=7)},
        "in_force": Delays.measured([1.0, 2.5], 14_400),
        "sightings": (Sighting(fingerprint="336e914774f97770", seen_at=NOON, appeal_id="A-1"),),
        "appeals": Appeals(received=2, redressed=1, rejected=0, pending=1, overdue=0),
        "versions": VersionCounts(accepted=4, held=1, refused=0, stale_s_max=90),
    }
    return Enforcement(**{**fields, **more})


def changed(**fields):
    """The document's bytes with fields of its JSON replaced."""
    return msgspec.json.encode({**msgspec.json.decode(written(document())), **fields})


def test_what_was_written_is_read_again():
    """A document is the same on both sides, under the name that says country, list and day."""
    assert target_of("TH", "KH/scam", DAY) == TARGET
    assert read(written(document()), TARGET) == document()


def test_unmeasured_is_null_and_no_zero():
    """A partner that did not count says so."""
    bare = Enforcement(country="TH", list="KH/scam", day=DAY, made_at=NOON)
    told = msgspec.json.decode(written(bare))
    for name in ("by_category", "in_force", "first_stopped", "appeals", "versions", "target_s"):
        assert told[name] is None
    assert read(written(bare), TARGET) == bare


def test_a_field_of_a_newer_ringfence_is_passed_over():
    """A partner may be a version ahead."""
    assert read(changed(weather="rain"), TARGET) == document()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Input data was truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "2026-11-25.json: "),
        (b" " * (DOCUMENT_BYTES_MAX + 1), "more than"),
        (changed(format="ringfence-enforcement/2"), "update Ringfence here"),
        (changed(country="PH"), "its name does not"),
        (changed(list="KH/loans"), "its name does not"),
        (changed(day="2026-11-24"), "its name does not"),
        (changed(day="2026-02-30"), "Invalid RFC3339"),
        (changed(list="../../etc"), "regex"),
        (changed(made_at="2026-11-24T23:59:59Z"), "made before its day"),
        (changed(made_at="2026-11-25T12:00:00"), "timezone"),
        (changed(by_category={"loan": {"entries": -1}}), r"by_category\[...\].entries"),
        (changed(by_category={"+85523900123": {"entries": 1}}), "regex"),
        (changed(sightings=[{"fingerprint": "+85523900123", "seen_at": "x"}]), "fingerprint"),
        (
            changed(
                sightings=[{"fingerprint": "336e914774f97770", "seen_at": "2026-11-26T00:00:00Z"}]
            ),
            "is not of its day",
        ),
        (changed(made_at="0001-01-01T00:00:00+14:00"), "made before its day"),
        (changed(sightings=[{"fingerprint": "a", "seen_at": "2026-11-25T12:00:00Z"}]), "regex"),
        (changed(in_force={**msgspec.to_builtins(Delays.measured([1.0])), "count": 9}), "add up"),
        (changed(target_s=10**12), "target_s"),
    ],
)
def test_what_can_not_be_taken_is_refused_by_name(data, said):
    """A malformed, huge or misnamed document names itself and the field that is wrong."""
    with pytest.raises(DocumentUnreadable, match=said) as refused:
        read(data, TARGET)
    assert TARGET in str(refused.value)


def test_nobody_reports_the_enforcement_of_his_own_list():
    """A document is what a partner did."""
    own = document(list="TH/national")
    with pytest.raises(DocumentUnreadable, match="cannot report enforcement of its own list"):
        read(written(own), target_of("TH", "TH/national", DAY))


def test_days_make_a_period():
    """Calls add up, different numbers do not; open appeals are the last day's."""
    later = document(
        DAY + timedelta(days=1),
        by_category={
            "loan": Counts(entries=2, entries_month=6, blocked=2, flagged=1),
            "job": Counts(entries=1, entries_month=1, simulated=4),
        },
        appeals=Appeals(received=0, redressed=0, rejected=1, pending=0, overdue=0),
        versions=VersionCounts(accepted=1, held=0, refused=2),
    )
    stale = document(made_at=NOON - timedelta(hours=1), by_category={})
    period = together_in([later, document(), stale])
    assert period is not None
    assert (period.first, period.last, period.days) == (DAY, later.day, 2)
    assert period.by_category is not None
    loan = period.by_category["loan"]
    assert (loan.entries, loan.blocked, loan.flagged) == (6, 9, 1)
    assert period.by_category["job"].simulated == 4
    assert period.in_force is not None
    assert (period.in_force.count, period.in_force.max_s, period.in_force.late) == (4, 2.5, 0)
    assert period.first_stopped is None
    assert len(period.sightings) == 1
    assert period.appeals is not None
    assert (period.appeals.received, period.appeals.rejected, period.appeals.pending) == (2, 1, 0)
    assert period.versions == VersionCounts(accepted=5, held=1, refused=2, stale_s_max=90)


def test_numbers_of_several_months_can_not_be_added():
    """A number that called in two months would count twice: it is said to be unknown."""
    period = together_in([document(), document(date(2026, 12, 1))])
    assert period is not None
    assert period.by_category is not None
    assert period.by_category["loan"].entries is None
    assert period.by_category["loan"].blocked == 14


def test_no_documents_are_no_period():
    """Where nobody told anything there are no figures."""
    assert together_in([]) is None
