"""Promises of the switches' dialects: what they refuse, and what they say to do about it."""

import base64
import json
from pathlib import Path

import pytest

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.detect_dialect import likely
from stream.calls.dialects.fields import moment_s, trunk_of
from stream.calls.dialects.mapping import MappingSettings
from stream.calls.dialects.switch import SwitchSettings
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.call import RejectReason
from stream.core.model.time_zones import zone_named
from tests.unit.calls.test_decode import raw_of

GOLDEN = Path(__file__).parents[2] / "golden" / "cdr"
SWITCHES = {"s": SwitchSettings("Asia/Bangkok"), "p": SwitchSettings("Asia/Bangkok", "pbx-1")}
SETTINGS = DecodeSettings(record_bytes_max=100_000, check_callee=True)


def decoded(dialect: str, *values: bytes):
    """The batch that `values` make in a dialect."""
    read = dialect_named(dialect, {}, SWITCHES)
    return decode(raw_of(*values), {"calls": read}, Trunks("TH"), SETTINGS)


def sample(kind: str, case: str, **changes: object) -> bytes:
    """A golden JSON sample with some of its outermost members changed, or gone (None)."""
    record = json.loads((GOLDEN / kind / case / "input.json").read_bytes()) | changes
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


def line(kind: str, case: str) -> bytes:
    """A golden CSV sample."""
    return (GOLDEN / kind / case / "input.csv").read_bytes().rstrip(b"\n")


DEEP = b'{"variables":{"uuid":"a"},"x":' + b"[" * 300 + b"]" * 300 + b"}"
MISSING, WRONG, OTHER = (
    RejectReason.MISSING_FIELD, RejectReason.WRONG_TYPE, RejectReason.OTHER_EVENT,
)  # fmt: skip
REFUSED = {
    "kamailio without numbers": (
        "kamailio", sample("kamailio", "transaction", src_user=None), MISSING,
        'src_user missing: add to kamailio.cfg: modparam("acc_json", "acc_extra", "src_user=$fU;',
    ),
    "kamailio BYE": (
        "kamailio", sample("kamailio", "transaction", method="BYE"), OTHER,
        "method is not INVITE: only an INVITE says who calls whom",
    ),
    "kamailio null id": (
        "kamailio", sample("kamailio", "transaction", callid=[1]), WRONG, "callid is neither text",
    ),
    "opensips without numbers": (
        "opensips", b'{"method":"E_ACC_CDR","params":{"method":"INVITE","callid":"a"}}', MISSING,
        'params.src_user missing: add to opensips.cfg: modparam("acc", "extra_fields"',
    ),
    "opensips, another event": (
        "opensips", b'{"method":"E_UL_CONTACT_INSERT","params":{"aor":"x"}}', OTHER,
        "params.method is missing",
    ),
    "a heartbeat": (
        "freeswitch-events", b'{"Event-Name":"HEARTBEAT","Core-UUID":"x"}', OTHER,
        'set event-filter to "CHANNEL_CREATE,CHANNEL_HANGUP_COMPLETE"',
    ),
    "half of an event": (
        "freeswitch-events", sample("freeswitch-events", "channel-create",
                                    **{"Caller-Destination-Number": None}), MISSING,
        "Caller-Destination-Number missing: an event of a channel has it",
    ),
    "half of a FreeSWITCH CDR": (
        "freeswitch", b'{"variables":{"uuid":"a"}}', MISSING,
        "destination_number and variables.sip_to_user missing",
    ),
    "a FreeSWITCH CDR without an id": (
        "freeswitch", sample("freeswitch", "a-leg", variables={}), MISSING, "variables.uuid and",
    ),
    "a form that is nothing": (
        "freeswitch", b"cdr=%%%", RejectReason.NOT_JSON, "neither JSON nor base64",
    ),
    "a deep form": (
        "freeswitch", b"cdr=" + base64.b64encode(DEEP), RejectReason.TOO_DEEP, "nested too deep",
    ),
    "Master.csv without uniqueid": (
        "asterisk-csv:s", line("asterisk-csv", "uniqueid").rpartition(b",")[0], MISSING,
        "set loguniqueid=yes",
    ),
    "a userfield where the id should be": (
        "asterisk-csv:s", line("asterisk-csv", "uniqueid").replace(b"1795593723.42", b"note"),
        MISSING, "set loguniqueid=yes",
    ),
    "Master.csv read as cdr_custom": (
        "asterisk-custom:s", line("asterisk-csv", "uniqueid"), WRONG, "another order of columns",
    ),
    "cdr_custom read as Master.csv": (
        "asterisk-csv:s", line("asterisk-custom", "sample"), WRONG, "another order of columns",
    ),
    "a line of text": ("freeswitch-csv:s", b"hello", MISSING, "1 columns where at least 11"),
    "vsgroup without ids": (
        "asterisk-vsgroup", sample("asterisk-vsgroup", "as-documented", linkedid=None), MISSING,
        "linkedid and uniqueid missing: switch on loguniqueid",
    ),
    "an SMS": ("3gpp", b'{"Bx_moSMS":{"callReference":1}}', OTHER, "send only call records"),
    "an IMS message": (
        "3gpp", b'{"Bx_as":{"sIP-Method":"MESSAGE"}}', OTHER, "sIP-Method is not INVITE",
    ),
    "no 3GPP record": ("3gpp", b'{"a":1}', MISSING, "a record lies under Bx_moCall"),
    "a 3GPP record without a called number": (
        "3gpp", b'{"Bx_incGateway":{"callReference":1}}', MISSING, "calledNumber missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "value", "reason", "detail"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_names_the_field_and_what_to_do(dialect, value, reason, detail):
    """A reject's reason is the first thing that an operator reads; it quotes no number."""
    (one,) = decoded(dialect, value).rejected
    assert (one.reason, one.value) == (reason, value)
    assert detail in one.detail
    assert "4477" not in one.detail


TIMES = {
    "seconds": (1795593723, 1795593723.0),
    "seconds as text": ("1795593723.5", 1795593723.5),
    "milliseconds": (1795593723500, 1795593723.5),
    "microseconds": ("1795593723500000", 1795593723.5),
    "local": ("2026-11-25 15:02:03", 1795593723.0),
    "with a zone": ("2026-11-25T08:02:03.000Z", 1795593723.0),
    "none": ("0", None),
    "1970": (12_345, None),
    "1999": ("1999-12-31T23:59:59Z", None),
    "2100": (4_102_444_800, None),
    "far beyond": (1e300, None),
    "no time": ("yesterday", None),
    "of a wrong type": ([1], None),
}


@pytest.mark.parametrize(("value", "expected"), TIMES.values(), ids=TIMES)
def test_times_are_read_between_2000_and_2100(value, expected):
    """Any unit, any form; what cannot be is unknown and never stops a block."""
    assert moment_s(value, zone_named("Asia/Bangkok")) == expected
    if value == "2026-11-25 15:02:03":
        assert moment_s(value, None) is None


def test_a_wrong_clock_lets_no_listed_caller_through():
    """A record of the far future is a call all the same, with its time unknown."""
    batch = decoded("kamailio", sample("kamailio", "transaction", time=9_999_999_999))
    assert batch.glances[0].caller == "+447700900125"
    assert batch.started_at_s(0) is None


def test_places_know_of_summer_time():
    """A clock that goes back: the hour that happens twice is the first one."""
    berlin = zone_named("Europe/Berlin")
    assert moment_s("2026-07-01 12:00:00", berlin) == moment_s("2026-07-01T10:00:00Z", None)
    assert moment_s("2026-10-25 02:30:00", berlin) == moment_s("2026-10-25T00:30:00Z", None)


CHANNELS = {
    "PJSIP/carrier-a-0000002a": "carrier-a",
    "SIP/203.0.113.7-000001": "203.0.113.7",
    "Local/s@ctx-0001;1": "s@ctx",
    "DAHDI/i1/0812345678-3": "i1/0812345678",
    "no mark": "no mark",
    "a/": None,
    "a/-1": None,
    "": None,
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_trunk_is_in_the_channels_name(channel):
    """Cut in columns as cut alone, beside channels of any other length."""
    assert trunk_of(channel) == CHANNELS[channel]
    others = ["PJSIP/x-1", "P" * 70 + "/long-1", channel]
    values = [sample("asterisk-kafka", "asterisk_cdr", channel=each) for each in others]
    batch = decoded("asterisk-kafka:s", *values)
    assert [glance.trunk for glance in batch.glances] == ["x", "long", CHANNELS[channel]]


def test_a_switchs_trunk_takes_the_place_of_the_records():
    """With `trunk` in the switch's table, whatever the channel says."""
    batch = decoded("asterisk-kafka:p", sample("asterisk-kafka", "asterisk_cdr"))
    assert batch.glances[0].trunk == batch.call_of(0).trunk == "pbx-1"


def test_patterns_of_a_mapping_cut_what_is_written():
    """The first group or the whole match; a number that does not match stays as it is, an optional
    text is none.
    """
    settings = MappingSettings(
        "json",
        {"call_id": "id", "caller": "from", "callee": "to", "trunk": "gw", "started_at": "at"},
        patterns={"caller": "^sip:([^@]+)", "trunk": "^gw-[a-z]+", "started_at": r"\d{10}"},
    )
    dialect = dialect_named("mapping:m", {"m": settings})
    first = b'{"id":"1","from":"sip:+447700900125@x","to":"2","gw":"gw-th-7","at":"t=1795593723"}'
    second = b'{"id":"2","from":"+447700900125","to":"2","gw":"other","at":"x"}'
    batch = decode(raw_of(first, second), {"calls": dialect}, Trunks("TH"), SETTINGS)
    calls = [batch.call_of(index) for index in (0, 1)]
    assert [(glance.caller, glance.trunk) for glance in batch.glances] == [
        ("+447700900125", "gw-th"), ("+447700900125", None),
    ]  # fmt: skip
    assert [(call.trunk, call.started_at_s) for call in calls] == [
        ("gw-th", 1795593723.0), (None, None),
    ]  # fmt: skip


def test_what_looks_like_an_escape_in_a_csv_line_ends_nothing():
    """A line beside one with very many brackets is looked at again, and is no JSON then either."""
    plain = line("asterisk-csv", "uniqueid")
    names = (b"[" * 300, b"\\u0041")
    batch = decoded("asterisk-csv:s", *(plain.replace(b'""', b'"%b"' % name, 1) for name in names))
    assert (len(batch), batch.rejected) == (2, [])


def test_suspected_records_are_looked_at_with_every_care():
    """A record that is no UTF-8 where a dialect does not look is no call in that dialect."""
    value = sample("kamailio", "cdr").replace(b"{", b'{"x\xf5":1,', 1)
    assert likely([value] * 60, "TH") is None
