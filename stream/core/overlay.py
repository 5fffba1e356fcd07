"""What changed on one list since its snapshot: small, exact, and looked at before the filter.

A Bloom filter can not forget, so a removal lives here until the snapshot is rebuilt, and an
addition until it is part of one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.entry import Entry

MARK_BITS = 18
"""2^18 marks: 256 KiB that stay in cache, and 10,000 changes send only 4 % of numbers on to the
exact lookup."""


class Change(NamedTuple):
    """One number added or changed (`entry`), or removed (`entry` None)."""

    fingerprint: int
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Overlay:
    """Changed entries by fingerprint; None: removed."""

    entries: Mapping[int, Entry | None]

    def with_changes(self, changes: Iterable[Change]) -> Self:
        """This overlay and then `changes`, in their order; costs a copy of what is there."""
        return type(self)({**self.entries, **dict(changes)})

    def __len__(self) -> int:
        return len(self.entries)


EMPTY = Overlay({})


@dataclass(frozen=True, slots=True)
class Touched:
    """All changed fingerprints of one circle's lists, for a first look at a whole batch.

    `lists` says which lists (by index) changed a fingerprint. `marks` is bool[2^MARK_BITS], true
    where a changed fingerprint starts with these bits: one gather per number rules nearly all out.
    """

    lists: Mapping[int, tuple[int, ...]]
    marks: NDArray[np.bool_]

    @classmethod
    def of(cls, overlays: Iterable[tuple[int, Overlay]]) -> Self:
        """The changes of several lists, given with their indexes."""
        lists: dict[int, tuple[int, ...]] = {}
        for index, overlay in overlays:
            for fingerprint in overlay.entries:
                lists[fingerprint] = (*lists.get(fingerprint, ()), index)
        marks = np.zeros(1 << MARK_BITS, np.bool_)
        marks[_mark(np.fromiter(lists, np.uint64, len(lists)))] = True
        return cls(lists, marks)

    def with_changes(self, index: int, fingerprints: Iterable[int]) -> Self:
        """The same after list `index` changed `fingerprints` too."""
        lists = dict(self.lists)
        marks = self.marks.copy()
        for fingerprint in fingerprints:
            held = lists.get(fingerprint, ())
            if index not in held:
                lists[fingerprint] = (*held, index)
            marks[fingerprint >> (64 - MARK_BITS)] = True
        return type(self)(lists, marks)

    def rows(self, fingerprints: NDArray[np.uint64]) -> list[int]:
        """The rows whose fingerprint some list changed."""
        if not self.lists:
            return []
        candidates = np.flatnonzero(self.marks[_mark(fingerprints)])
        return [
            row
            for row, fingerprint in zip(
                candidates.tolist(), fingerprints[candidates].tolist(), strict=True
            )
            if fingerprint in self.lists
        ]


def _mark(fingerprints: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (fingerprints >> np.uint64(64 - MARK_BITS)).astype(np.int64)
