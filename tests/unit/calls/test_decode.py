"""Promises of `stream.calls.decode`: any bytes end as a call or as a reject that says why."""

import json

import numpy as np
import pytest

from stream.calls.decode import FIELD_LENGTH_MAX, decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core.model.call import Origin, RejectReason, Stage
from stream.kafka.batch import RawBatch
from tests.support.builders import DECODING, raw_of

pytestmark = pytest.mark.usefixtures("both_ways")


TRUNKS = Trunks("TH", {"uk": Trunk("GB")})
GOOD = b'{"call_id":"c1","caller":"+66812345678","callee":"02 123 4567"}'


def decoded(*values, settings=DECODING):
    """The batch that `values` make in the dialect `ringfence`."""
    return decode(raw_of(*values), {"calls": dialect_named("ringfence", {})}, TRUNKS, settings)


def with_field(field: str) -> bytes:
    """A good call with one more field, as JSON text."""
    return GOOD[:-1] + b"," + field.encode() + b"}"


def test_a_call_has_key_fields_and_can_be_had_whole():
    """A good record becomes columns of numbers, and its call on demand."""
    batch = decoded(with_field('"stage":"attempt","started_at":1795564428,"duration_s":3'))
    assert batch.callers.e164.tolist() == [b"+66812345678"]
    assert batch.callees.e164.tolist() == [b"+6621234567"]
    call = batch.call_of(0)
    assert (call.call_id, call.started_at_s, call.stage, call.duration_s) == (
        "c1",
        1795564428.0,
        Stage.ATTEMPT,
        3.0,
    )


REJECTS = {
    "tombstone": (None, RejectReason.TOMBSTONE),
    "no bytes": (b"", RejectReason.NOT_JSON),
    "NUL": (b"\0", RejectReason.NOT_JSON),
    "NUL after a call": (GOOD + b"\0", RejectReason.NOT_JSON),
    "NUL in a text": (with_field('"x":"a\0b"'), RejectReason.NOT_JSON),
    "not JSON": (b"caller=+66812345678", RejectReason.NOT_JSON),
    "cut short": (GOOD[:-5], RejectReason.NOT_JSON),
    "two calls": (GOOD + GOOD, RejectReason.NOT_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, RejectReason.NOT_JSON),
    "not a number": (with_field('"x":NaN'), RejectReason.NOT_JSON),
    "array": (b"[" + GOOD + b"]", RejectReason.WRONG_TYPE),
    "text": (b'"call"', RejectReason.WRONG_TYPE),
    "number": (b"42", RejectReason.WRONG_TYPE),
    "null": (b"null", RejectReason.WRONG_TYPE),
    "empty object": (b"{}", RejectReason.MISSING_FIELD),
    "no caller": (b'{"call_id":"c","callee":"1"}', RejectReason.MISSING_FIELD),
    "no callee": (b'{"call_id":"c","caller":"1"}', RejectReason.MISSING_FIELD),
    "caller is a number": (
        b'{"call_id":"c","caller":66812345678,"callee":"1"}',
        RejectReason.WRONG_TYPE,
    ),
    "call_id is null": (b'{"call_id":null,"caller":"1","callee":"1"}', RejectReason.WRONG_TYPE),
    "bad UTF-8 in half a record": (b'{"call_id":"c1","caller":"\xff66"}', RejectReason.NOT_UTF8),
    "too deep": (with_field('"x":' + "[" * 20_000 + "]" * 20_000), RejectReason.TOO_DEEP),
    "deeper than is read": (with_field('"x":' + "[" * 200 + "]" * 200), RejectReason.TOO_DEEP),
    "caller twice": (with_field('"caller":"+66899999999"'), RejectReason.DUPLICATE_KEY),
    "caller twice, once in escapes": (
        with_field('"\\u0063aller":"+66899999999"'),
        RejectReason.DUPLICATE_KEY,
    ),
    "call_id twice": (with_field('"call_id":"c2"'), RejectReason.DUPLICATE_KEY),
    "too large": (with_field('"x":"' + "x" * 100_000 + '"'), RejectReason.TOO_LARGE),
    "10 MB": (b"[" * 10_000_000, RejectReason.TOO_LARGE),
    "a call_id that no decision can carry": (
        GOOD.replace(b"c1", b"c" * (FIELD_LENGTH_MAX + 1)),
        RejectReason.WRONG_TYPE,
    ),
}


@pytest.mark.parametrize(("value", "reason"), REJECTS.values(), ids=REJECTS)
def test_what_is_no_call_is_rejected_whole_and_with_its_reason(value, reason):
    """The bytes are kept as they were, with where they lay; the calls beside them are decided."""
    batch = decoded(GOOD, value, GOOD)
    (rejected,) = batch.rejected
    assert (value, reason, Origin("calls", 3, 11)) == (
        rejected.value,
        rejected.reason,
        rejected.origin,
    )
    assert batch.rows.tolist() == [0, 2]
    assert "6681" not in rejected.detail


ACCEPTED = {
    "withheld caller": b'{"call_id":"c","caller":null,"callee":"1"}',
    "space around": b" \n" + GOOD + b"\r\n",
    "Thai letters": with_field('"name":"สมชาย"'),
    "Thai letters, escaped": with_field(r'"name":"\u0e2a\u0e21"'),
    "a Latin letter, escaped": with_field(r'"name":"Jos\u00e9 \u0041"'),
    "the word caller as a value": with_field('"leg":"caller"'),
    "a caller inside another object": with_field('"sip":{"caller":"x"}'),
    "keys that begin alike": with_field('"called_at":1,"calling":2,"caller_name":"x"'),
    "an optional field twice": with_field('"trunk":"a","trunk":"b"'),
    "an enormous number": with_field('"x":' + "9" * 5000),
    "enormous optional fields": with_field('"trunk":1e999,"duration_s":' + "9" * 5000),
    "an optional field that is a deep array": with_field(
        '"trunk":' + "[" * 199 + "]" * 199 + ',"carrier":"a"'
    ),
    "many objects, but not deep": with_field('"x":[' + ",".join(["{}"] * 500) + "]"),
    "brackets in a text": with_field('"x":"' + '\\\\\\"[{' * 300 + '"'),
    "an optional field of a wrong type": with_field('"trunk":7,"ingress":[]'),
    "large, but not too large": with_field('"x":"' + "x" * 20_000 + '"'),
    "no UTF-8 in a number": GOOD.replace(b"02 1", b"02\xa01"),
    "no UTF-8 in a field that nobody reads": with_field('"x":"?"').replace(b"?", b"\xc3("),
    "no UTF-8 in a key": with_field('"?":1').replace(b"?", b"\xed\xa0\x80"),
    "no UTF-8 in an optional field": with_field('"carrier":"?"').replace(b"?", b"\xe9"),
}


@pytest.mark.parametrize("value", ACCEPTED.values(), ids=ACCEPTED)
def test_what_only_looks_odd_is_a_call(value):
    """A listed caller must not slip through because of fields that do not decide."""
    batch = decoded(GOOD, value)
    assert (tuple(batch.rejected), batch.rows.tolist()) == ((), [0, 1])
    assert batch.call_of(1).call_id in ("c", "c1")
    assert batch.started_at_s(1) is None


def test_optional_fields_of_a_wrong_type_are_as_absent():
    """A trunk that is a number costs the trunk, not the call."""
    batch = decoded(with_field('"trunk":7,"ingress":"domestic"'))
    assert (batch.key_fields[0].trunk, batch.key_fields[0].ingress) == (None, "domestic")
    assert batch.call_of(0).trunk is None


def test_national_numbers_are_those_of_the_trunks_country():
    """The same digits are another number on another country's trunk."""
    value = b'{"call_id":"c","caller":"020 7946 0123","callee":null,"trunk":"uk"}'
    assert decoded(value).callers.e164.tolist() == [b"+442079460123"]


def test_callees_are_not_read_where_they_are_not_checked():
    """`check_callee = false` saves their price."""
    assert decoded(GOOD, settings=DecodeSettings(1000, check_callee=False)).callees is None


def test_each_topic_has_its_dialect():
    """One batch may hold records of several topics; rows, origins and calls stay apart."""
    settings = MappingSettings(
        "csv", {"call_id": "0", "caller": "1", "callee": "2"}, constants={"carrier": "acme"}
    )
    dialects = {
        "calls": dialect_named("ringfence", {}),
        "calls.acme": dialect_named("mapping:acme", {"acme": settings}),
    }
    raw = raw_of(b"bad", GOOD, b"c2,+66899999999,", b"bad", topics=("calls", "calls.acme"))
    batch = decode(raw, dialects, TRUNKS, DECODING)
    assert batch.rows.tolist() == [1, 2]
    assert (batch.call_of(0).call_id, batch.call_of(1).call_id, batch.call_of(1).carrier) == (
        "c1",
        "c2",
        "acme",
    )
    assert [str(one.origin) for one in batch.rejected] == ["calls/3/10", "calls.acme/3/13"]


def test_views_of_a_buffer_are_read_like_bytes():
    """A source may keep all records in one buffer; a reject is copied out of it."""
    buffer = bytearray(GOOD + b"nonsense")
    views = memoryview(buffer)
    batch = decoded(views[: len(GOOD)], views[len(GOOD) :])
    buffer[:] = b"\0" * len(buffer)
    assert (batch.callers.e164.tolist(), batch.rejected[0].value) == (
        [b"+66812345678"],
        b"nonsense",
    )


def test_an_empty_batch():
    """Nothing in, nothing out."""
    raw = RawBatch([], np.empty(0, np.int64), np.empty(0, np.int64), (), 1)
    batch = decode(raw, {}, TRUNKS, DECODING)
    assert (len(batch), tuple(batch.rejected)) == (0, ())


def test_a_thousand_calls_with_one_bad_among_them():
    """The quick way for whole batches and the slow way for odd ones agree."""
    values = [
        json.dumps({"call_id": f"c{row}", "caller": f"+66812{row:06d}", "callee": None}).encode()
        for row in range(1000)
    ]
    clean = decoded(*values)
    values[500] = b"?"
    mixed = decoded(*values)
    kept = np.delete(np.arange(1000), 500)
    assert kept.tolist() == mixed.rows.tolist()
    assert clean.callers.e164[kept].tolist() == mixed.callers.e164.tolist()
