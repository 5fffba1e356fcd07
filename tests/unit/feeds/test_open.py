"""Files that are no text, and the file of rejected rows. Encodings: test_parse_files."""

import csv
from pathlib import Path

import pytest

from stream.core.model import csv_cells
from stream.feeds.formats.rows import InputUnreadable, RejectedRow, Wrong
from stream.feeds.open import format_of, read_rows
from stream.feeds.version_files import Rejects


def numbers(path: Path) -> list[str | None]:
    rows = read_rows(path, "csv")
    return [number for chunk in rows for number in chunk.number]


def test_a_wrong_byte_costs_no_other_row(tmp_path):
    """A file in an old Thai encoding loads its numbers."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"number,source\n+66812345678,\xca\xd2\xc2\n+66812345679,a\n")
    assert numbers(path) == ["+66812345678", "+66812345679"]


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0\0", b"\xd0\xcf\x11\xe0\0\1\0\0\0\2"])
def test_what_is_no_text_is_refused(tmp_path, data):
    """A spreadsheet's own file is refused as a whole, with what to do."""
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(InputUnreadable, match="UTF-8"):
        numbers(path)


def test_formats_by_name():
    """The name's end says the format; without one it is text."""
    found = [format_of(Path(name)) for name in ("a.CSV", "b.jsonl", "c.txt", "d")]
    assert found == ["csv", "jsonl", "text", "text"]


def test_rejects_are_kept_with_their_reason(tmp_path):
    """The file names line, reason, value, what to do and the row as it came, odd bytes included."""
    path = tmp_path / "r.csv"
    with Rejects(path).open() as rejects:
        rejects.add([RejectedRow(7, Wrong.BAD_DATE, "x", '1,"\udcca\n"')])
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["line"], row["reason"], row["row"]) == ("7", "bad_date", '1,"\udcca\n"')


def test_without_rejects_there_is_no_file(tmp_path):
    """A clean run leaves no file, and removes that of an earlier one."""
    path = tmp_path / "r.csv"
    path.write_text("old")
    with Rejects(path).open():
        pass
    assert not path.exists()


def test_a_rejected_formula_is_kept_as_a_text(tmp_path: Path) -> None:
    """A partner's cell that a spreadsheet would run is kept, marked, and read back as it was."""
    formula = "=cmd|' /C calc'!A0"
    path = tmp_path / "rejects.csv"
    with Rejects(path).open() as kept:
        kept.add([RejectedRow(3, Wrong.NOT_A_NUMBER, formula, f"{formula},spam")])
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row["value"] == f"'{formula}"
    assert row["row"] == f"'{formula},spam"
    assert csv_cells.plain(row["value"]) == formula


def test_a_fault_is_not_its_own_cause(tmp_path: Path) -> None:
    """The chain of causes of a fault ends: a job hung on one that did not."""
    path = tmp_path / "feed.txt"
    path.write_bytes(b"\0\1\2" * 1000)
    with pytest.raises(InputUnreadable) as caught:
        list(read_rows(path, "text"))
    seen: list[BaseException | None] = []
    cause: BaseException | None = caught.value
    while cause is not None:
        assert not any(cause is one for one in seen)
        seen.append(cause)
        cause = cause.__cause__
