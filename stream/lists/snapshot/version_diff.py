"""Compare two versions of a list: reports added, removed and changed. Pure.

A report is known by its number's fingerprint and its source: one that another source makes of the
same number is another report. All of it is columns until it is text, ten thousand rows at a time,
so a million differences are written in seconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.model import csv_cells
from stream.core.model.entry import FIELDS, NEVER, Category, Columns, text_of

DiffFormat = Literal["text", "json", "csv"]
_ROWS = 10_000
"""Rows written at once: bounds memory, whatever the size of the difference."""
_SAID = ("number", "reported_at", "expires_at", "category", "confidence")
_WAS = FIELDS[1:2] + FIELDS[3:]
Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions, and the rows in them that differ; `changed` are pairs (old row, new row)."""

    old: Columns
    new: Columns
    added: NDArray[np.int64]
    removed: NDArray[np.int64]
    changed: tuple[NDArray[np.int64], NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed[0])


def difference(old: Columns, new: Columns) -> Difference:
    """Return what was added, removed and changed between `old` and `new`."""
    places = {name: i for i, name in enumerate(sorted({*old.sources, *new.sources}))}
    fingerprint = np.concatenate([old.fingerprint, new.fingerprint])
    source = np.concatenate([_moved(old, places), _moved(new, places)])
    # Equal reports become neighbours, the old one first since the sort is stable.
    order = np.lexsort((source, fingerprint))
    fingerprint, source = fingerprint[order], source[order]
    both = np.zeros(len(order), np.bool_)
    if len(order):
        both[:-1] = (fingerprint[1:] == fingerprint[:-1]) & (source[1:] == source[:-1])
    first, second = order[both], order[np.roll(both, 1)] - len(old)
    alone = order[~(both | np.roll(both, 1))]
    other = np.zeros(len(first), np.bool_)
    for name in _SAID:
        other |= getattr(old, name)[first] != getattr(new, name)[second]
    return Difference(
        old,
        new,
        added=alone[alone >= len(old)] - len(old),
        removed=alone[alone < len(old)],
        changed=(first[other], second[other]),
    )


def _moved(columns: Columns, places: dict[str, int]) -> NDArray[np.int64]:
    table = np.array([places[name] for name in columns.sources] or [0], np.int64)
    return table[columns.source]


def written(found: Difference, kind: DiffFormat) -> Iterator[str]:
    """Yield the difference as text, CSV with a header, or one JSON object a line, piece by piece.

    Removed reports come first, then changed ones, then added ones. A number of which only the
    fingerprint is known stands as `fingerprint:<16 hex digits>`.
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
