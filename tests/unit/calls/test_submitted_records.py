"""A file's look says what ends its records, and each record is cut whole."""

import json
import time
from pathlib import Path

import pytest

from stream.calls.dialects import KNOWN, framing_in
from stream.calls.submitted_records import Framing, RecordSplitter, cut, framing_of, records_in

GOLDEN = Path(__file__).parents[2] / "golden" / "cdr"
DOCUMENT = (GOLDEN / "freeswitch-xml" / "a-leg" / "input.xml").read_bytes()
DETAIL = (GOLDEN / "radius" / "cisco-start" / "input.txt").read_bytes()
JSON_LINE = (GOLDEN / "radius" / "json-simple" / "input.json").read_bytes() + b"\n"


@pytest.mark.parametrize("kind", KNOWN)
def test_samples_look_as_their_dialect_is_framed(kind: str) -> None:
    """A file of any switch is cut by its look as by its dialect's name, twice over as once."""
    for path in sorted((GOLDEN / kind).glob("*/input.*")):
        value = path.read_bytes().strip()
        if value.startswith(b"cdr=") or not (path.parent / "expected.json").exists():
            continue
        assert cut(value, framing_in(kind)) == [value], path
        # Records in BER say their length; nothing may stand between them.
        if framing_in(kind) not in (Framing.LINES, Framing.BER):
            assert records_in(value + b"\n\n" + value + b"\n") == [value, value], path


def test_only_the_first_lines_say_what_a_file_is() -> None:
    """CSV that has such words somewhere in its cells stays a record a line."""
    assert framing_of(b'"Event: Cdr",1\n"a",2\n') is Framing.LINES
    assert framing_of(b"\xef\xbb\xbf<cdr>\n") is Framing.XML
    assert framing_of(b"Event: Cdr\r\n") is Framing.BLOCKS
    assert framing_of(DETAIL) is Framing.BLOCKS
    assert framing_of(b'{"a":1}\n') is Framing.LINES
    assert framing_of(b"") is Framing.LINES


def test_a_torn_record_waits_where_it_begins() -> None:
    """The place stays at the record's first line until its end has come."""
    splitter = RecordSplitter(0, 1, 10_000, Framing.BLOCKS)
    data = DETAIL + b"\n" + DETAIL[:100]
    (first,) = splitter.feed(data)
    assert first.value == DETAIL.rstrip()
    assert (splitter.at, splitter.unfinished) == (len(DETAIL) + 1, 100)
    assert splitter.number == data[: splitter.at].count(b"\n") + 1
    (second,) = splitter.feed(DETAIL[100:] + b"\n")
    assert (second.at, second.value) == (len(DETAIL) + 1, first.value)
    assert splitter.rest() == []


def test_json_lines_between_blocks_are_records() -> None:
    """A RADIUS server may write both forms into one file."""
    mixed = JSON_LINE + DETAIL + b"\n" + JSON_LINE + JSON_LINE
    line = JSON_LINE.strip()
    assert cut(mixed, Framing.BLOCKS) == [line, DETAIL.strip(), line, line]


def test_documents_behind_one_another_are_cut_at_their_ends() -> None:
    """Also on lines that end with CR, and with empty lines in a document and between two."""
    pretty = DOCUMENT.replace(b"<variables>", b"<variables>\n\n").replace(b"\n", b"\r\n").strip()
    assert cut(pretty + b"\r\n\r\n" + pretty + b"\r\n", Framing.XML) == [pretty, pretty]


def test_a_record_without_an_end_fills_no_memory() -> None:
    """Only its first bytes are kept; it is returned as too long, and the next one is whole."""
    splitter = RecordSplitter(0, 1, 100, Framing.BLOCKS)
    for _ in range(50):
        assert splitter.feed(b"\tName = 1\n" * 1000) == []
    assert len(splitter._held) <= 100
    long, short = splitter.feed(b"\n\tA = 1\n\n")
    assert (len(long.value), long.size) == (100, 500_000)
    assert short.value == b"\tA = 1"


@pytest.mark.parametrize(("start", "framing"), [(b"<cdr>", "XML"), (b"Event: Cdr", "BLOCKS")])
def test_a_record_of_very_many_lines_takes_linear_time(start: bytes, framing: str) -> None:
    """The server of an HTTP body answers nobody else while it cuts: this took 18 s of CPU."""
    record = start + (b"\n" + b"a" * 80) * 50_000
    began_s = time.process_time()
    assert cut(record, Framing[framing]) == [record]
    assert time.process_time() - began_s < 4


@pytest.mark.parametrize("head", [b"[", b'{\n"a":'])
def test_json_that_is_nested_too_deep_stays_lines_for_the_dialect(head: bytes) -> None:
    """A folder with such a file stopped `ringfence ingest` again at each start."""
    deep = head + b"[" * 100_000
    assert records_in(deep) == deep.split(b"\n")


@pytest.mark.parametrize("joined", ["{}", "[{}]"], ids=["objects", "an array"])
@pytest.mark.parametrize("lost", [1, 4, 30])
def test_a_torn_end_costs_the_last_record_alone(joined: str, lost: int) -> None:
    """A switch that crashed, or a full disk, left it: all calls of the file became rejects else."""
    records = [
        json.dumps({"call_id": one, "caller": "+447700900101"}, indent=1) for one in ("á", "b", "c")
    ]
    text = joined.format((",\n" if joined[0] == "[" else "\n").join(records)).encode()
    assert records_in(text) == [one.encode() for one in records]
    *whole, torn = records_in(text[: -lost - joined.count("]")])
    assert whole == [one.encode() for one in records[:2]]
    assert torn == records[2].encode()[:-lost].strip()


def test_lines_and_objects_over_lines_are_told_apart() -> None:
    """A torn line costs itself alone; objects may follow lines."""
    assert records_in(b'{"a": 1}\n{"a":\n1}') == [b'{"a": 1}', b'{"a":\n1}']
    assert records_in(b'{"a": 1}\n{"a":\n{"a": 2}') == [b'{"a": 1}', b'{"a":', b'{"a": 2}']
    assert records_in(b'[{"a": 1},{"a":},{"a": 2}]') == [b'{"a": 1}', b'{"a":},{"a": 2}]']
    assert records_in(b'[{"a": 1}]\n[{"a": 2}]') == [b'[{"a": 1}]', b'[{"a": 2}]']


def test_a_torn_record_of_many_attributes_is_no_record_each() -> None:
    """FreeRADIUS writes an array of attributes for each record."""
    torn = b'[{"name": "User-Name",\n"value": "a"},\n{"name": "Called'
    assert records_in(torn) == torn.split(b"\n")
