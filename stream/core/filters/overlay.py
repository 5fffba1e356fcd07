"""Changes on one list since its snapshot: few, exact, and checked before the filter.

A Bloom filter cannot forget. So a removal stays here until the snapshot is rebuilt, and an addition
until it is part of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.filters.matches import NO_MATCHES, Matches
from stream.core.model.confidence import Decay, Reports, standing
from stream.core.model.entry import Entry, runs

MARK_BITS = 18
"""2^18 marks: 256 KiB that stay in cache. With 10,000 changes, only 4 % of numbers go on to the
exact lookup."""


class Change(NamedTuple):
    """All reports of one number after a change, by their sources; (): it was removed."""

    fingerprint: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """All reports of each changed number, by its fingerprint; (): it was removed."""

    entries: Mapping[int, tuple[Entry, ...]]

    def with_changes(self, changes: Iterable[Change]) -> Self:
        """Return this overlay after `changes`, in their order; it copies the existing entries."""
        return type(self)({**self.entries, **dict(changes)})

    def __len__(self) -> int:
        return len(self.entries)


EMPTY = Overlay({})


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """All changes of one circle's lists, as columns, to match a whole batch at once.

    There is one row for each report of each changed number (`fingerprint`, uint64) of each list
    (`lists`, int64, by index), sorted by both. `listed` (bool) is false for a removed number.
    `category`, `confidence` uint8 and `reported_at_s`, `expires_at_s` int64 are the entry's.
    `marks` is bool[2^MARK_BITS], true where a changed fingerprint starts with these bits. One probe
    per number rules nearly all out.
    """

    marks: NDArray[np.bool_]
    fingerprint: NDArray[np.uint64]
    lists: NDArray[np.int64]
    listed: NDArray[np.bool_]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    reported_at_s: NDArray[np.int64]
    expires_at_s: NDArray[np.int64]

    @classmethod
    def of(cls, overlays: Iterable[tuple[int, Overlay]]) -> Self:
        """Return the changes of several lists, given with their indexes."""
        changed = [
            (fingerprint, index, entry)
            for index, overlay in overlays
            for fingerprint, entries in overlay.entries.items()
            for entry in entries or (None,)
        ]
        entries = [entry for _, _, entry in changed]
        fingerprint = np.array([fingerprint for fingerprint, _, _ in changed], np.uint64)
        lists = np.array([index for _, index, _ in changed], np.int64)
        order = np.lexsort((lists, fingerprint))  # the last key is the primary one
        marks = np.zeros(1 << MARK_BITS, np.bool_)
        marks[_mark(fingerprint)] = True
        return cls(
            marks,
            fingerprint[order],
            lists[order],
            np.array([entry is not None for entry in entries], np.bool_)[order],
            np.array([entry.category if entry else 0 for entry in entries], np.uint8)[order],
            np.array([entry.confidence if entry else 0 for entry in entries], np.uint8)[order],
            np.array([entry.reported_at_s if entry else 0 for entry in entries], np.int64)[order],
            np.array([entry.expires_at_s if entry else 0 for entry in entries], np.int64)[order],
        )

    def with_changes(self, index: int, changes: Sequence[Change]) -> Self:
        """Return this after `changes` to list `index`, in their order; it copies the columns."""
        added = self.of([(index, EMPTY.with_changes(changes))])
        replaced = (self.lists == index) & np.isin(self.fingerprint, added.fingerprint)
        kept = np.flatnonzero(~replaced)
        both = [
            np.concatenate([column[kept], new])
            for column, new in zip(self.columns, added.columns, strict=True)
        ]
        order = np.lexsort((both[1], both[0]))
        return type(self)(self.marks | added.marks, *(column[order] for column in both))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All columns except the marks, in the order of their fields."""
        return (
            self.fingerprint,
            self.lists,
            self.listed,
            self.category,
            self.confidence,
            self.reported_at_s,
            self.expires_at_s,
        )

    def __len__(self) -> int:
        return len(self.fingerprint)

    def match(self, fingerprints: NDArray[np.uint64], decay: Decay, now_s: int) -> Matches:
        """Return the matches that changes add to those of the snapshots, by rows."""
        if not len(self):
            return NO_MATCHES
        rows, first = self._first_places(fingerprints)
        if not len(rows):
            return NO_MATCHES
        counts = np.searchsorted(self.fingerprint, fingerprints[rows], "right") - first
        hits = np.repeat(rows, counts)
        at = runs(first, counts)
        lists = self.lists[at]
        begins = np.ones(len(at), np.bool_)
        begins[1:] = (hits[1:] != hits[:-1]) | (lists[1:] != lists[:-1])
        starts = np.flatnonzero(begins)
        reports = Reports(
            starts,
            lists,
            self.listed[at],
            self.category[at],
            self.confidence[at],
            self.reported_at_s[at],
            self.expires_at_s[at],
        )
        return Matches.confirmed_of(hits[starts], lists[starts], standing(reports, decay, now_s))

    def speaks(
        self, fingerprints: NDArray[np.uint64], lists: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return whether the list next to each fingerprint changed it; bool, of the same length."""
        said = np.zeros(len(fingerprints), np.bool_)
        if len(self):
            # The marks let few through, so a loop in Python is short.
            for place in np.flatnonzero(self.marks[_mark(fingerprints)]).tolist():
                found = self.fingerprint == fingerprints[place]
                said[place] = bool((self.lists[found] == lists[place]).any())
        return said

    def _first_places(
        self, fingerprints: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows whose fingerprint a list changed, and the first place of each."""
        if kernels.compiled():
            from stream.core.kernels.membership import changed_rows

            rows, first = np.empty((2, len(fingerprints)), np.int64)
            found = changed_rows(fingerprints, self.marks, self.fingerprint, rows, first)
            return rows[:found], first[:found]
        rows = np.flatnonzero(self.marks[_mark(fingerprints)])
        first = np.searchsorted(self.fingerprint, fingerprints[rows])
        # For a fingerprint above every changed one, the search returns the place after the last.
        inside = np.flatnonzero(first < len(self))
        rows, first = rows[inside], first[inside]
        held = np.flatnonzero(self.fingerprint[first] == fingerprints[rows])
        return rows[held], first[held]


def _mark(fingerprints: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (fingerprints >> np.uint64(64 - MARK_BITS)).astype(np.int64)
