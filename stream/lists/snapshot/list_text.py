"""Lists and their differences as text: columns in, pieces of a file out. Pure.

Rows become text ten thousand at a time, so a million rows are written in seconds.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.model import csv_cells
from stream.core.model.entry import FIELDS, NEVER, Category, Columns, text_of
from stream.lists.snapshot.merge import VersionDiff

ExportFormat = Literal["text", "csv", "jsonl"]
DiffFormat = Literal["text", "json", "csv"]
_ROWS = 10_000
"""Rows written at once: bounds memory, whatever the size of the list."""
_WAS = FIELDS[1:2] + FIELDS[3:]
"""Fields of a report that can change: all but number and source."""
Row = tuple[str | int | None, ...]


def export(columns: Columns, kind: ExportFormat) -> Iterator[str]:
    """Yield the file, piece by piece; `lists import` reads it again.

    CSV and JSON lines have a row for each report, text a line for each number. An entry of which
    only the fingerprint is known cannot be named and is left out.
    """
    if kind == "csv":
        yield ",".join(FIELDS) + "\n"
    wanted = columns.number != 0
    if kind == "text":
        wanted &= columns.begins
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), _ROWS):
        found = _rows(columns, rows[start : start + _ROWS])
        if kind == "text":
            yield "".join(f"{row[0]}\n" for row in found)
        elif kind == "jsonl":
            lines = (dict(zip(FIELDS, row, strict=True)) for row in found)
            yield "".join(f"{msgspec.json.encode(line).decode()}\n" for line in lines)
        else:
            yield csv_cells.lines(map(csv_cells.cell_of_list, row) for row in found)


def written(found: VersionDiff, kind: DiffFormat) -> Iterator[str]:
    """Yield the difference as text, CSV with a header, or one JSON object a line, piece by piece.

    Removed reports come first, then changed ones, then added ones. A number of which only the
    fingerprint is known is written as `fingerprint:<16 hex digits>`.
    """
    write: Callable[[str, list[Row], list[Row] | None], str] = {
        "text": _text,
        "json": _json,
        "csv": _csv,
    }[kind]
    if kind == "csv":
        yield ",".join(("change", *FIELDS, *(f"was_{name}" for name in _WAS))) + "\n"
    for start in range(0, len(found.removed), _ROWS):
        yield write("removed", _rows(found.old, found.removed[start : start + _ROWS]), None)
    before, after = found.changed
    for start in range(0, len(before), _ROWS):
        was = _rows(found.old, before[start : start + _ROWS])
        yield write("changed", _rows(found.new, after[start : start + _ROWS]), was)
    for start in range(0, len(found.added), _ROWS):
        yield write("added", _rows(found.new, found.added[start : start + _ROWS]), None)


def _rows(columns: Columns, rows: NDArray[np.int64]) -> list[Row]:
    """Return rows as the fields of an exported file."""
    labels = {int(category): category.label for category in Category}
    fields = (
        [
            text_of(code) or f"fingerprint:{fingerprint:016x}"
            for code, fingerprint in zip(
                columns.number[rows].tolist(), columns.fingerprint[rows].tolist(), strict=True
            )
        ],
        [labels.get(value, "other") for value in columns.category[rows].tolist()],
        [columns.sources[place] for place in columns.source[rows].tolist()],
        _moments(columns.reported_at[rows]),
        _moments(columns.expires_at[rows]),
        columns.confidence[rows].tolist(),
    )
    return list(zip(*fields, strict=True))


def _moments(seconds: NDArray[np.uint32]) -> list[str | None]:
    texts = np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s").tolist()
    never = (seconds == NEVER).tolist()
    return [None if no else f"{text}Z" for text, no in zip(texts, never, strict=True)]


def _text(change: str, rows: list[Row], was: list[Row] | None) -> str:
    mark = {"added": "+", "removed": "-", "changed": "~"}[change]
    if was is None:
        return "".join(f"{mark} {row[0]}  {_told(row)}, from {row[2]}\n" for row in rows)
    return "".join(
        f"{mark} {row[0]}  {_told(row)}, from {row[2]}; was {_told(old)}\n"
        for row, old in zip(rows, was, strict=True)
    )


def _told(row: Row) -> str:
    _, category, _, reported, expires, confidence = row
    until = f"until {expires}" if expires else "no expiry"
    return f"{category} {confidence}, reported {reported}, {until}"


def _json(change: str, rows: list[Row], was: list[Row] | None) -> str:
    lines = []
    for place, row in enumerate(rows):
        line: dict[str, Any] = {"change": change, **dict(zip(FIELDS, row, strict=True))}
        if was is not None:
            line["was"] = dict(zip(_WAS, _without_name(was[place]), strict=True))
        lines.append(f"{msgspec.json.encode(line).decode()}\n")
    return "".join(lines)


def _csv(change: str, rows: list[Row], was: list[Row] | None) -> str:
    nothing: Row = ("",) * len(_WAS)
    whole = (
        (change, *row, *(nothing if was is None else _without_name(was[place])))
        for place, row in enumerate(rows)
    )
    return csv_cells.lines(map(csv_cells.cell_of_list, row) for row in whole)


def _without_name(row: Row) -> Row:
    """Return the fields of a report that can change: all but number and source."""
    return (row[1], *row[3:])
