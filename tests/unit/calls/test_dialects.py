"""Promises of the dialects: each golden sample is read as its neighbour says."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.dialect import whole
from stream.calls.dialects.mapping import MappingSettings
from stream.calls.dialects.switch import SwitchSettings

GOLDEN = Path(__file__).parents[2] / "golden" / "cdr"
CASES = sorted(path.parent for path in GOLDEN.rglob("expected.json"))


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
    """A switch's record, as it wrote it, is read as `expected.json` says, glance and whole call."""
    (sample,) = case.glob("input.*")
    value = sample.read_bytes().rstrip(b"\n")
    expected = json.loads((case / "expected.json").read_text())
    dialect = dialect_of(case)
    assert dialect.started_at_s(value) == expected["started_at_s"]
    glance = dialect.glance(value)
    assert expected == asdict(whole(glance, dialect.details(value)))
    assert [expected[key] for key in ("call_id", "caller", "callee", "trunk")] == [
        glance.call_id,
        glance.caller,
        glance.callee,
        glance.trunk,
    ]
    found = dialect.found(value)
    assert {"call_id", "caller", "callee"} <= found.keys()
    assert all(one.place for one in found.values())


def test_every_dialect_has_samples():
    """No dialect is known by its table alone: each was tried with its switch's records."""
    assert KNOWN.keys() <= {case.parent.name for case in CASES}


def test_an_unknown_dialect_is_named_beside_the_known_ones():
    """Whoever mistypes a dialect reads which there are."""
    settings = MappingSettings("csv", {"call_id": "0", "caller": "1", "callee": "2"})
    with pytest.raises(ValueError, match=r"'ringfense'.*ringfence, freeswitch.*mapping:<"):
        dialect_named("ringfense", {"acme": settings})
    with pytest.raises(ValueError, match=r"\[mappings.other\]; known: acme"):
        dialect_named("mapping:other", {"acme": settings})


PATHS = {"call_id": "id", "caller": "from", "callee": "to"}
WRONG = {
    "format": ({"format": "xml"}, "json or csv"),
    "delimiter": ({"format": "csv", "delimiter": ";;"}, "one character"),
    "unknown field": ({"fields": {**PATHS, "callid": "x"}}, "'callid' is no field of a call"),
    "lacking field": ({"fields": {"call_id": "id"}}, "where caller is; .*where callee is"),
    "twice": ({"fields": {**PATHS, "trunk": "t"}, "constants": {"trunk": "x"}}, "both"),
    "no column": ({"format": "csv"}, "no column is called 'id'"),
    "empty step": ({"fields": {**PATHS, "trunk": "a..b"}}, "no path"),
    "inside another": ({"fields": {**PATHS, "trunk": "from.trunk"}}, "from is a field and holds"),
    "same path": ({"fields": {**PATHS, "trunk": "from"}}, "same path"),
    "zone": ({"utc_offset": "ICT"}, r"like Asia/Bangkok, \+07:00 or Z"),
    "two zones": ({"utc_offset": "Z", "time_zone": "Z"}, "keep one"),
    "no zone": (
        {"time": "%Y-%m-%d", "fields": {**PATHS, "started_at": "start"}},
        "has no zone: time_zone says which",
    ),
    "pattern of nothing": ({"patterns": {"trunk": "x"}}, "patterns: 'trunk' is not in fields"),
    "no pattern": ({"patterns": {"caller": "("}}, "patterns: caller: .* is no regular expression"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_mapping_that_can_not_work_says_why(change, message):
    """All that is wrong is found when the configuration is read, not with the first call."""
    with pytest.raises(ValueError, match=message):
        MappingSettings(**{"format": "json", "fields": PATHS, **change})


def test_an_optional_field_in_an_object_that_is_absent_or_odd_costs_only_itself():
    """A path to a trunk may lead nowhere."""
    settings = MappingSettings("json", {**PATHS, "trunk": "sip.trunk.name"})
    dialect = dialect_named("mapping:m", {"m": settings})
    for odd in (b"", b',"sip":{}', b',"sip":null', b',"sip":[1]', b',"sip":{"trunk":7}'):
        value = b'{"id":"c","from":"1","to":null' + odd + b"}"
        assert dialect.glance(value).trunk is None
