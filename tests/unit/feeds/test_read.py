"""A version that cannot be read in its feed's format: the reason says what the file is."""

from pathlib import Path

import pytest

from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.feed import READING, Feed
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
