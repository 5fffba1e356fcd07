"""Sets of reports as columns: one over another, without some, compared. Pure.

A report is known by its number's fingerprint and its source's name, wherever the names are in two
tables. A report by another source about the same number is another report.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.snapshot import COLUMNS, SOURCES_MAX
from stream.core.model.entry import Columns
from stream.core.model.errors import SnapshotUnreadable


def empty_columns() -> Columns:
    """Return columns without entries."""
    return Columns(**{c.name: np.empty(0, c.dtype) for c in COLUMNS}, sources=())


def merged(old: Columns, new: Columns) -> Columns:
    """Return `old` with the reports of `new`; of one that both hold, `new` counts.

    Raises SnapshotUnreadable where that is more sources than a list can have.
    """
    if not len(old) or not len(new):
        return new if len(new) else old
    names = {name: place for place, name in enumerate(old.sources)}
    for name in new.sources:
        names.setdefault(name, len(names))
    # [0]: NumPy cannot index an empty array, not even by no index.
    moved = np.array([names[name] for name in new.sources] or [0], np.int64)
    arrays: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        added = getattr(new, column.name)
        if column.name == "source":
            both = np.concatenate([old.source.astype(np.int64), moved[added]])
        else:
            both = np.concatenate([getattr(old, column.name), added])
        arrays[column.name] = both
    return in_order(arrays, tuple(names))


def replaced(old: Columns, new: Columns, owns: Callable[[str], bool]) -> Columns:
    """Return `old` less the reports whose source is owned (by its name), with those of `new`.

    So a feed's new version takes the place of its last one, and what others report stays. Raises
    SnapshotUnreadable as `merged` does.
    """
    owned = np.array([owns(name) for name in old.sources] or [False])
    return merged(picked(old, np.flatnonzero(~owned[old.source])), new)


def without(columns: Columns, fingerprints: NDArray[np.uint64]) -> Columns:
    """Return `columns` less all reports of the numbers with `fingerprints`."""
    first = np.searchsorted(columns.fingerprint, fingerprints, "left")
    counts = np.searchsorted(columns.fingerprint, fingerprints, "right") - first
    kept = np.ones(len(columns), np.bool_)
    # All rows of all spans without a loop: each span's first row, repeated, plus a running number.
    kept[np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())] = False
    return picked(columns, np.flatnonzero(kept))


def picked(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    """Return some rows, given in their order; names that no row needs any more are dropped."""
    arrays = {c.name: getattr(columns, c.name)[rows] for c in COLUMNS if c.name != "source"}
    source, names = _needed(columns.source[rows], columns.sources)
    return Columns(**arrays, source=source, sources=names)


def held_in(columns: Columns, fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark the `fingerprints` that are in `columns`."""
    return columns.find(fingerprints) >= 0


def in_order(arrays: dict[str, NDArray[Any]], sources: Sequence[str]) -> Columns:
    """Return columns of rows in any order; of a (number, source) given twice the last row counts.

    `arrays` by the names of `COLUMNS`; their `source` may be wider than a column's. It is emptied,
    so that ten million rows are never there twice. Names that no row needs are dropped. Raises
    SnapshotUnreadable where more are needed than a list can have.
    """
    rows = _last_rows(arrays["fingerprint"], arrays["source"])
    source, names = _needed(arrays.pop("source")[rows], sources)
    made: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        if column.name != "source":
            made[column.name] = arrays.pop(column.name)[rows].astype(column.dtype, copy=False)
    return Columns(**made, source=source, sources=names)


def _last_rows(
    fingerprint: NDArray[np.uint64], source: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Return the rows by fingerprint and source, the last one of each pair.

    Most numbers have one report, and the inputs are sorted. A stable sort by fingerprint alone is
    then a merge, and only the rows of numbers with several reports are sorted by source too.
    """
    order = np.argsort(fingerprint, kind="stable")
    ordered = fingerprint[order]
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return order
    shared = np.zeros(len(order), np.bool_)
    shared[1:] = again
    shared[:-1] |= again
    places = np.flatnonzero(shared)
    rows = order[places]
    order[places] = rows[np.lexsort((source[rows], fingerprint[rows]))]
    last = np.ones(len(order), np.bool_)
    last[:-1] = ~(again & (source[order[1:]] == source[order[:-1]]))
    return order[last]


def _needed(
    source: NDArray[np.integer[Any]], sources: Sequence[str]
) -> tuple[NDArray[np.uint16], tuple[str, ...]]:
    """Return the places of sources in a table of only those that are needed, and the table."""
    used = np.zeros(len(sources), np.bool_)
    used[source] = True
    places = np.flatnonzero(used)
    if len(places) > SOURCES_MAX:
        raise SnapshotUnreadable(
            f"{len(places)} sources on one list, at most {SOURCES_MAX}: name them more coarsely"
        )
    moved = np.zeros(len(sources) or 1, np.uint16)
    moved[places] = np.arange(len(places))
    return moved[source], tuple(sources[place] for place in places.tolist())


_SAID = ("number", "reported_at", "expires_at", "category", "confidence")
"""Columns in which two reports of one number and source can differ."""


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Two versions, and the rows in them that differ; `changed` are pairs (old row, new row)."""

    old: Columns
    new: Columns
    added: NDArray[np.int64]
    removed: NDArray[np.int64]
    changed: tuple[NDArray[np.int64], NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed[0])


def difference(old: Columns, new: Columns) -> VersionDiff:
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
    # The row after each marked one is its pair: roll moves the marks one place on.
    first, second = order[both], order[np.roll(both, 1)] - len(old)
    alone = order[~(both | np.roll(both, 1))]
    other = np.zeros(len(first), np.bool_)
    for name in _SAID:
        other |= getattr(old, name)[first] != getattr(new, name)[second]
    return VersionDiff(
        old,
        new,
        added=alone[alone >= len(old)] - len(old),
        removed=alone[alone < len(old)],
        changed=(first[other], second[other]),
    )


def _moved(columns: Columns, places: dict[str, int]) -> NDArray[np.int64]:
    table = np.array([places[name] for name in columns.sources] or [0], np.int64)
    return table[columns.source]
