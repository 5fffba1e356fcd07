"""A version that cannot be read in its feed's format: the reason says what the file is."""

import json
from pathlib import Path

import pytest

from stream.core.model.moments import rfc3339
from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.diff import REMOVED
from stream.feeds.feed import READING, Feed
from stream.feeds.formats.rows import Format
from stream.feeds.read import read_version
from stream.feeds.row_checks import Bounds
from tests.support.detect_corpus import NOW_S

BOUNDS = Bounds(codes=None, own=(), speaks_for=frozenset(), emergency=EmergencyNumbers({}))
FILES = {
    b"%PDF-1.4\n": "a PDF document: ask for the list as CSV",
    b"PK\x03\x04"
    + b"\0" * 26
    + b"xl/workbook.xml": "an Excel workbook (.xlsx): open it and export",
    b"name,city\nA,B\n": "no column is called number (or phone, msisdn, ...) in 'name,city'",
}


@pytest.mark.parametrize(("data", "why"), FILES.items(), ids=FILES.values())
def test_a_file_of_another_kind_is_called_what_it_is(data: bytes, why: str, tmp_path: Path) -> None:
    """Its sender can do something about that; that a PDF lacks a column helps nobody."""
    path = tmp_path / "version"
    path.write_bytes(data)
    feed = Feed(name="f", list_name="TH/x", owner="TH", contact="", format="csv", reading=READING)
    read = read_version(feed, path, tmp_path / "rejects", b"", BOUNDS, NOW_S)
    assert read.unreadable.startswith(why)
    assert not len(read.columns)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", ["stix", "misp"])
def test_an_object_that_is_taken_back_leaves_others_of_its_number(
    kind: Format, order: int, tmp_path: Path
) -> None:
    """An indicator was replaced by another, or an attribute made again: the number stays listed.

    One that only removals name goes.
    """
    held = [("+447700900101", False), ("+447700900101", True), ("+447700900102", True)][::order]
    path = tmp_path / "version"
    path.write_text(json.dumps(_stix(held) if kind == "stix" else _misp(held)))
    feed = Feed(name="f", list_name="GB/x", owner="GB", contact="", format=kind, reading=READING)
    columns = read_version(feed, path, tmp_path / "rejects", b"", BOUNDS, NOW_S).columns
    found = dict(zip(columns.number.tolist(), columns.category.tolist(), strict=True))
    assert found.pop(447700900102) == REMOVED
    assert found.keys() == {447700900101}
    assert REMOVED not in found.values()


def _stix(held: list[tuple[str, bool]]) -> object:
    objects = [
        {
            "type": "indicator",
            "id": f"indicator--{at}",
            "pattern": f"[phone-number:value = '{number}']",
            "valid_from": rfc3339(NOW_S - 60),
            "revoked": gone,
        }
        for at, (number, gone) in enumerate(held)
    ]
    return {"type": "bundle", "objects": objects}


def _misp(held: list[tuple[str, bool]]) -> object:
    attributes = [
        {"type": "phone-number", "value": number, "to_ids": True, "deleted": gone}
        for number, gone in held
    ]
    return {"Event": {"info": "x", "timestamp": str(NOW_S - 60), "Attribute": attributes}}
