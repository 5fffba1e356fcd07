"""CSV as spreadsheets and databases write it.

The delimiter (`,` `;` tab `|`) and the header are given, or found from the first lines. A quoted
field may have delimiters and line ends. A quote that is never closed costs its own row, not the
rest of the file.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream.core.model import csv_cells
from stream.core.numbers.spelling import folded
from stream.feeds.detection.column_names import NEVER, Says, says
from stream.feeds.detection.lookalikes import ColumnTally, looks_like_number
from stream.feeds.formats.byte_columns import ByteColumn, LineBytes, fields_of
from stream.feeds.formats.rows import (
    COLUMN_FIELDS,
    ColumnsUnknown,
    InputUnreadable,
    Lines,
    RejectedRow,
    Rows,
    Wrong,
    range_text,
)

DELIMITERS = ",;\t|"
_TITLES_MAX = 20
"""Lines among which the header of a table is."""
_LOOKED_AT = 100
"""First lines, which show the delimiter, and the column of the numbers if no name does."""
SPAN_MAX = 20
"""Lines of one quoted field: an open quote must not swallow the file."""

NAMES: Mapping[str, str] = {
    **{field: field for field in COLUMN_FIELDS},
    **dict.fromkeys(("phone", "phone_number", "phonenumber", "telephone", "tel"), "number"),
    **dict.fromkeys(("msisdn", "e164", "caller", "caller_id", "cli"), "number"),
    **dict.fromkeys(("company_phone_number", "telephone_number", "mobile"), "number"),
    **dict.fromkeys(("type", "scam_type"), "category"),
    **dict.fromkeys(("reporter", "origin", "reported_by"), "source"),
    **dict.fromkeys(("reported", "date", "created_at", "created_date"), "reported_at"),
    **dict.fromkeys(("expires", "expiry", "valid_until"), "expires_at"),
    "score": "confidence",
}
"""Known names of columns, in lower case with `_` for blanks, and their fields."""


@dataclass(frozen=True, slots=True)
class CsvShape:
    """The layout of a file: delimiter, the column of each field, lines before the first row."""

    delimiter: str
    columns: Mapping[str, int]
    skipped: int


def shape_of(
    lines: Lines,
    names: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
    delimiter: str = "",
) -> CsvShape:
    """Return the layout of a file that begins with `lines`; `names` are its columns, if given.

    Columns with empty names are passed over. `mapping` gives the column of each field, by its
    header (or its name in `names`) or counted from 1; other fields are not read. Raises
    ColumnsUnknown if no column can be the numbers, InputUnreadable if one that `mapping` names is
    absent.
    """
    skipped = 0
    if not delimiter and lines and lines[0].lower().startswith("sep=") and len(lines[0]) == 5:
        delimiter, skipped = lines[0][4], 1  # Excel's own note of its delimiter
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    first = lines[skipped] if skipped < len(lines) else ""
    delimiter = delimiter or delimiter_of(lines[skipped : skipped + _LOOKED_AT])
    cells = next(csv.reader([first], delimiter=delimiter), [])
    if mapping:
        mapped, has_header = _mapped(names or cells, mapping, cells)
        below = _header_below(lines[skipped : skipped + _TITLES_MAX], delimiter, mapped["number"])
        return CsvShape(delimiter, mapped, skipped + max(below, has_header))
    header = _columns(cells)
    if names is not None:
        given = _columns(names)
        if "number" not in given:
            raise InputUnreadable(f"the columns given are {', '.join(names)}: none is `number`")
        return CsvShape(delimiter, given, skipped + bool(header))
    if "number" in header:
        return CsvShape(delimiter, header, skipped + 1)
    likely = [] if header else _likely(lines[skipped : skipped + _LOOKED_AT], delimiter)
    named = [cells[at] if at < len(cells) else "" for at in likely]
    excluded = [name for name in named if says(name) in _NOT_BY_LOOKS]
    if len(likely) == 1 and not excluded:
        is_name = not any(char.isdigit() for char in named[0])
        return CsvShape(delimiter, {"number": likely[0]}, skipped + is_name)
    why = "no column is called number (or phone, msisdn, ...)"
    if len(likely) > 1:
        places = " and ".join(str(at + 1) for at in likely)
        why = f"the columns {places} may both be the numbers"
    elif excluded:
        what = says(excluded[0]).value
        why += f"; {excluded[0].strip()!r} has digits like those, but is named as {what},"
    raise ColumnsUnknown(
        f"{why} in {first[:80]!r}: call the column of the numbers `number`, or name the columns: "
        "[columns] in the feed's file"
    )


_NOT_BY_LOOKS = NEVER | {Says.UNSURE}
"""Names of columns that only a person may declare to be the numbers, whatever their texts."""


def delimiter_of(lines: Lines) -> str:
    """Return the delimiter that gives most of the first lines the same number of columns.

    A title above the table, or commas in texts, must not decide.
    """
    first = next((line for line in lines if line.strip()), "")
    widths = {
        mark: Counter(line.count(mark) for line in lines if line.strip()) for mark in DELIMITERS
    }

    def weight(mark: str) -> tuple[int, int]:
        alike = max((n for count, n in widths[mark].items() if count), default=0)
        return alike, first.count(mark)

    return max(DELIMITERS, key=weight)


def _likely(lines: Lines, delimiter: str) -> list[int]:
    """Return the columns of a table without a header that look like numbers.

    A column of dates or of consecutive ids has enough digits, and would list innocent numbers.
    """
    try:
        records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
    except csv.Error:  # a field that never ends: reading will say in which row
        return []
    found = []
    for at in range(max(map(len, records), default=0)):
        texts = [record[at].strip() for record in records if at < len(record)]
        tally = ColumnTally()
        tally.add(texts)
        numbers = sum(map(looks_like_number, texts))
        if numbers and 2 * numbers >= tally.texts and tally.looks() is None:
            found.append(at)
    return found


def _mapped(
    names: Sequence[str], mapping: Mapping[str, str | int], cells: Sequence[str]
) -> tuple[dict[str, int], bool]:
    """Return the columns of `mapping` by their `names`, and whether `cells` are a header."""
    if "number" not in mapping:
        raise InputUnreadable(f"columns names {', '.join(mapping)}: none is `number`")
    if any(place < 1 for place in mapping.values() if isinstance(place, int)):
        raise InputUnreadable("columns counts from 1: the first column is 1")
    header = {folded_name(name): at for at, name in reversed(list(enumerate(names)))}
    columns, absent = {}, []
    for field, place in mapping.items():
        if isinstance(place, int):
            columns[field] = place - 1
        elif folded_name(place) in header:
            columns[field] = header[folded_name(place)]
        else:
            absent.append(place)
    if absent:
        raise InputUnreadable(
            f"the header has no column {' or '.join(map(repr, absent))}: it is "
            f"{', '.join(names)[:200]!r}; name the columns as it does, or count them from 1"
        )
    if len(set(columns.values())) < len(columns):
        raise InputUnreadable("columns means one column with two names")
    named = names is cells and any(isinstance(place, str) for place in mapping.values())
    number = columns["number"]
    digits = sum(c.isdigit() for c in cells[number]) if number < len(cells) else 0
    return columns, named or (bool(cells) and digits < 3)


def _header_below(lines: Lines, delimiter: str, number: int) -> int:
    """Return the count of lines down to a header below titles; 0: there is none.

    Offices put titles above a table, and a column is given by its place then. The header has a
    word for the numbers, and no digits stand above it: a row without a number is no header.
    """
    found = 0
    for at, line in enumerate(lines, 1):
        cells = next(csv.reader([line], delimiter=delimiter), [])
        cell = cells[number] if number < len(cells) else ""
        if sum(c.isdigit() for c in cell) > 2:
            break
        if says(cell) is not Says.NOTHING:
            found = at
    return found


def folded_name(cell: str) -> str:
    """Return a column's name in the form of `NAMES`."""
    return "_".join(folded(cell).casefold().replace("-", " ").replace("_", " ").split())


def _columns(cells: Sequence[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for i, cell in enumerate(cells):
        field = NAMES.get(folded_name(cell))
        if field is not None:
            columns.setdefault(field, i)
    return columns


def read(
    chunks: Iterable[Lines],
    names: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
    *,
    sheet: bool = False,
) -> Iterator[Rows]:
    """Yield the rows of a CSV file; `names` and `mapping` as for `shape_of`, which also raises.

    `sheet`: the lines are the rows of a spreadsheet, with tabs between cells.
    """
    source = iter(chunks)
    lines = head(source)
    if lines is None:
        return
    shape = shape_of(lines, names, mapping, "\t" if sheet else "")
    letters = {name: letters_of(place) for name, place in shape.columns.items()} if sheet else {}
    first = 1 + shape.skipped
    lines = lines[shape.skipped :]
    while lines is not None:
        rows, used = _read(lines, shape, first, source)
        yield replace(rows, letters=letters) if sheet else rows
        first += used
        lines = next(source, None)


def letters_of(place: int) -> str:
    """Return a spreadsheet's letters of a column counted from 0: A, Z, AA."""
    text, place = "", place + 1
    while place:
        place, rest = divmod(place - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def head(source: Iterator[Lines]) -> Lines | None:
    """Return enough first lines for `shape_of`, however small the chunks are."""
    lines = next(source, None)
    while lines is not None and len(lines) < _LOOKED_AT:
        more = next(source, None)
        if more is None:
            break
        if isinstance(lines, LineBytes) and isinstance(more, LineBytes):
            lines = LineBytes(lines.data + more.data)
        else:
            lines = [*lines, *more]
    return lines


def _read(lines: Lines, shape: CsvShape, first: int, source: Iterator[Lines]) -> tuple[Rows, int]:
    """Return the rows of some lines, and the count of lines: a quoted row may need more."""
    fields: dict[str, Any] | None = fields_of(lines, shape.delimiter, shape.columns)
    if fields is not None:
        whole = fields.pop("")
        _join_ranges(fields)
        for name in _WORDS & fields.keys():
            fields[name] = _unmarked(fields[name])
        return Rows(range(first, first + len(whole)), whole, **fields), len(whole)
    if '"' in "\n".join(lines):
        numbers, records, rejected, used = _quoted(lines, shape.delimiter, first, source)
    else:
        records = list(csv.reader(lines, delimiter=shape.delimiter))
        numbers, rejected, used = list(range(first, first + len(lines))), [], len(lines)
    return _rows(numbers, records, rejected, shape.columns), used


def _quoted(
    lines: Lines, delimiter: str, first: int, source: Iterator[Lines]
) -> tuple[list[int], list[list[str]], list[RejectedRow], int]:
    """Return line numbers, records and rejected rows of lines with quotes, and their count.

    A record that is open at the end of `lines` goes on in the next chunk. Reading is strict: a
    quote that ends inside a field was opened inside another, and would hide the rows between.
    """
    numbers: list[int] = []
    records: list[list[str]] = []
    rejected: list[RejectedRow] = []
    feed = _Feed(lines, source)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while feed.begin():
        start = feed.at
        try:
            record = next(reader)
        except (csv.Error, _Unclosed) as error:
            detail = str(error) or "a quote is opened and not closed"
            rejected.append(RejectedRow(first + start, Wrong.UNREADABLE, detail, feed.lines[start]))
            feed.at = start + 1
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        else:
            numbers.append(first + start)
            records.append(record)
    return numbers, records, rejected, len(feed.lines)


class _Unclosed(Exception):
    """A quote is opened and not closed. Never leaves this module."""


class _Feed:
    """Lines for a csv.reader, one record at a time."""

    def __init__(self, lines: Lines, source: Iterator[Lines]) -> None:
        self.lines = list(lines)  # each line is asked for many times, and so is their number
        self.at = 0
        self._source = source
        self._start = 0

    def begin(self) -> bool:
        """Begin another record; return False if no line is left in the chunk."""
        self._start = self.at
        return self.at < len(self.lines)

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self.at - self._start >= SPAN_MAX:
            raise _Unclosed
        if self.at == len(self.lines):
            more = next(self._source, None)
            if more is None:
                raise _Unclosed
            self.lines.extend(more)
        line = self.lines[self.at]
        self.at += 1
        return f"{line}\n"


def _rows(
    lines: list[int],
    records: list[list[str]],
    rejected: list[RejectedRow],
    columns: Mapping[str, int],
) -> Rows:
    width = max(columns.values()) + 1
    if records and min(map(len, records)) < width:
        kept = [i for i, record in enumerate(records) if record]  # blank lines are no rows
        lines, records = [lines[i] for i in kept], [records[i] for i in kept]
        records = [record + [""] * (width - len(record)) for record in records]
    found: dict[str, Any] = {name: [record[i] for record in records] for name, i in columns.items()}
    _join_ranges(found)
    for name in _WORDS & found.keys():
        found[name] = [csv_cells.plain(text) for text in found[name]]
    return Rows(lines=lines, originals=records, unreadable=tuple(rejected), **found)


def _join_ranges(fields: dict[str, Any]) -> None:
    """Make one column of the two ends of ranges. Rows with one number keep its text."""
    if "number_to" in fields:
        ends = fields.pop("number_to")
        pairs = zip(fields["number"], ends, strict=True)
        fields["number"] = [range_text(first, last) for first, last in pairs]


_WORDS = frozenset({"category", "source"})
"""Columns of words. Our own files mark a word that a spreadsheet would read as a formula."""


def _unmarked(column: ByteColumn) -> ByteColumn | list[str]:
    """Return the texts without such marks; the column itself if it has none."""
    held = column.texts
    if not ((held.data[held.starts] == ord("'")) & (held.sizes > 0)).any():
        return column
    return [csv_cells.plain(text) for text in column]
