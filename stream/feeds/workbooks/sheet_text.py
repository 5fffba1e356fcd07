"""A program: write one sheet of a workbook as lines of text, within limits of memory and CPU.

    python -P sheet_text.py PATH SHEET ROWS_MAX

The first line is JSON, the names of the workbook's visible sheets. Each further line is one row of
the sheet, its cells between tabs: `ROWS_MAX` rows at most, -1: all of them. It imports nothing of
ours, so that it starts quickly. A workbook is foreign bytes. One that unpacks without end, or puts
one cell into the last of 16 billion, ends this process and no other.
"""

import json
import os
import resource
import sys
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta

MEMORY_MAX = 3 << 30
"""Bytes of address space. The largest sheet of numbers, a million rows, takes about one GB."""
CPU_S_MAX = 240
"""Seconds of CPU for any workbook."""
_CPU_S = 10
"""Seconds of CPU for a small one: the program's start takes one on a slow machine."""
_BYTES_A_CPU_S = 2 << 20
"""Further bytes that are read in a second of CPU, a twentieth of the measured rate. calamine never
ends on some damaged files of 2 KB, which would otherwise take a core for minutes."""
UNPACKED_MAX = 4 << 30
"""Bytes of a workbook's parts, as its directory says."""
UNREADABLE = 3
"""Exit code where the file is no workbook that can be read; stderr says why."""
NO_SHEET = 4
"""Exit code where the sheet is not there, or has to be named; stdout has the names."""
_WHOLE_MAX = 1e15
"""A spreadsheet keeps 15 digits: a larger number has lost some."""
_LARGE = 1e6
_OUT = str.maketrans({"\t": " ", "\r": None, "\n": ", ", "\v": " ", "\f": " ", "\0": None})
"""A line end in a cell separates two numbers, and must not join them."""


class _Refused(Exception):
    """The file cannot be read; the text says why."""


def _limit(size: int) -> None:
    """Limit this process, which reads `size` bytes, also where its parent has stricter limits."""
    cpu_s = min(_CPU_S + size // _BYTES_A_CPU_S, CPU_S_MAX)
    for kind, most in ((resource.RLIMIT_AS, MEMORY_MAX), (resource.RLIMIT_CPU, cpu_s)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold whole numbers


def _size(path: str) -> int:
    """Return the bytes of a workbook's parts as its directory gives them, or of the file.

    Raises _Refused if they are too many. A directory that lies meets the limits instead.
    """
    if not zipfile.is_zipfile(path):
        return os.path.getsize(path)  # noqa: PTH202 -- pathlib would make the start slower
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > UNPACKED_MAX:
        raise _Refused(f"it unpacks to {size >> 20:,} MB: keep the sheet of numbers alone")
    return size


def _text(cell: object) -> str:
    """Return a cell as a text that loses nothing, or shows what the spreadsheet lost."""
    match cell:
        case str():
            text = cell.translate(_OUT)
            return '"' + text.replace('"', '""') + '"' if '"' in text else text
        case bool():
            return str(cell).upper()
        case float():
            if not abs(cell) < _WHOLE_MAX:  # also what is no number
                return f"{cell:.14E}"
            if cell.is_integer():
                return str(int(cell))
            return f"{cell:.2f}" if abs(cell) >= _LARGE else repr(cell)
        case datetime():
            return cell.isoformat(" ", "seconds")
        case date() | time():
            return cell.isoformat()
        case timedelta():
            return str(cell)
        case _:
            return "" if cell is None else str(cell)


def _lines(rows: Iterable[list[object]], rows_max: int) -> Iterator[str]:
    """Yield the rows as lines; a blank row is a blank line, so that lines count rows."""
    for at, row in enumerate(rows):
        if at == rows_max:
            return
        texts = [_text(cell) for cell in row]
        yield "\t".join(texts) if any(texts) else ""


def _place_of(wanted: str, names: list[str], visible: list[str]) -> int | None:
    """Return the sheet that is wanted by its name, or its place from 1; "": the only one."""
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    return names.index(visible[0]) if not wanted and len(visible) == 1 else None


def _main(path: str, wanted: str, rows_max: int) -> int:
    _limit(0)
    import python_calamine as calamine  # noqa: PLC0415 -- in this process alone

    try:
        _limit(_size(path))
        with open(path, "rb") as file:  # noqa: PTH123 -- by its bytes: names lie, .xls most of all
            book = calamine.CalamineWorkbook.from_filelike(file)
        shown = calamine.SheetVisibleEnum.Visible
        visible = [sheet.name for sheet in book.sheets_metadata if sheet.visible == shown]
        sys.stdout.write(json.dumps(visible) + "\n")
        place = _place_of(wanted, book.sheet_names, visible)
        if place is None:
            return NO_SHEET
        if not rows_max:
            return 0
        sheet = book.get_sheet_by_index(place)
        # Columns left of the first cell with something are given as blanks: places stay places.
        left: list[object] = [""] * (sheet.start[1] if sheet.start else 0)
        for line in _lines((left + row for row in sheet.iter_rows()), rows_max):
            sys.stdout.write(line + "\n")
    except calamine.PasswordError:
        raise _Refused("it is encrypted: save it without a password") from None
    except (calamine.CalamineError, zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise _Refused(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        code = _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        sys.stdout.flush()
    except _Refused as refused:
        sys.stderr.write(str(refused))
        code = UNREADABLE
    except BrokenPipeError:  # the reader has enough
        code = 0
    os._exit(code)
