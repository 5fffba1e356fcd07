"""The exact entries of up to 64 lists: they confirm or refute the hits of the filters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.filters.matches import Matches
from stream.core.filters.overlay import Touched
from stream.core.model.confidence import Decay, Reports, standing
from stream.core.model.entry import Columns


@dataclass(frozen=True, slots=True, eq=False)
class ExactIndex:
    """Bit i of a mask means list `lists[i]` (int64, indexes into `Blocklists.lists`, ascending).

    `entries[i]` are its entries; None: it was shared without entries, so nothing can be confirmed.
    `places` is int64[lists, 6]: their addresses in memory and their number, -1 for None; see
    `kernels.membership`. This value keeps the entries alive.
    """

    lists: NDArray[np.int64]
    entries: tuple[Columns | None, ...]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[int], entries: Sequence[Columns | None]) -> Self:
        """Return the index of the lists with these indexes and entries."""
        places = np.array([_places(columns) for columns in entries], np.int64)
        return cls(np.array(lists, np.int64), tuple(entries), places)

    def confirm(
        self,
        rows: NDArray[np.int64],
        masks: NDArray[np.uint64],
        fingerprints: NDArray[np.uint64],
        touched: Touched,
        decay: Decay,
        now_s: int,
    ) -> Matches:
        """Return the matches that confirm a table's hits, in order of row and list.

        The lists in the bits of `masks[i]` (uint64) may hold the number in row `rows[i]`. Its
        fingerprint (uint64) is in `fingerprints` at that row. `core.model.confidence` combines its
        reports at `now_s`, in seconds since the epoch. Matches that `touched` changed are left
        out.
        """
        if kernels.compiled():
            return self._by_kernel(rows, masks, fingerprints, touched, decay, now_s)
        hits, bits = _pairs(rows, masks)
        found = Matches.blank(hits, self.lists[bits])
        kept = np.ones(len(found), np.bool_)
        for bit in np.unique(bits).tolist():
            columns = self.entries[bit]
            if columns is None:
                continue
            mine = np.flatnonzero(bits == bit)
            at = columns.find(fingerprints[hits[mine]])
            kept[mine] = False  # those that are found decide below
            mine, at = mine[at >= 0], at[at >= 0]
            if len(mine):
                known = standing(_reports(columns, at, int(self.lists[bit])), decay, now_s)
                kept[mine] = found.confirmed[mine] = known.matches
                found.category[mine] = known.category
                found.confidence[mine] = known.confidence
                found.expires_at_s[mine] = known.expires_at_s
        kept &= ~touched.speaks(fingerprints[hits], found.lists)
        return found.at(np.flatnonzero(kept))

    def _by_kernel(
        self,
        rows: NDArray[np.int64],
        masks: NDArray[np.uint64],
        fingerprints: NDArray[np.uint64],
        touched: Touched,
        decay: Decay,
        now_s: int,
    ) -> Matches:
        from stream.core.kernels.membership import confirm

        # Allocated here for all hits, as the kernel only fills arrays; nearly all are confirmed.
        hits = int(np.bitwise_count(masks).sum())
        found = Matches.blank(np.empty(hits, np.int64), np.empty(hits, np.int64))
        kept = confirm(
            rows,
            masks,
            fingerprints,
            self.lists,
            self.places,
            touched.marks,
            touched.fingerprint,
            touched.lists,
            decay,
            now_s,
            *found.columns[:-2],  # these reports belong to no prefix; the scope is unknown here
        )
        return found.first(kept)


def _places(columns: Columns | None) -> list[int]:
    """Return a row of `places`. Empty columns have no address: nothing reads them."""
    if columns is None or not len(columns):
        return [0, 0, 0, 0, 0, -1 if columns is None else 0]
    wanted = (
        (columns.fingerprint, "<u8"),
        (columns.expires_at, "<u4"),
        (columns.category, "u1"),
        (columns.confidence, "u1"),
        (columns.reported_at, "<u4"),
    )
    # The kernel reads by address and trusts the types: a wrong one would read other memory.
    for array, dtype in wanted:
        assert array.dtype == dtype, f"a column of {array.dtype}"
        assert array.shape == (len(columns),), f"a column of the shape {array.shape}"
        assert array.flags.c_contiguous, "a column with gaps"
    return [*(array.ctypes.data for array, _ in wanted), len(columns)]


def _reports(columns: Columns, at: NDArray[np.int64], index: int) -> Reports:
    """Return all reports that list `index` has of the numbers whose first rows are `at`."""
    first, rows = columns.reports(at)
    return Reports(
        first,
        np.full(len(rows), index),
        np.ones(len(rows), np.bool_),
        columns.category[rows],
        columns.confidence[rows],
        columns.reported_at[rows].astype(np.int64),
        columns.expires_at[rows].astype(np.int64),
    )


def _pairs(
    rows: NDArray[np.int64], masks: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each set bit of `masks` as a pair (row, bit), sorted by row and bit."""
    # Little-endian on any machine: bit l of a mask is then bit l of its eight bytes.
    octets = masks.astype("<u8").view(np.uint8).reshape(-1, 8)
    hit, bit = np.nonzero(np.unpackbits(octets, axis=1, bitorder="little"))
    return rows[hit], bit
