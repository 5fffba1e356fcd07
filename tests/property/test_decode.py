"""Decoding against json, and against anything."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.call import RejectReason
from tests.support.builders import raw_of

FIELDS = {"call_id": "call_id", "caller": "from.number", "callee": "to.number"}
DIALECTS = {
    "ringfence": dialect_named("ringfence", {}),
    "json": dialect_named("mapping:m", {"m": MappingSettings("json", FIELDS)}),
    "csv": dialect_named(
        "mapping:m", {"m": MappingSettings("csv", {"call_id": "0", "caller": "1", "callee": "2"})}
    ),
}
SETTINGS = DecodeSettings(record_bytes_max=50_000, check_callee=True)


def decoded(dialect, *values):
    """The batch that `values` make."""
    return decode(raw_of(*values), {"calls": DIALECTS[dialect]}, Trunks("TH"), SETTINGS)


GOOD = {"call_id": "c", "caller": "+66812345678", "callee": None}
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
key = st.sampled_from(["call_id", "caller", "callee", "trunk", "calling", "number", "from", "x"])
records = st.dictionaries(key, anything, max_size=8).map(lambda record: json.dumps(record).encode())
nearly = st.builds(
    lambda text, at, cut, put: (
        text[: at % (len(text) + 1)] + put + text[at % (len(text) + 1) + cut :]
    ),
    records | st.just(json.dumps(GOOD).encode()),
    st.integers(0, 200),
    st.integers(0, 3),
    st.binary(max_size=3),
)
values = st.lists(st.none() | st.binary(max_size=60) | records | nearly, min_size=1, max_size=6)


@given(dialect=st.sampled_from(sorted(DIALECTS)), values=values)
@example(dialect="ringfence", values=[b'{"call_id":"\\ud800","caller":null,"callee":null}'])
@example(dialect="csv", values=[b'"', b"a,b\nc", b"a,b\0,c", b"\xff,,"])
def test_any_bytes_end_as_exactly_one_call_or_reject(dialect, values):
    """Whatever the bytes: no exception, none lost, none twice, the bytes of rejects untouched."""
    batch = decoded(dialect, *values)
    by_row = {one.origin.offset - 10: one.value for one in batch.rejected}
    assert list(range(len(values))) == sorted([*by_row, *batch.rows.tolist()])
    assert all(values[row] == kept for row, kept in by_row.items())
    for index in range(len(batch)):
        call = batch.call_of(index)
        assert batch.key_fields[index].call_id == call.call_id
        assert batch.started_at_s(index) == call.started_at_s


@given(values=values)
def test_a_batch_decodes_like_its_records_one_by_one(values):
    """The records beside a record change nothing about it."""
    together = decoded("ringfence", *values)
    alone = [decoded("ringfence", value) for value in values]
    assert [batch.key_fields[0] for batch in alone if len(batch)] == list(together.key_fields)
    assert [batch.rejected[0].reason for batch in alone if batch.rejected] == [
        one.reason for one in together.rejected
    ]


finite = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text()
pairs = st.lists(st.tuples(key, finite), max_size=8)


@given(pairs=pairs, escape=st.booleans(), nest=st.booleans())
def test_a_key_given_twice_is_always_found(pairs, escape, nest):
    """In one object, in any spelling: a record that repeats a wanted key is never a call."""
    if nest:
        pairs = [*pairs, ("sip", {"caller": "x", "callee": "y"})]
    pairs = [("call_id", "c"), ("caller", "1"), ("callee", "2"), *pairs]
    members = []
    for place, (name, value) in enumerate(pairs):
        spelled = json.dumps(name)
        if escape and place % 2:
            spelled = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
        members.append(f"{spelled}:{json.dumps(value)}")
    batch = decoded("ringfence", ("{" + ",".join(members) + "}").encode())
    names = [name for name, _ in pairs]
    if any(names.count(wanted) > 1 for wanted in ("call_id", "caller", "callee")):
        assert batch.rejected[0].reason in (RejectReason.DUPLICATE_KEY, RejectReason.WRONG_TYPE)
    else:
        assert (
            batch.key_fields[0].call_id,
            batch.key_fields[0].caller,
            batch.key_fields[0].callee,
        ) == ("c", "1", "2")
