"""Promises of the dialects: what each reads of golden samples, what it refuses, and what to do."""

import base64
import json
import tomllib
from dataclasses import asdict
from itertools import count
from pathlib import Path

import pytest

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.detection.detect_dialect import likely
from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.dialect import SwitchSettings, whole
from stream.calls.dialects.fields import EARLIEST_S, LATEST_S, moment_s, trunk_of
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.core.model.call import RejectReason
from stream.core.model.time_zones import zone_named
from tests.fuzz import switch_records as fuzz
from tests.support.builders import DECODING, HOME, raw_of

GOLDEN = Path(__file__).parents[3] / "golden" / "cdr"
CASES = sorted(path.parent for path in GOLDEN.rglob("expected.json"))
REJECTED = sorted(path.parent for path in GOLDEN.rglob("rejected.json"))
SWITCHES = {"s": SwitchSettings("Asia/Bangkok"), "p": SwitchSettings("Asia/Bangkok", "pbx-1")}
FAR = ["1899-12-31 23:59:59", "1970-01-01T00:00:00Z", "9999-12-31 23:59:59", "0", "99999999999999"]
CUT_SHORT = {
    RejectReason.NOT_JSON, RejectReason.NOT_CSV, RejectReason.NOT_XML, RejectReason.MISSING_FIELD,
    RejectReason.WRONG_TYPE, RejectReason.NOT_UTF8, RejectReason.OTHER_EVENT,
    RejectReason.WRONG_ENCODING,
}  # fmt: skip


def dialect_of(case: Path):
    """The dialect of a case, with the mapping or the switch's settings that lie in the case."""
    if (case / "switch.toml").exists():
        switch = SwitchSettings(**tomllib.loads((case / "switch.toml").read_text()))
        return dialect_named(f"{case.parent.name}:s", {}, {"s": switch})
    if case.parent.name != "mapping":
        return dialect_named(case.parent.name, {})
    settings = MappingSettings(**tomllib.loads((case / "mapping.toml").read_text()))
    return dialect_named("mapping:m", {"m": settings})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden_samples(case):
    """A switch's record, as it wrote it, is read as `expected.json` says, in part and whole."""
    (sample,) = case.glob("input.*")
    value = sample.read_bytes().rstrip(b"\n")
    expected = json.loads((case / "expected.json").read_text())
    dialect = dialect_of(case)
    assert dialect.started_at_s(value) == expected["started_at_s"]
    told = dialect.key_fields(value)
    assert expected == asdict(whole(told, dialect.details(value)))
    assert [expected[key] for key in ("call_id", "caller", "callee", "trunk")] == [
        told.call_id,
        told.caller,
        told.callee,
        told.trunk,
    ]
    found = dialect.found(value)
    assert {"call_id", "caller", "callee"} <= found.keys()
    assert all(one.place for one in found.values())


@pytest.mark.parametrize("case", REJECTED, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden_samples_of_no_call(case):
    """Records besides calls, and torn ones, are refused as `rejected.json` says."""
    (sample,) = case.glob("input.*")
    value = sample.read_bytes().rstrip(b"\n")
    read = {"calls": dialect_of(case)}
    (one,) = decode(raw_of(value), read, HOME, DECODING).rejected
    assert {"reason": one.reason, "detail": one.detail} == json.loads(
        (case / "rejected.json").read_text()
    )
    assert (one.value, "447700900" in one.detail) == (value, False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_torn_call_is_no_other_event(case):
    """A call that was cut off anywhere is still a call, or stays where somebody looks at it."""
    (sample,) = case.glob("input.*")
    value, read = sample.read_bytes().rstrip(b"\n"), {"calls": dialect_of(case)}
    torn = [value[: len(value) * part // 40] for part in range(2, 40)]
    batch = decode(raw_of(*torn), read, HOME, DECODING)
    assert len(batch) + len(batch.rejected) == len(torn)
    assert all(one.is_kept for one in batch.rejected)


@pytest.mark.parametrize(
    ("case", "said", "odd"),
    [
        ("radius/interim", b"Interim-Update", b"Attempt"),
        ("radius/bye-of-a-proxy", b"= BYE", b"= BY\xc3\xa9"),
        ("asterisk-cel/hangup", b"HANGUP", b"2026-11-25"),
        ("3gpp-ber/sms", b"\xa6", b"\xbf\xff\x7f"),
    ],
)
def test_what_no_standard_names_is_kept(case, said, odd):
    """A kind of record that nobody knows may be a call: its bytes stay where somebody looks."""
    (sample,) = (GOLDEN / case).glob("input.*")
    value = sample.read_bytes().rstrip(b"\n")
    read = {"calls": dialect_of(GOLDEN / case)}
    changed = [value, value.replace(said, odd, 1)]
    assert [one.is_kept for one in decode(raw_of(*changed), read, HOME, DECODING).rejected] == [
        False,
        True,
    ]


def test_every_dialect_has_samples():
    """No dialect is known by its table alone: each was tried with its switch's records."""
    assert KNOWN.keys() <= {case.parent.name for case in CASES}


def test_an_unknown_dialect_is_named_beside_the_known_ones():
    """The error for a mistyped dialect names those that exist."""
    settings = MappingSettings("csv", {"call_id": "0", "caller": "1", "callee": "2"})
    with pytest.raises(ValueError, match=r"'ringfense'.*ringfence, freeswitch.*mapping:<"):
        dialect_named("ringfense", {"acme": settings})
    with pytest.raises(ValueError, match=r"\[mappings.other\]; known: acme"):
        dialect_named("mapping:other", {"acme": settings})


def decoded(dialect: str, *values: bytes):
    """The batch that `values` make in a dialect."""
    read = dialect_named(dialect, {}, SWITCHES)
    return decode(raw_of(*values), {"calls": read}, HOME, DECODING)


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
        "opensips", b'{"method":"E_UL_CONTACT_INSERT","params":{"aor":"x"}}', MISSING,
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
    assert batch.key_fields[0].caller == "+447700900125"
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
    assert [told.trunk for told in batch.key_fields] == ["x", "long", CHANNELS[channel]]


def test_a_switchs_trunk_takes_the_place_of_the_records():
    """With `trunk` in the switch's table, whatever the channel says."""
    batch = decoded("asterisk-kafka:p", sample("asterisk-kafka", "asterisk_cdr"))
    assert batch.key_fields[0].trunk == batch.call_of(0).trunk == "pbx-1"


def test_what_looks_like_an_escape_in_a_csv_line_ends_nothing():
    """A line beside one with very many brackets is looked at again, and is no JSON then either."""
    plain = line("asterisk-csv", "uniqueid")
    names = (b"[" * 300, b"\\u0041")
    batch = decoded("asterisk-csv:s", *(plain.replace(b'""', b'"%b"' % name, 1) for name in names))
    assert (len(batch), batch.rejected) == (2, [])


def test_suspected_records_are_looked_at_with_every_care():
    """A record that has a key twice is no call in that dialect."""
    value = sample("kamailio", "cdr").replace(b"{", b'{"src_user":"1",', 1)
    assert likely([value] * 60, "TH") is None


LATIN = b"Caf\xe9"
NAMED = {
    "Master.csv": ("asterisk-csv:s", line("asterisk-csv", "uniqueid"), b"Somchai"),
    "freeswitch-csv": ("freeswitch-csv:s", b'"?"' + line("freeswitch-csv", "example")[2:], b"?"),
    "kamailio": ("kamailio", sample("kamailio", "cdr", name="?"), b"?"),
    "freeswitch": ("freeswitch", sample("freeswitch", "a-leg", name="?"), b"?"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_in_latin_1_hides_no_call(kind):
    """A caller chooses its name; most switches copy its bytes."""
    dialect, value, name = NAMED[kind]
    assert name in value
    plain, named = decoded(dialect, value), decoded(dialect, value.replace(name, LATIN, 1))
    assert named.rejected == []
    assert named.key_fields[0] == plain.key_fields[0]
    assert named.call_of(0) == plain.call_of(0)
    assert likely([value.replace(name, LATIN, 1)] * 60, "TH") == likely([value] * 60, "TH")


@pytest.mark.parametrize("name", [
    b'A"B', b'A\\"B', b'"', b'A","B', b',"', b'B",', b'","' * 70, b'a","b","c","d","e","f"', LATIN,
])  # fmt: skip
def test_a_name_with_quotes_hides_no_call_of_mod_cdr_csv(name):
    """The module writes names as they are: none makes the record one without its numbers."""
    value = line("freeswitch-csv", "example")
    batch = decoded("freeswitch-csv:s", value.replace(b'""', b'"%b"' % name, 1))
    assert batch.rejected == []
    assert batch.call_of(0) == decoded("freeswitch-csv:s", value).call_of(0)


def read_in(kind: str, *values: bytes) -> CallBatch:
    """The batch that `values` make in a dialect, as the fuzzer has it set."""
    return decode(raw_of(*values), {"calls": fuzz.DIALECTS[kind][0]}, fuzz.TRUNKS, fuzz.SETTINGS)


def calls_in(kind: str) -> list[bytes]:
    """The documented records of a dialect that are calls."""
    return [value for value in fuzz.samples(kind) if len(read_in(kind, value))]


@pytest.mark.parametrize("kind", [kind for kind in KNOWN if kind != "radius"])
def test_half_a_record_is_no_call_and_says_what_is_missing(kind: str) -> None:
    """The first half of each documented record is rejected, kept as it came, with a reason and a
    detail that quotes no number.
    """
    halves = [value[: len(value) // 2] for value in calls_in(kind)]
    assert halves
    batch = read_in(kind, *halves)
    assert len(batch) == 0
    assert [one.value for one in batch.rejected] == halves
    for one in batch.rejected:
        assert one.reason in CUT_SHORT
        assert one.detail
        assert "447700900" not in one.detail


@pytest.mark.parametrize("value", calls_in("radius"), ids=count())
def test_a_torn_detail_record_never_has_other_numbers(value: bytes) -> None:
    """A detail record has no end that its reader could miss: cut anywhere it is no call, or has the
    numbers and the id of the whole one, but for what is not there.
    """
    dialect = fuzz.DIALECTS["radius"][0]
    whole_one = dialect.key_fields(value)
    for end in range(len(value)):
        batch = read_in("radius", value[:end])
        for told in batch.key_fields:
            assert told.callee == whole_one.callee
            assert told.caller in (whole_one.caller, None)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_time_far_away_lets_no_call_through_unseen(kind: str) -> None:
    """The record is a call with its numbers as ever; a time that cannot be is none (our own
    dialect says what it was told).
    """
    dialect = fuzz.DIALECTS[kind][0]
    looked_at = 0
    for value in calls_in(kind):
        said = dialect.found(value).get("started_at")
        if said is None or not said.raw:
            continue
        for far in FAR:
            batch = read_in(kind, value.replace(str(said.raw).encode(), far.encode()))
            # A number in JSON that a date has replaced, or another order of columns.
            if not len(batch):
                assert batch.rejected[0].reason in CUT_SHORT
                continue
            looked_at += 1
            told, before = batch.key_fields[0], dialect.key_fields(value)
            assert (told.caller, told.callee, told.trunk) == (
                before.caller, before.callee, before.trunk,
            )  # fmt: skip
            # Avaya's ids count from one number again; the time belongs to them.
            assert told.call_id == before.call_id or str(said.raw) in before.call_id
            at_s = batch.started_at_s(0)
            assert at_s is None or kind == "ringfence" or EARLIEST_S <= at_s < LATEST_S
    assert looked_at
