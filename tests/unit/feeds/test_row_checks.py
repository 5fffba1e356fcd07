"""Which rows a feed may not bring."""

from typing import Any

import numpy as np
import pytest

from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.list_scope import codes_of_countries
from stream.feeds.formats.rows import RejectedRow, Wrong
from stream.feeds.gate import GateReason
from stream.feeds.row_checks import Bounds, VersionRead, check_rejected, check_rows

EMERGENCY = EmergencyNumbers({})
ALLOWED = Allowlist.of([AllowEntry("+85523880*", "hospital", "a", 0)])


def found(*texts: str, source: str = "kh", **fields) -> dict[GateReason, list[bool]]:
    plain: dict[str, Any] = {
        "codes": None,
        "own": (),
        "speaks_for": frozenset(),
        "allowlist": ALLOWED,
    }
    bounds = Bounds(emergency=EMERGENCY, **{**plain, **fields})
    masks = check_rows(
        np.array([text.encode() for text in texts], "S16"),
        np.zeros(len(texts), np.uint16),
        (source,),
        bounds,
        0,
    )
    return {reason: mask.tolist() for reason, mask in masks.items()}


def test_a_country_is_known_by_its_calling_code():
    """Numbers and prefixes of other codes are found, one- to three-digit codes alike."""
    codes = codes_of_countries(frozenset({"KH", "US"}))
    assert codes == {855, 1}
    texts = (
        "+85523900123",
        "+8552390*",
        "+12025550123",
        "+66812345678",
        "+6681234*",
        "+79001234567",
    )
    assert found(*texts, codes=codes) == {
        GateReason.COUNTRY_NOT_ALLOWED: [False, False, False, True, True, True]
    }


def test_our_own_numbers_are_protected_from_prefixes_too():
    """A number, a number under our prefix, and a prefix over one of ours are found."""
    own = ("+6621234*", "+66812345678")
    texts = ("+66812345678", "+6621234567", "+662123*", "+6681234567*", "+66812345679")
    assert found(*texts, own=own) == {
        GateReason.OWN_SERVICE_NUMBER: [True, True, True, True, False]
    }


def test_allowed_numbers_are_found():
    """A number that the allowlist protects is found before it is listed."""
    assert found("+85523880123", "+85523900123") == {GateReason.ALLOW_LISTED: [True, False]}


def test_numbers_that_were_put_right_are_told_from_others_that_are_allowed():
    """A number that an appeal lifted has its own reason, so that it never holds a whole version."""
    right = Allowlist.of([AllowEntry("+85523900123", "clinic", "a", 0, appeal="A-1")])
    assert found("+85523880123", "+85523900123", redressed=right) == {
        GateReason.ALLOW_LISTED: [True, False],
        GateReason.REDRESSED: [False, True],
    }


@pytest.mark.parametrize(("source", "wrong"), [("kh", False), ("kh/police", False), ("kh/x", True)])
def test_a_feed_speaks_for_those_that_its_file_names(source, wrong):
    """Rows that name another source than the feed may speak for are found."""
    seen = found("+85523900123", source=source, speaks_for=frozenset({"police"}))
    assert (GateReason.OWNER_NOT_ALLOWED in seen) is wrong


def test_nothing_to_complain_of_is_no_finding():
    """Ordinary rows make no mask at all."""
    assert found("+85523900123") == {}
    assert found() == {}


def test_rejected_rows_that_are_more_than_bad():
    """A short number dialled for help and a prefix too short have their own reasons."""
    rows = [
        RejectedRow(1, Wrong.NOT_E164, "191", "191"),
        RejectedRow(2, Wrong.NOT_E164, "4711", "4711"),
        RejectedRow(3, Wrong.PREFIX_TOO_SHORT, "+66*", "+66*"),
        RejectedRow(4, Wrong.BAD_DATE, "191", "191"),
    ]
    assert check_rejected(rows, EMERGENCY, "TH") == {
        GateReason.EMERGENCY_NUMBER: 1,
        GateReason.PREFIX_TOO_SHORT: 1,
    }


def test_prefixes_too_short_are_not_counted_as_bad_rows_too():
    """Of a text file they are rejected rows, of a published list good ones: neither way is any of
    them a bad row, and no bad row is hidden behind them.
    """
    of_text, of_list = VersionRead(), VersionRead()
    for read in (of_text, of_list):
        read.found[GateReason.PREFIX_TOO_SHORT] = 9
        read.rejected[Wrong.EXPIRED] = 3
        read.rejected[Wrong.BAD_DATE] = 2
    of_text.rejected[Wrong.PREFIX_TOO_SHORT] = 8
    of_text.rejected[Wrong.RANGE_TOO_WIDE] = 1
    assert (of_text.bad, of_list.bad) == (2, 2)
