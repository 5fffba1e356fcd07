"""One decoder decides about a record: what nobody reads changes nothing about its call."""

import csv
from typing import Any

import msgspec
import pytest

from stream.calls.decode import decode
from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.plausibility.bursts import Bursts
from stream.core.policy.rules import BurstSettings, RuleStates
from tests.fuzz.switch_records import DIALECTS, SETTINGS, TRUNKS, samples
from tests.support.builders import raw_of
from tests.unit.calls.plausibility.test_check import BLOCK, decided

pytestmark = pytest.mark.usefixtures("both_ways")


UNUSED = {
    "a number beyond a double": b"1e400",
    "a small one": b"-1e-400",
    "an integer of 5,000 digits": b"9" * 5000,
    "an integer of 70 digits": b"1" * 70,
    "nesting": b"[" * 90 + b"]" * 90,
    "a key twice": b'{"a":1,"a":2}',
    "escapes": b'"\\u0000\\ud83d\\ude00"',
}
"""Sound JSON that a decoder of everything might not keep."""
JSON_DIALECTS = [kind for kind in KNOWN if samples(kind)[0][:1] == b"{"]


def read(dialect, *values):
    """The call that each value is, its fields in columns and whole; None: it is none."""
    batch = decode(raw_of(*values), {"calls": dialect}, TRUNKS, SETTINGS)
    assert batch.callees is not None, "called numbers are asked for"
    found: list[Any] = [None] * len(values)
    for index, row in enumerate(batch.rows.tolist()):
        numbers = batch.callers.text(index), batch.callees.text(index)
        found[row] = (batch.key_fields[index], batch.call_of(index), *numbers)
    return found


def with_an_unused_member(value, unused):
    """The record once for each of its objects, which begins with one more member."""
    for place in (place for place, byte in enumerate(value) if byte == ord("{")):
        behind = b"" if value[place + 1 : place + 2] == b"}" else b","
        yield value[: place + 1] + b'"unused":' + unused + behind + value[place + 1 :]


@pytest.mark.parametrize("unused", UNUSED.values(), ids=UNUSED)
@pytest.mark.parametrize("kind", JSON_DIALECTS)
def test_a_member_that_nobody_uses_changes_nothing(kind, unused):
    """In whatever object of a documented record it stands, the call is the same."""
    looked_at = 0
    for dialect in DIALECTS[kind]:
        for value in (one for one in samples(kind) if one[:1] == b"{"):
            changed = list(with_an_unused_member(value, unused))
            (plain,) = read(dialect, value)
            assert read(dialect, *changed) == [plain] * len(changed)
            looked_at += plain is not None
    assert looked_at


@pytest.mark.parametrize("odd", [b"1e400", b"9" * 5000, b"[]", b"{}", b"null", b"true", b"7.5"])
@pytest.mark.parametrize("kind", JSON_DIALECTS)
def test_an_odd_value_is_read_in_one_way(kind, odd):
    """Whatever stands in the place of any one value, call and fields are those of one reading."""
    dialect = DIALECTS[kind][0]
    changed = []
    for value in (one for one in samples(kind) if one[:1] == b"{"):
        parts = value.split(b":")
        for place in range(1, len(parts)):
            _, comma, behind = parts[place].partition(b",")
            changed.append(b":".join([*parts[:place], odd + comma + behind, *parts[place + 1 :]]))
    batch = decode(raw_of(*changed), {"calls": dialect}, TRUNKS, SETTINGS)
    assert len(batch)
    for index, told in enumerate(batch.key_fields):
        call = batch.call_of(index)
        assert (call.call_id, call.caller, call.callee) == (told.call_id, told.caller, told.callee)
        assert (call.trunk or None) == (told.trunk or None)


def test_a_short_burst_of_3gpp_records_with_an_odd_member_is_ruled_on():
    """The record that stopped a worker: an address object with 1e400 in a member nobody reads."""
    calls = [
        {
            "Bx_moCall": {
                "callingNumber": {"natureOfAddress": "international", "address": "447700900103"},
                "calledNumber": {"natureOfAddress": "international", "address": "66812345678"},
                "callReference": number,
                "callDuration": 1,
            }
        }
        for number in range(6)
    ]
    values = [
        msgspec.json.encode(one).replace(b'"address":', b'"x":1e400,"address":') for one in calls
    ]
    bursts = Bursts(BurstSettings(calls=3), ["calls"])
    found = decided(
        *map(msgspec.Raw, values),
        dialect="3gpp",
        bursts=bursts,
        default=RuleStates(short_bursts=BLOCK),
    )
    assert [one["verdict"] for one in found] == ["block"] * 4


@pytest.mark.parametrize(
    ("kind", "said", "odd", "reason"),
    [
        ("kamailio", b'"method":"INVITE"', b'"method":1e400', "wrong_type"),
        ("3gpp", b'"sIP-Method":"INVITE"', b'"sIP-Method":1e400', "wrong_type"),
        ("kamailio", b'"src_user":"+447700900125"', b'"src_user":1e400', "wrong_type"),
        ("asterisk-kafka", b'"src":"+447700900125"', b'"src":1e400', "wrong_type"),
    ],
)
def test_what_can_not_be_kept_is_not_what_is_absent(kind, said, odd, reason):
    """A number beyond a double is no withheld caller, and no INVITE."""
    changed = [one.replace(said, odd) for one in samples(kind) if said in one]
    assert changed
    batch = decode(raw_of(*changed), {"calls": DIALECTS[kind][0]}, TRUNKS, SETTINGS)
    assert [one.reason for one in batch.rejected] == [reason] * len(changed)


SIP = {"call_id": "id", "caller": "from", "callee": "to", "trunk": "trunk", "ingress": "sip.side"}


@pytest.mark.parametrize("odd", [b"null", b"7", b"[]", b'{"side":1e400}'])
def test_an_optional_field_that_can_not_be_read_hides_no_other(odd):
    """The trunk counts, in whose country a national number is read, though `sip` is odd."""
    dialect = dialect_named("mapping:m", {"m": MappingSettings("json", SIP)})
    value = b'{"id":"c","from":"02079460123","to":null,"trunk":"uk","sip":' + odd + b"}"
    ((told, call, caller, _),) = read(dialect, value)
    assert (told.trunk, call.trunk, caller) == ("uk", "uk", "+442079460123")


CSV = (
    b'"","+447700900125","+66812345678","default","2026-11-25 15:02:03","","2026-11-25 15:02:03",'
    b'"0","0","%b","%b",""'
)


@pytest.mark.parametrize(
    ("call_id", "read_as_call"),
    [
        (b"0b5e8a4c-3c1d-4c54-9d1d-6a1f6c3b7a10", True),
        (b"3848276298220188511@203.0.113.7", True),
        (b"16", False),
        (b"2026-11-25 15:02:03", False),
        (b"1795593723", False),
        (b"PCMU", False),
        (b"NORMAL_CLEARING", False),
    ],
)
def test_another_order_of_columns_has_no_id_where_one_belongs(call_id, read_as_call):
    """A hangup cause in the uuid's column would be the id of every call, and calls be repeats."""
    dialect = DIALECTS["freeswitch-csv"][0]
    value = CSV % (b"NORMAL_CLEARING", call_id)
    batch = decode(raw_of(value), {"calls": dialect}, TRUNKS, SETTINGS)
    assert len(batch) == read_as_call
    if not read_as_call:
        assert batch.rejected[0].detail.startswith("column 10 is no call id: this is another order")


@pytest.mark.parametrize("call_id", [b"17", b"ANSWERED", b"userfield", b"2026"])
def test_an_asterisk_file_in_another_order_has_no_id_where_one_belongs(call_id):
    """A sequence, a word or a year is no uniqueid."""
    (cells,) = csv.reader([samples("asterisk-custom")[0].decode()])
    cells[16] = call_id.decode()
    value = ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells).encode()
    dialect = DIALECTS["asterisk-custom"][0]
    batch = decode(raw_of(value), {"calls": dialect}, TRUNKS, SETTINGS)
    assert not len(batch)
    assert "column 16 is no call id" in batch.rejected[0].detail


def test_a_call_that_lacks_a_key_makes_up_for_none_that_has_it_twice() -> None:
    """A batch is counted through at once; a call found by another path must not balance the sum."""
    rest = b'"src":"+447700900125","dst":"0812345678","start":"2026-11-25 15:02:03"}'
    twice = b'{"linkedid":"1.1","linkedid":"1.2",' + rest
    other = b'{"uniqueid":"2.1",' + rest
    batch = decode(raw_of(twice, other), {"calls": DIALECTS["asterisk-kafka"][0]}, TRUNKS, SETTINGS)
    assert [told.call_id for told in batch.key_fields] == ["2.1"]
    assert [one.detail for one in batch.rejected] == ["linkedid is given twice"]
