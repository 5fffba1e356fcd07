"""Workbooks (XLSX, XLS, ODS): one sheet, read as a table whose columns have letters.

`sheet_text.py` reads the file in a process of its own and gives the sheet as text. From there on a
sheet is read as CSV is. Dates are ISO 8601. A number of which the spreadsheet kept only 15 digits
is in scientific notation, so that its row is rejected with the reason.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Final

from stream.feeds.formats import csv
from stream.feeds.formats.byte_columns import line_bytes
from stream.feeds.formats.rows import InputUnreadable, Lines, Rows
from stream.feeds.workbooks import sheet_text

DELIMITER: Final = "\t"
TEXT_BYTES_MAX: Final = 1 << 30
"""Bytes of a sheet's text. One long text that a million cells share unpacks to far more."""
SHEETS_MAX: Final = 1_000
_PIECE: Final = 1 << 20
_WHY_CHARS: Final = 300  # characters of the reader's own words that an error shows
_ALL: Final = -1
HEAD_ROWS: Final = 1_000
"""Rows that are kept of the last sheets, since several steps read them. To read a sheet's first row
takes as long as to read all."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The names of a workbook's visible sheets, and the text of the chosen one."""

    names: tuple[str, ...]
    pieces: Iterator[bytes]


def read(
    path: Path,
    sheet: str = "",
    names: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
) -> Iterator[Rows]:
    """Yield the rows of a sheet; `names` and `mapping` are as for `csv.shape_of`.

    Raises InputUnreadable, also if the workbook has several sheets and `sheet` names none.
    """
    with _opened(path, sheet, _ALL) as found:
        yield from csv.read(line_bytes(found.pieces), names, mapping, sheet=True)


def sheets_of(path: Path) -> tuple[str, ...]:
    """Return the names of the visible sheets. Raises InputUnreadable if it is no workbook."""
    with _opened(path, "", 0, may_ask=True) as found:
        return found.names


def first_lines(path: Path, sheet: str, rows_max: int) -> Lines:
    """Return the first rows of a sheet, their cells between tabs. Raises InputUnreadable."""
    assert rows_max <= HEAD_ROWS, "more are not kept"
    try:
        state = path.stat()
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    return _head(path, sheet, (state.st_ino, state.st_mtime_ns, state.st_size))[:rows_max]


@lru_cache(maxsize=4)
def _head(path: Path, sheet: str, _: tuple[int, ...]) -> tuple[str, ...]:
    with _opened(path, sheet, HEAD_ROWS) as found:
        return tuple(line for lines in line_bytes(found.pieces) for line in lines)


@contextmanager
def _opened(path: Path, sheet: str, rows_max: int, *, may_ask: bool = False) -> Iterator[_Sheet]:
    """Open a sheet in a process of its own, which ends with the block.

    `may_ask`: it is no fault that the sheet has to be named.
    """
    words = [sys.executable, "-P", sheet_text.__file__, str(path), sheet, str(rows_max)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        try:
            names = _names(process, errors)
            pieces = _pieces(process, errors, names, "" if may_ask else sheet or "?")
            yield _Sheet(names, pieces)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _names(process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> tuple[str, ...]:
    assert process.stdout is not None
    first = process.stdout.readline(_PIECE)
    if not first.endswith(b"\n"):
        raise _fault(process, errors)
    return tuple(json.loads(first))[:SHEETS_MAX]


def _pieces(
    process: "subprocess.Popen[bytes]", errors: IO[bytes], names: Sequence[str], wanted: str
) -> Iterator[bytes]:
    """Yield the text of the sheet. Raises InputUnreadable where it does not come to its end."""
    assert process.stdout is not None
    size = 0
    for piece in iter(partial(process.stdout.read, _PIECE), b""):
        size += len(piece)
        if size > TEXT_BYTES_MAX:
            raise InputUnreadable(f"its text is more than {TEXT_BYTES_MAX >> 20} MB: refused")
        yield piece
    code = process.wait()
    if code == sheet_text.NO_SHEET and wanted:
        known = ", ".join(map(repr, names[:20])) or "it has none"
        what = "no sheet is named" if wanted == "?" else f"it has no sheet {wanted!r}"
        raise InputUnreadable(
            f"{what}: its sheets are {known}; say which has the numbers: --sheet (in a feed's "
            'file: sheet = "...")'
        )
    if code not in {0, sheet_text.NO_SHEET}:
        raise _fault(process, errors)


def _fault(process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> InputUnreadable:
    """Return why the program ended."""
    code = process.wait()
    errors.seek(0)
    said = errors.read(1 << 16).decode("utf-8", "replace").strip()
    if code == sheet_text.UNREADABLE:
        return InputUnreadable(f"a workbook that cannot be read: {said[:_WHY_CHARS]}")
    if code < 0 or "memory" in said.lower():
        text = (
            "a workbook that takes more memory or time than any list of numbers: refused; open it "
            "and save the sheet of numbers alone"
        )
        return InputUnreadable(text)
    return InputUnreadable("a damaged workbook: open it, save it again, or export it as CSV")
