"""Every dialect against anything, and with kernels as without; fields survive a round trip."""

import json
import tomllib
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st

from stream.calls.decode import decode
from stream.calls.detection.draft_mapping import mapping_draft
from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.dialect import SwitchSettings
from stream.calls.dialects.json_form import JsonDialect
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core import kernels
from tests.support.builders import raw_of
from tests.support.examples import examples

GOLDEN = Path(__file__).parents[1] / "golden" / "cdr"
SWITCHES = {
    "zone": SwitchSettings(time_zone="Asia/Bangkok"),
    "trunk": SwitchSettings("Z", trunk="t"),
}
DIALECTS = [
    dialect_named(f"{kind}:{switch}", {}, SWITCHES)
    for kind in KNOWN
    if kind != "ringfence"
    for switch in SWITCHES
]
SAMPLES = {
    kind: [path.read_bytes().rstrip(b"\n") for path in sorted((GOLDEN / kind).glob("*/input.*"))]
    for kind in KNOWN
}
ALL_SAMPLES = [sample for samples in SAMPLES.values() for sample in samples]
TRUNKS = Trunks("TH", {"t": Trunk("GB")})
SETTINGS = DecodeSettings(record_bytes_max=50_000, check_callee=True)


@st.composite
def changed(draw, samples=tuple(ALL_SAMPLES)):
    """A sample with bytes of it replaced, taken out or put in at some places."""
    value = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(value)))
        cut = draw(st.integers(0, 12))
        put = draw(st.sampled_from([b"", b'"', b"{", b"]", b",", b"null", b"7", b"\\", b"\xff"]))
        value = value[:at] + put + value[at + cut :]
    return value


def seen(batch):
    """All that a batch says, but for the wording of rejects."""
    key_fields = [batch.key_fields[index] for index in range(len(batch))]
    calls = [batch.call_of(index) for index in range(len(batch))]
    times = [batch.started_at_s(index) for index in range(len(batch))]
    assert times == [call.started_at_s for call in calls]
    assert [told.trunk for told in key_fields] == [call.trunk for call in calls]
    numbers = [(batch.callers.text(row), batch.callees.text(row)) for row in range(len(batch))]
    return (
        key_fields,
        calls,
        numbers,
        [(one.value, one.reason, one.detail) for one in batch.rejected],
    )


@given(
    dialect=st.sampled_from(DIALECTS),
    values=st.lists(changed() | st.binary(max_size=40), min_size=1, max_size=5),
)
@examples(100)
def test_any_bytes_are_calls_or_rejects_and_the_scan_changes_nothing(dialect, values):
    """Whatever the bytes: each is one call or one reject, the same with kernels and without."""
    raw = raw_of(*values)
    scanned = decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)
    by_row = [one.origin.offset - 10 for one in scanned.rejected]
    assert sorted([*by_row, *scanned.rows.tolist()]) == list(range(len(values)))
    with kernels.reference_only():
        assert seen(decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)) == seen(scanned)


@given(data=st.data(), dialect=st.sampled_from(DIALECTS))
def test_a_switchs_own_records_changed_a_little(data, dialect):
    """The same, of records that are nearly this switch's."""
    kind = dialect.name.partition(":")[0]
    values = data.draw(st.lists(changed(tuple(SAMPLES[kind])), min_size=1, max_size=5))
    raw = raw_of(*values)
    scanned = seen(decode(raw, {"calls": dialect}, TRUNKS, SETTINGS))
    with kernels.reference_only():
        assert seen(decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)) == scanned


def laid(record, path, value):
    """Put `value` at `path`."""
    *parents, last = path
    for step in parents:
        record = record.setdefault(step, {})
    record[last] = value


texts = st.text(max_size=20).filter(bool)


@given(
    dialect=st.sampled_from([each for each in DIALECTS if isinstance(each, JsonDialect)]),
    call_id=texts,
    caller=texts | st.none(),
    callee=texts | st.none(),
    ascii_only=st.booleans(),
)
def test_fields_survive_a_round_trip(dialect, call_id, caller, callee, ascii_only):
    """Values at the places of a switch's table are read letter for letter."""
    record: dict[str, object] = {}
    paths = dict(dialect.layout.paths)
    for key, value in (("call_id", call_id), ("caller", caller), ("callee", callee)):
        laid(record, paths[key], value)
    if dialect.layout.only is not None:
        laid(record, dialect.layout.only.path, dialect.layout.only.allowed[0])
    value = json.dumps(record, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    batch = decode(raw_of(value), {"calls": dialect}, TRUNKS, SETTINGS)
    if ascii_only or not any("\ud800" <= c <= "\udfff" for c in f"{call_id}{caller}{callee}"):
        (told,) = [batch.key_fields[index] for index in range(len(batch))]
        assert (told.call_id, told.caller, told.callee) == (call_id, caller, callee)


lines_of_text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1
).filter(lambda text: text.strip() == text)


def in_detail(text):
    """A text as FreeRADIUS writes it."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


@given(call_id=lines_of_text, caller=lines_of_text, callee=lines_of_text)
def test_texts_of_several_lines_and_of_xml_are_read_letter_for_letter(call_id, caller, callee):
    """Quotes, escapes, separators and markup within a value are the value's."""
    told = (call_id, caller, callee)
    lines = {
        "Acct-Multi-Session-Id": call_id,
        "Calling-Station-Id": caller,
        "Called-Station-Id": callee,
    }
    detail = "Wed Nov 25 15:02:03 2026\n\tAcct-Status-Type = Start\n" + "".join(
        f'\t{name} = "{in_detail(text)}"\n' for name, text in lines.items()
    )
    event = f"Event: Cdr\r\nSource: {caller}\r\nDestination: {callee}\r\nUniqueID: {call_id}\r\n"
    tags = {"caller_id_number": caller, "destination_number": callee}
    profile = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in tags.items())
    document = (
        f"<cdr><variables><uuid>{quote(call_id, safe='')}</uuid></variables>"
        f"<callflow><caller_profile>{profile}</caller_profile></callflow></cdr>"
    )
    for kind, value in (
        ("radius", detail), ("asterisk-ami-text", event), ("freeswitch-xml", document),
    ):  # fmt: skip
        read = dialect_named(f"{kind}:zone", {}, SWITCHES).key_fields(value.encode())
        if kind != "freeswitch-xml" or caller != callee:
            assert (read.call_id, read.caller, read.callee) == told, kind


@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=4, max_size=6),
    delimiter=st.sampled_from([",", ";", "||", "\t", "|"]),
    cells=st.lists(st.text(max_size=8) | st.sampled_from(["I", "O", "SMS", "1795593723000"])),
    as_json=st.booleans(),
)
def test_a_draft_of_anything_is_toml(names, delimiter, cells, as_json):
    """Whatever names and values a file has, its draft is a table, or there is none."""
    rows = [
        [f"+4477009001{row:02d}", f"08123456{row:02d}", *cells][: len(names)] for row in range(6)
    ]
    if as_json:
        lines = [json.dumps(dict(zip(names, row, strict=False))) for row in rows]
    else:
        lines = [delimiter.join(line) for line in [names, *rows]]
    draft = mapping_draft([line.encode("utf-8", "replace") for line in lines], "TH")
    assert not draft or tomllib.loads(draft)["mappings"]["NAME"]["format"] in ("json", "csv")


def test_the_usual_records_of_dialects_with_a_layout_are_scanned():
    """None of a dialect's documented records is left to the fallback decoder but for a reason."""
    left = {
        f"{dialect.name} {sample!r}"
        for dialect in DIALECTS
        if dialect.layout is not None
        for sample in SAMPLES[dialect.name.partition(":")[0]]
        if len(batch := decode(raw_of(sample), {"calls": dialect}, TRUNKS, SETTINGS))
        and batch.unscanned
    }
    # An attempt and a CDR that name their id otherwise, a cdr_custom file without linkedid, and a
    # row of Teams' calling plans, which has another id than those of direct routing. FreeSWITCH's
    # several profiles, withheld or equal numbers, and bodies of a POST. A name before the number,
    # and a URN in place of one.
    assert {name.partition(" ")[0] for name in left} == {
        "kamailio:zone", "kamailio:trunk", "asterisk-kafka:zone", "asterisk-kafka:trunk",
        "cgrates:zone", "cgrates:trunk", "teams:zone", "teams:trunk",
        "freeswitch:zone", "freeswitch:trunk", "3gpp:zone", "3gpp:trunk",
    }  # fmt: skip
    assert len(left) == 24
