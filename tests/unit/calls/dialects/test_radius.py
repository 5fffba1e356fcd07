"""RADIUS accounting: times in many forms, ids that legs share, and attributes in one another."""

import json

import pytest

from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import NoCall, SwitchSettings, whole
from stream.core.model.call import RejectReason, Stage

SWITCHES = {"bkk": SwitchSettings("Asia/Bangkok")}
RADIUS = dialect_named("radius", {})
ZONED = dialect_named("radius:bkk", {}, SWITCHES)
START = {
    "Acct-Status-Type": "Start",
    "Acct-Session-Id": "0A",
    "Calling-Station-Id": "+447700900125",
    "Called-Station-Id": "0812345678",
}
AT_S = 1795593723.0


def record(**more: object) -> bytes:
    """A Start as JSON with more attributes, `_` for `-`; None takes one out."""
    changed = START | {name.replace("_", "-"): value for name, value in more.items()}
    return json.dumps(
        {name: value for name, value in changed.items() if value is not None}
    ).encode()


TIMES = {
    "Cisco, UTC": ("h323-setup-time", "08:02:03.000 UTC Wed Nov 25 2026", AT_S, AT_S),
    "a clock that was never set": ("h323-setup-time", "*08:02:03 GMT Wed Nov 25 2026", AT_S, AT_S),
    "a zone by name": ("h323-setup-time", ".15:02:03.0 ICT Wed Nov 25 2026", None, AT_S),
    "Oracle, without a weekday": ("h323-setup-time", "08:02:03.000 UTC NOV 25 2026", AT_S, AT_S),
    "ISO 8601": ("h323-setup-time", "2026-11-25T15:02:03.000000+0700", AT_S, AT_S),
    "FreeRADIUS": ("Event-Timestamp", "Nov 25 2026 15:02:03 +07", AT_S, AT_S),
    "FreeRADIUS, a zone by name": ("Event-Timestamp", "Nov 25 2026 15:02:03 ICT", None, AT_S),
    "epoch": ("Event-Timestamp", 1795593723, AT_S, AT_S),
    "Ribbon": ("NET-Setup-Time", "1795593723", AT_S, AT_S),
    "no such day": ("h323-setup-time", "08:02:03 UTC Mon Feb 30 2026", None, None),
    "no such hour": ("h323-setup-time", "48:02:03 UTC Wed Nov 25 2026", None, None),
    "no such zone": ("h323-setup-time", "08:02:03 +99:00 Wed Nov 25 2026", None, None),
    "before 2000": ("h323-setup-time", "08:02:03 UTC Mon Jan 01 1900", None, None),
    "no time": ("Event-Timestamp", "yesterday", None, None),
    "very long": ("Event-Timestamp", "Nov 25 2026 " * 1000, None, None),
}


@pytest.mark.parametrize(("name", "said", "alone", "zoned"), TIMES.values(), ids=TIMES)
def test_times_are_read_in_the_forms_of_each_vendor(
    name: str, said: object, alone: float | None, zoned: float | None
) -> None:
    """A zone by name is the switch's; without one the time is unknown, and blocks all the same."""
    value = record(**{name: said})
    assert (RADIUS.started_at_s(value), ZONED.started_at_s(value)) == (alone, zoned)


def test_a_stop_began_its_duration_earlier() -> None:
    """Where only the event's time is there; the server's own is later by the delay too."""
    more = {"Acct_Status_Type": "2", "Acct_Session_Time": "61", "Acct_Delay_Time": 3}
    happened = record(**more, Event_Timestamp=AT_S + 61)
    received = record(**more, Timestamp=AT_S + 64)
    assert RADIUS.started_at_s(happened) == RADIUS.started_at_s(received) == AT_S
    call = whole(RADIUS.key_fields(happened), RADIUS.details(happened))
    assert (call.stage, call.duration_s) == (Stage.END, 61.0)


IDS = {
    "a conference": ({"h323_conf_id": "h323-conf-id=93 0F AB CB"}, "930FABCB"),
    "in a pair": ({"Cisco_AVPair": ["a=b", "h323-conf-id=93 0F"]}, "930F"),
    "an empty one": ({"h323_conf_id": "h323-conf-id= "}, "0A"),
    "of several sessions": ({"Acct_Multi_Session_Id": "77", "NAS_Identifier": "gw"}, "gw/77"),
    "of a gateway": ({"NAS_IP_Address": {"type": "ipaddr", "value": "192.0.2.1"}}, "192.0.2.1/0A"),
    "a number": ({"Acct_Session_Id": 10}, "10"),
}


@pytest.mark.parametrize(("more", "expected"), IDS.values(), ids=IDS)
def test_ids_are_those_that_all_records_of_a_call_share(
    more: dict[str, object], expected: str
) -> None:
    """The conference before the session; a session's is unique within its gateway."""
    assert RADIUS.key_fields(record(**more)).call_id == expected


def test_an_attributes_other_members_hide_nothing() -> None:
    """A type or flag that nobody wants may be what it likes."""
    odd = record().replace(b'"0812345678"', b'{"type": 1e999, "value": ["0812345678"]}')
    assert RADIUS.key_fields(odd).callee == "0812345678"
    with pytest.raises(NoCall, match="Called-Station-Id is neither text nor null"):
        RADIUS.key_fields(record().replace(b'"0812345678"', b'{"value": 1e999}'))


def test_pairs_name_no_numbers() -> None:
    """A pair may hold what a caller chose, so only Cisco's `h323-` attributes count in it."""
    pairs = ["Calling-Station-Id=+66811111111", "Called-Station-Id=1"]
    assert RADIUS.key_fields(record(Calling_Station_Id=None, Cisco_AVPair=pairs)).caller is None
    with pytest.raises(NoCall, match="Called-Station-Id") as caught:
        RADIUS.key_fields(record(Called_Station_Id=None, Cisco_AVPair=pairs))
    assert caught.value.reason is RejectReason.MISSING_FIELD


def test_the_trunk_of_an_incoming_leg_is_where_the_call_comes_from() -> None:
    """The address of an outgoing leg is where it goes, and says nothing about its numbers."""
    more = {"h323_remote_address": "203.0.113.7", "NAS_IP_Address": "192.0.2.1"}
    assert RADIUS.key_fields(record(**more, h323_call_origin="answer")).trunk == "203.0.113.7"
    assert RADIUS.key_fields(record(**more, h323_call_origin="originate")).trunk == "192.0.2.1"


def test_an_attribute_that_is_given_twice_is_refused() -> None:
    """Another reader might take the other one; pairs come as often as they like."""
    twice = record()[:-1] + b', "Calling-Station-Id": "+66811111111"}'
    with pytest.raises(NoCall, match="Calling-Station-Id is given twice"):
        RADIUS.key_fields(twice)
    pairs = record()[:-1] + b', "Cisco-AVPair": "a=1", "Cisco-AVPair": "b=2"}'
    assert RADIUS.key_fields(pairs).caller == "+447700900125"
