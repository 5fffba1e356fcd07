"""The head of a table: its delimiter, titles above it, its names, and its first rows. Pure.

Offices put titles, dates and merged cells above their columns. Names on two lines are read as one.
In `ผู้แจ้ง` above `เบอร์โทร`, the upper one shows that the lower one is no number to block.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.feeds.detection.column_names import words_known
from stream.feeds.formats.csv import delimiter_of
from stream.feeds.formats.json_objects import BROKEN

_TITLE_ROWS_MAX = 15
_HEADER_ROWS_MAX = 3
_DEPTH_MAX = 4
"""Real feeds nest two or three objects. A hostile file nests without end."""


@dataclass(frozen=True, slots=True)
class TableHead:
    """A table's first lines. `names` has "" for columns without one.

    `names_in_file` are the names that a feed's `[columns]` may use. "": only a place from 1 works,
    since the header is not the first line, has two lines, or has a name twice.
    """

    delimiter: str
    names: tuple[str, ...]
    names_in_file: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    header_rows: int
    title_rows: int

    @property
    def told(self) -> str:
        """The finding as text for people."""
        head = "no header" if not self.header_rows else "a header"
        if self.header_rows > 1:
            head = f"a header of {self.header_rows} lines"
        title = f" below {self.title_rows} lines of title" if self.title_rows else ""
        return f"{len(self.names)} columns between {self.delimiter!r}, {head}{title}"


def head_of(lines: Sequence[str], delimiter: str = "") -> TableHead | None:
    """Return the head of a table that begins with `lines`; None: it is no table.

    `delimiter` "": found from the lines.
    """
    rows = [line for line in lines if line.strip()]
    if not delimiter and rows and rows[0].lower().startswith("sep=") and len(rows[0]) == 5:
        delimiter, rows = rows[0][4], rows[1:]
    if not rows:
        return None
    delimiter = delimiter or delimiter_of(rows[:100])
    try:
        records = [record for record in csv.reader(rows, delimiter=delimiter) if any(record)]
    except csv.Error:
        return None
    if not records:
        return None
    # Titles are short and unquoted commas make long rows: most rows have the table's width.
    width = max(Counter(map(len, records)).items(), key=lambda one: (one[1], one[0]))[0]
    table = [(record + [""] * width)[:width] for record in records]
    titles, head = _titles_and_head(table)
    body = table[titles + len(head) :] or table
    names = _joined(head, width)
    usable = len(head) == 1 and not titles
    counts = Counter(name.strip() for name in names)
    in_file = [name if usable and counts[name.strip()] == 1 else "" for name in names]
    return TableHead(
        delimiter=delimiter,
        names=names,
        names_in_file=tuple(name.strip() for name in in_file),
        columns=tuple(tuple(record[at] for record in body) for at in range(width)),
        header_rows=len(head),
        title_rows=titles,
    )


def names_in(lines: Sequence[str], delimiter: str = "") -> tuple[str, ...]:
    """Return the names of a table's columns; empty where `lines` are no table."""
    head = head_of(lines, delimiter)
    return head.names if head is not None else ()


def keys_in(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of keys in the first of some lines that is a JSON object."""
    for line in lines:
        try:
            value = msgspec.json.decode(line)
        except BROKEN:
            continue
        if isinstance(value, dict):
            return tuple(path for path, _ in leaves(value))
    return ()


def leaves(value: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the texts and numbers of a JSON object by their paths of keys."""
    for key, held in value.items():
        if isinstance(held, dict) and len(above) < _DEPTH_MAX:
            yield from leaves(held, (*above, key))
        elif isinstance(held, str | int | float) and not isinstance(held, bool):
            yield ".".join((*above, key)), str(held)


def _filled(record: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in record)


def _has_digits(record: Sequence[str], least: int) -> bool:
    return any(sum(c.isdigit() for c in cell) >= least for cell in record)


def _titles_and_head(table: Sequence[Sequence[str]]) -> tuple[int, list[Sequence[str]]]:
    """Return the count of rows above a table's header, and the rows of the header."""
    least = min(2, len(table[0]))
    for at, record in enumerate(table[:_TITLE_ROWS_MAX]):
        known = words_known(record)
        if known >= least and 2 * known >= _filled(record) and not _has_digits(record, 7):
            return at, _head_from(table, at)
    # No known words: a header is the line above digits, and has none.
    first = next(
        (
            at
            for at, record in enumerate(table[:_TITLE_ROWS_MAX])
            if _filled(record) >= least and _has_digits(record, 5)
        ),
        0,
    )
    titles = next((at for at in range(first) if _filled(table[at]) >= least), first)
    return titles, _head_from(table, titles) if titles < first else []


def _head_from(table: Sequence[Sequence[str]], at: int) -> list[Sequence[str]]:
    least = min(2, len(table[0]))
    head = [table[at]]
    for record in table[at + 1 : at + _HEADER_ROWS_MAX]:
        known = words_known(record)
        if _has_digits(record, 5) or _filled(record) < least or 2 * known < _filled(record):
            break
        head.append(record)
    return head


def _joined(head: Sequence[Sequence[str]], width: int) -> tuple[str, ...]:
    """Return the name of each column. A merged cell above belongs to the columns beside it too."""
    if not head:
        return ("",) * width
    upper = []
    for record in head[:-1]:
        last, spread = "", []
        for cell in record:
            last = cell.strip() or last
            spread.append(last)
        upper.append(spread)
    names = [
        " ".join(filter(None, (*(line[at] for line in upper), head[-1][at].strip())))
        for at in range(width)
    ]
    return tuple(names) if len(head) > 1 else tuple(head[-1])
