"""Cells of CSV files, which people open in spreadsheets: no text in them becomes a formula.

A partner's text that begins with `=` runs when the file is opened. It can send other cells away, or
start a program (OWASP, "CSV Injection"). So such a text gets a `'` before it, in every CSV file
that we write. `plain` takes it off again, so what one Ringfence writes another reads unchanged.
"""

import csv
import io
from collections.abc import Iterable
from typing import Final

_FORMULA: Final = frozenset("=+-@\t\r\n＝＋－＠")
_MARK: Final = "'"
_MARKED: Final = _FORMULA | {_MARK}
_STARS: Final = "*"


def cell(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    first, second = value[:1], value[1:2]
    # A text that looks marked already is marked again: else `plain` would take off too much.
    marked = first in _FORMULA or (first == _MARK and second in _MARKED)
    return f"{_MARK}{value}" if marked else value


def cell_of_list(value: object) -> object:
    """Return the same; a number or prefix (`+66812345678`, `+6681*`) stays: programs read lists."""
    if isinstance(value, str) and value.startswith("+"):
        digits = value[1:].removesuffix(_STARS)
        if digits.isascii() and digits.isdigit():
            return value
    return cell(value)


def plain(text: str) -> str:
    """Return the text that a cell was made of."""
    return text[1:] if text[:1] == _MARK and text[1:2] in _MARKED else text


def lines(rows: Iterable[Iterable[object]], end: str = "\n") -> str:
    """Rows of cells as CSV (RFC 4180), each ended by `end`; the cells are safe already."""
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerows(rows)
    return out.getvalue()
