"""Promises of mappings: records of any switch by a table, and what is no call of theirs."""

import pytest

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.core import kernels
from stream.core.model.call import RejectReason
from tests.support.builders import DECODING, HOME, raw_of

PATHS = {"call_id": "id", "caller": "from", "callee": "to"}
COLUMNS = {"call_id": "0", "caller": "1", "callee": "2"}
UNWORKABLE = {
    "format": ({"format": "xml"}, "json, csv or fixed"),
    "delimiter": ({"format": "csv", "delimiter": '"'}, "no quotation mark"),
    "escape": ({"format": "csv", "delimiter": "||", "escape": "\\"}, "a delimiter of one"),
    "widths of csv": ({"format": "csv", "widths": [3]}, 'belong to format = "fixed"'),
    "no widths": ({"format": "fixed"}, "the characters of each column"),
    "no width": ({"format": "fixed", "widths": [3, 0]}, "1 or more"),
    "skip in JSON": ({"skip": ["#"]}, "`only` says which"),
    "skip all": ({"format": "csv", "skip": [""]}, "begins every line"),
    "fewer than none": ({"format": "csv", "columns_min": -1}, "columns_min is 0 or more"),
    "only nothing": ({"only": {"type": []}}, "only: type: name a value"),
    "only nowhere": ({"format": "csv", "only": {"type": ["1"]}}, "no column is called 'type'"),
    "two places choose": (
        {"choose": {"caller": {"a": {"I": "x"}, "b": {"I": "x"}}}}, "choose: caller: name one place"
    ),
    "kinds with fields": ({"kinds": {"a": {"1": "x"}}}, "leave them out here"),
    "unknown field": ({"fields": {**PATHS, "callid": "x"}}, "'callid' is no field of a call"),
    "lacking field": ({"fields": {"call_id": "id"}}, "where caller is; .*where callee is"),
    "twice": ({"fields": {**PATHS, "trunk": "t"}, "constants": {"trunk": "x"}}, "both"),
    "joined twice": ({"joined": {"caller": ["a", "b"]}}, "leave it out of fields"),
    "otherwise nothing": ({"otherwise": {"trunk": ["a"]}}, "'trunk' is not in fields"),
    "no column": ({"format": "csv"}, "no column is called 'id'"),
    "empty step": ({"fields": {**PATHS, "trunk": "a..b"}}, "no path"),
    "inside another": ({"fields": {**PATHS, "trunk": "from.trunk"}}, "from is a field and holds"),
    "same path": ({"fields": {**PATHS, "trunk": "from"}}, "same path"),
    "zone": ({"utc_offset": "ICT"}, r"like Asia/Bangkok, \+07:00 or Z"),
    "two zones": ({"utc_offset": "Z", "time_zone": "Z"}, "keep one"),
    "no zone": (
        {"time": "%Y-%m-%d", "fields": {**PATHS, "started_at": "start"}},
        "has no zone: set time_zone",
    ),
    "no time": ({"time": "epoch"}, "time is s, ms, us or a format"),
    "no unit": ({"duration": "min"}, "duration is in s, cs, ms or us"),
    "pattern of nothing": ({"patterns": {"trunk": "x"}}, "patterns: 'trunk' is not in fields"),
    "no pattern": ({"patterns": {"caller": "("}}, "patterns: caller: .* is no regular expression"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), UNWORKABLE.values(), ids=UNWORKABLE)
def test_a_mapping_that_can_not_work_says_why(change, message):
    """All that is wrong is found when the configuration is read, not with the first call."""
    with pytest.raises(ValueError, match=message):
        MappingSettings(**{"format": "json", "fields": PATHS, **change})


def read(settings: MappingSettings, *values: bytes, **others: MappingSettings) -> CallBatch:
    """The batch that `values` make, the same with kernels and without."""
    dialect = dialect_named("mapping:m", {"m": settings, **others})
    batch = decode(raw_of(*values), {"calls": dialect}, HOME, DECODING)
    with kernels.reference_only():
        again = decode(raw_of(*values), {"calls": dialect}, HOME, DECODING)
    assert list(batch.key_fields) == list(again.key_fields)
    assert batch.rejected == again.rejected
    return batch


def parties(batch: CallBatch) -> list[tuple[str, str | None, str | None]]:
    """Call id, caller and callee of each call."""
    return [(told.call_id, told.caller, told.callee) for told in batch.key_fields]


def refused(batch: CallBatch) -> list[tuple[RejectReason, str]]:
    """Why each of the others is no call."""
    return [(one.reason, one.detail) for one in batch.rejected]


def test_an_optional_field_in_an_object_that_is_absent_or_odd_costs_only_itself():
    """A path to a trunk may lead nowhere."""
    settings = MappingSettings("json", {**PATHS, "trunk": "sip.trunk.name"})
    dialect = dialect_named("mapping:m", {"m": settings})
    for odd in (b"", b',"sip":{}', b',"sip":null', b',"sip":[1]', b',"sip":{"trunk":7}'):
        value = b'{"id":"c","from":"1","to":null' + odd + b"}"
        assert dialect.key_fields(value).trunk is None


def test_patterns_of_a_mapping_cut_what_is_written():
    """The first group or the whole match; a number that does not match stays as it is, an optional
    text is none.
    """
    settings = MappingSettings(
        "json",
        {"call_id": "id", "caller": "from", "callee": "to", "trunk": "gw", "started_at": "at"},
        patterns={"caller": "^sip:([^@]+)", "trunk": "^gw-[a-z]+", "started_at": r"\d{10}"},
    )
    first = b'{"id":"1","from":"sip:+447700900125@x","to":"2","gw":"gw-th-7","at":"t=1795593723"}'
    second = b'{"id":"2","from":"+447700900125","to":"2","gw":"other","at":"x"}'
    batch = read(settings, first, second)
    calls = [batch.call_of(index) for index in (0, 1)]
    assert [(told.caller, told.trunk) for told in batch.key_fields] == [
        ("+447700900125", "gw-th"), ("+447700900125", None),
    ]  # fmt: skip
    assert [(call.trunk, call.started_at_s) for call in calls] == [
        ("gw-th", 1795593723.0), (None, None),
    ]  # fmt: skip


def test_lines_that_are_no_calls_are_events_of_another_kind():
    """A header by its names, lines by how they begin, records by a column's value."""
    settings = MappingSettings(
        "csv",
        {"call_id": "id", "caller": "a", "callee": "b"},
        columns=("id", "a", "b", "type"),
        skip=("#", "END"),
        only={"type": ("call", "")},
    )
    batch = read(
        settings, b'"id",a,b,', b"# made 2026", b"END,3,,", b"1,+447700900125,0812345678,call",
        b"2,+447700900126,0812345678,", b"3,+447700900127,0812345678,sms", b"4,5", b"",
    )  # fmt: skip
    assert [told.call_id for told in batch.key_fields] == ["1", "2"]
    other, missing = RejectReason.OTHER_EVENT, RejectReason.MISSING_FIELD
    assert refused(batch) == [
        (other, "the line has the columns' names"),
        (other, "the line begins as `skip` in the mapping says"),
        (other, "the line begins as `skip` in the mapping says"),
        (
            other,
            "column type is not empty or call: `only` in the mapping says which records are calls",
        ),
        (missing, "2 columns where 3 are needed"),
        (missing, "0 columns where 3 are needed"),
    ]


def test_a_json_record_is_a_call_by_its_values():
    """A number or a boolean counts as it is written; what is not named is another event. One
    that says nothing, or no value, may be a damaged call, and is kept.
    """
    one = MappingSettings("json", PATHS, only={"kind": ("1", "true", "call")})
    call = b'{"id":"c","from":"1","to":"2","kind":%b}'
    said = (b'"call"', b"1", b"true", b"2", b'"sms"', b"null", b"[1]")
    batch = read(one, *(call % text for text in said), b'{"id":"c","from":"1","to":"2"}')
    assert batch.rows.tolist() == [0, 1, 2]
    other, missing = RejectReason.OTHER_EVENT, RejectReason.MISSING_FIELD
    assert [reason for reason, _ in refused(batch)] == [
        *(other, other, missing, RejectReason.WRONG_TYPE, missing)
    ]
    two = MappingSettings("json", PATHS, only={"kind": ("call", ""), "leg": ("a",)})
    batch = read(
        two, b'{"id":"c","from":"1","to":"2","leg":"a"}', b'{"id":"c","from":"1","to":"2"}'
    )
    assert batch.rows.tolist() == [0]
    assert refused(batch)[0][1].startswith("leg is missing: `only` in the mapping")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_direction_says_which_place_is_the_callers(form):
    """A value that is not named is no guess: the record is rejected, with the values that are."""
    places = ("0", "1", "3") if form == "csv" else ("id", "io", "to")
    ours, theirs = ("4", "2") if form == "csv" else ("ext", "cli")
    settings = MappingSettings(
        form,
        {"call_id": places[0], "callee": places[2]},
        choose={"caller": {places[1]: {"I": theirs, "O": ours}}},
    )
    lines = [b"1,I,+447700900125,0812345678,215", b"2,O,,+447700900125,215", b"3,T,1,2,3"]
    records = [
        b'{"id":"1","io":"I","cli":"+447700900125","to":"0812345678","ext":"215"}',
        b'{"id":"2","io":"O","to":"+447700900125","ext":215}',
        b'{"id":"3","io":"T","cli":"1","to":"2","ext":"3"}',
    ]
    batch = read(settings, *(lines if form == "csv" else records))
    assert parties(batch) == [
        ("1", "+447700900125", "0812345678"), ("2", "215", "+447700900125"),
    ]  # fmt: skip
    ((reason, detail),) = refused(batch)
    assert (reason, detail) == (
        RejectReason.WRONG_TYPE, f"{places[1]} is none of 'I', 'O': `choose` says no more"
    )  # fmt: skip
    dialect = dialect_named("mapping:m", {"m": settings})
    found = dialect.found(lines[1] if form == "csv" else records[1])
    assert found["caller"].place in ("column 4", "ext")


def test_a_place_that_is_not_chosen_is_the_fields_own():
    """With the field's own place the table of `choose` has only the exceptions."""
    settings = MappingSettings("csv", COLUMNS, choose={"caller": {"3": {"O": "4"}}})
    batch = read(settings, b"1,a,b,I,c", b"2,a,b,O,c")
    assert [told.caller for told in batch.key_fields] == ["a", "c"]


def test_fields_of_several_places():
    """A call id of two columns, and a callee with a second place; a part that lacks is named."""
    settings = MappingSettings(
        "csv",
        {"caller": "2", "callee": "4"},
        joined={"call_id": ("0", "1")},
        otherwise={"callee": ("3",)},
    )
    batch = read(settings, b"7,1200,a,b,c", b"7,1201,a,b,", b"7,,a,b,c")
    assert parties(batch) == [("7-1200", "a", "c"), ("7-1201", "a", "b")]
    assert refused(batch) == [(RejectReason.MISSING_FIELD, "call_id is empty")]
    json = MappingSettings(
        "json",
        {"caller": "a", "callee": "b"},
        joined={"call_id": ("node", "id")},
        otherwise={"callee": ("c",)},
    )
    batch = read(json, b'{"node":1,"id":2,"a":null,"c":"9"}', b'{"node":1,"a":"5","b":"9"}')
    assert parties(batch) == [("1-2", None, "9")]
    assert refused(batch) == [(RejectReason.MISSING_FIELD, "id missing: call_id is there")]


def test_a_second_place_keeps_the_scan():
    """Records with the usual place ride the kernels; only the others take the slower way."""
    settings = MappingSettings("json", PATHS, otherwise={"callee": ("dnis",)})
    dialect = dialect_named("mapping:m", {"m": settings})
    assert dialect.layout is not None
    batch = read(settings, b'{"id":"1","from":"a","to":"b"}', b'{"id":2,"from":"a","dnis":"c"}')
    assert parties(batch) == [("1", "a", "b"), ("2", "a", "c")]


def test_a_second_place_counts_where_the_first_is_empty():
    """As in CSV: a number is not withheld as long as another place says it."""
    settings = MappingSettings("json", PATHS, otherwise={"caller": ("pai", "ani")})
    batch = read(
        settings,
        b'{"id":"1","from":"","pai":null,"ani":"b","to":"c"}',
        b'{"id":"2","from":null,"pai":"b","to":"c"}',
        b'{"id":"3","from":"","to":"c"}',
        b'{"id":"4","from":"a","pai":"b","to":"c"}',
    )
    assert [told.call_id for told in batch.key_fields] == ["1", "2", "3", "4"]
    assert [told.caller or None for told in batch.key_fields] == ["b", "b", None, "a"]


TIMES = {
    "s": ("1795593723", 1795593723.0),
    "ms": ("1795593723500", 1795593723.5),
    "us": ("1795593723500000", 1795593723.5),
    "%Y%m%d%H%M%S.%f": ("20261125080203.500", 1795593723.5),
    "": ("2026-11-25T08:02:03Z", 1795593723.0),
}


@pytest.mark.parametrize("written", TIMES)
def test_times_are_read_in_their_unit(written):
    """Seconds, milliseconds, microseconds or a format; what is out of all bounds is unknown."""
    text, expected = TIMES[written]
    settings = MappingSettings(
        "csv",
        {**COLUMNS, "started_at": "3", "duration_s": "4"},
        time=written,
        time_zone="Z",
        duration="ms",
    )
    line = f"1,a,b,{text},61500".encode()
    batch = read(settings, line, b"2,a,b,17,00:01:01", b"3,a,b,9e999,x")
    calls = [batch.call_of(index) for index in range(3)]
    assert [call.started_at_s for call in calls] == [expected, None, None]
    assert [call.duration_s for call in calls] == [61.5, 61.0, None]


def test_columns_of_a_fixed_width():
    """Each column ends where its width does; a line that ends before a party is cut short."""
    settings = MappingSettings(
        "fixed",
        {"call_id": "id", "caller": "a", "callee": "b", "trunk": "gw"},
        columns=("id", "a", "b", "gw"),
        widths=(4, 14, 12, 6),
    )
    batch = read(
        settings, b"c1  +447700900125 0812345678  th-1  ", b"c2                0812345678",
        b"c3  +447700900125",
    )  # fmt: skip
    assert parties(batch) == [("c1", "+447700900125", "0812345678"), ("c2", None, "0812345678")]
    assert [told.trunk for told in batch.key_fields] == ["th-1", None]
    assert refused(batch) == [(RejectReason.MISSING_FIELD, "2 columns where 3 are needed")]


def test_records_of_several_kinds_in_one_topic():
    """One column's value says which table reads a record; other kinds are no calls."""
    out = MappingSettings("csv", {"call_id": "1", "caller": "2", "callee": "3"})
    into = MappingSettings("csv", {"call_id": "1", "caller": "3", "callee": "2"})
    kinds = MappingSettings("csv", kinds={"0": {"MOC": "out", "MTC": "into"}})
    batch = read(kinds, b"MOC,1,a,b", b"MTC,2,a,b", b"SMS,3,a,b", b"MOC", out=out, into=into)
    assert parties(batch) == [("1", "a", "b"), ("2", "b", "a")]
    assert [reason for reason, _ in refused(batch)] == [
        RejectReason.OTHER_EVENT, RejectReason.MISSING_FIELD,
    ]  # fmt: skip
    a = MappingSettings("json", PATHS)
    b = MappingSettings("json", {**PATHS, "caller": "anum"})
    kinds = MappingSettings("json", kinds={"type": {"1": "a", "b": "b"}})
    batch = read(
        kinds, b'{"type":1,"id":"1","from":"x","to":"y"}',
        b'{"type":"b","id":"2","anum":"x","to":"y"}', b'{"id":"3"}', b"[]", a=a, b=b,
    )  # fmt: skip
    assert parties(batch) == [("1", "x", "y"), ("2", "x", "y")]
    with pytest.raises(ValueError, match=r"no table \[mappings.a\] without kinds"):
        dialect_named("mapping:m", {"m": kinds})
