"""A list's entries as others read them. Pure: columns in, pieces of a file out."""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from stream.core.model import csv_cells
from stream.core.model.entry import FIELDS, Columns, Entry
from stream.core.model.moments import rfc3339

ExportFormat = Literal["text", "csv", "jsonl"]
_ROWS = 10_000
"""Rows written at once: bounds memory, whatever the size of the list."""


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
    for start in range(0, len(columns), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(columns)))
        rows = rows[wanted[rows]]
        entries = [columns.entry(row) for row in rows.tolist()]
        yield _piece(entries, kind)


def _piece(entries: list[Entry], kind: ExportFormat) -> str:
    if kind == "text":
        return "".join(f"{entry.number}\n" for entry in entries)
    if kind == "jsonl":
        lines = (dict(zip(FIELDS, _values(entry), strict=True)) for entry in entries)
        return "".join(f"{msgspec.json.encode(line).decode()}\n" for line in lines)
    return csv_cells.lines(map(csv_cells.cell_of_list, _values(entry)) for entry in entries)


def _values(entry: Entry) -> tuple[str | int | None, ...]:
    return (
        entry.number,
        entry.category.label,
        entry.source,
        rfc3339(entry.reported_at_s),
        rfc3339(entry.expires_at_s),
        entry.confidence,
    )
