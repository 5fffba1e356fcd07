"""A partner's document: any bytes at all end as one, or as a refusal that names it."""

from datetime import UTC, date, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import (
    Appeals,
    Counts,
    Enforcement,
    Sighting,
    VersionCounts,
    read,
    target_of,
    written,
)
from stream.core.model.errors import DocumentUnreadable

DAY = date(2026, 11, 25)
TARGET = target_of("TH", "KH/scam", DAY)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WHOLE = Enforcement(
    country="TH",
    list="KH/scam",
    day=DAY,
    made_at=NOON,
    agreements=("th-kh",),
    target_s=14_400,
    by_category={"loan": Counts(entries=3, entries_month=5, blocked=7)},
    in_force=Delays.measured([1.0, 2.5], 14_400),
    first_stopped=Delays.measured([3.0]),
    sightings=(Sighting(fingerprint="336e914774f97770", seen_at=NOON, appeal_id="A-1"),),
    appeals=Appeals(received=2, redressed=1, rejected=0, pending=1, overdue=0),
    versions=VersionCounts(accepted=4, held=1, refused=0, stale_s_max=90),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "TH", "KH/scam"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def taken(data: bytes) -> Enforcement | None:
    try:
        return read(data, TARGET)
    except DocumentUnreadable as refused:
        named = TARGET in str(refused)
    assert named
    return None


@given(st.binary(max_size=400))
def test_any_bytes(data):
    """A file that is no document is refused by name."""
    assert taken(data) is None


@given(st.sampled_from(sorted(Enforcement.__struct_fields__)), VALUES, st.data())
def test_any_value_in_any_place(name, value, data):
    """One value of a good document is replaced, at any depth: what is taken can be written again,
    and speaks of what its name says.
    """
    whole = msgspec.json.decode(written(WHOLE))
    place, key = whole, name
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
    place[key] = value
    found = taken(msgspec.json.encode(whole))
    if found is not None:
        assert (found.country, found.list, found.day) == ("TH", "KH/scam", DAY)
        assert read(written(found), TARGET) == found
