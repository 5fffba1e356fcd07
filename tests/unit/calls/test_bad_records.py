"""Records of every dialect with half their fields, and with times far away: told, never a crash."""

from collections.abc import Iterator

import pytest

from stream.calls.decode import decode
from stream.calls.dialects import KNOWN
from stream.calls.dialects.fields import EARLIEST_S, LATEST_S
from stream.core.model.call import RejectReason
from tests.fuzz.switch_records import DIALECTS, SETTINGS, TRUNKS, samples
from tests.unit.calls.test_decode import raw_of

FAR = ["1899-12-31 23:59:59", "1970-01-01T00:00:00Z", "9999-12-31 23:59:59", "0", "99999999999999"]
CUT_SHORT = {
    RejectReason.NOT_JSON, RejectReason.NOT_CSV, RejectReason.MISSING_FIELD,
    RejectReason.WRONG_TYPE, RejectReason.NOT_UTF8, RejectReason.OTHER_EVENT,
}  # fmt: skip


def cases() -> Iterator[tuple[str, bytes]]:
    """Each documented record that is a call, with its dialect."""
    for kind in KNOWN:
        for value in samples(kind):
            if len(decode(raw_of(value), {"calls": DIALECTS[kind][0]}, TRUNKS, SETTINGS)):
                yield kind, value


@pytest.mark.parametrize("kind", KNOWN)
def test_half_a_record_is_no_call_and_says_what_is_missing(kind: str) -> None:
    """The first half of each documented record is rejected, kept as it came, with a reason and a
    detail that quotes no number.
    """
    halves = [value[: len(value) // 2] for name, value in cases() if name == kind]
    assert halves
    batch = decode(raw_of(*halves), {"calls": DIALECTS[kind][0]}, TRUNKS, SETTINGS)
    assert len(batch) == 0
    assert [one.value for one in batch.rejected] == halves
    for one in batch.rejected:
        assert one.reason in CUT_SHORT
        assert one.detail
        assert "447700900" not in one.detail


@pytest.mark.parametrize("kind", KNOWN)
def test_a_time_far_away_lets_no_call_through_unseen(kind: str) -> None:
    """The record is a call with its numbers as ever; a time that cannot be is none (our own
    dialect says what it was told).
    """
    dialect = DIALECTS[kind][0]
    looked_at = 0
    for name, value in cases():
        said = dialect.found(value).get("started_at") if name == kind else None
        if said is None or not said.raw:
            continue
        for far in FAR:
            changed = value.replace(str(said.raw).encode(), far.encode())
            batch = decode(raw_of(changed), {"calls": dialect}, TRUNKS, SETTINGS)
            if not len(
                batch
            ):  # a number in JSON that a date has replaced, another order of columns
                assert batch.rejected[0].reason in CUT_SHORT
                continue
            looked_at += 1
            assert batch.glances[0] == dialect.glance(value)
            at_s = batch.started_at_s(0)
            assert at_s is None or kind == "ringfence" or EARLIEST_S <= at_s < LATEST_S
    assert looked_at
