"""Up to 64 lists that share a table: which of them hold a number, and with what entry.

A Bloom hit is confirmed in the list's exact entries before it counts. What a list changed since its
snapshot is left out here: its overlay alone speaks of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.digests import Digests, HashPlan, hash_plan
from stream.core.entry import NEVER, Columns
from stream.core.kernels.reference import Table
from stream.core.matches import NO_MATCHES, Matches
from stream.core.overlay import Touched
from stream.core.snapshot import Snapshot
from stream.core.table import TableSpec, probe_table


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Up to 64 lists of one circle, hash plan and filter size, as one bit-sliced table.

    Bit i of a table word belongs to list `lists[i]` (int64, an index into `Blocklists.lists`,
    ascending), whose entries are `entries[i]`, None where it was shared without. `ledger` is
    int64[lists, 5]: where these lie in memory and how many they are, -1 for None; see
    `kernels.membership`.
    """

    plan: HashPlan
    bits_per_slice: int
    lists: NDArray[np.int64]
    table: Table
    entries: tuple[Columns | None, ...]
    ledger: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[int], snapshots: Sequence[Snapshot], table: Table) -> Self:
        """The group of the lists with these indexes, snapshots, and their `table`."""
        shape = snapshots[0].filter.shape
        plan = hash_plan(shape.slices, shape.bits_per_slice)
        spec = TableSpec(plan, shape.bits_per_slice, len(snapshots))
        assert (len(table), table.dtype) == (spec.rows, spec.dtype), "the table is another's"
        entries = tuple(snapshot.columns for snapshot in snapshots)
        ledger = np.array([_places(columns) for columns in entries], np.int64)
        return cls(plan, shape.bits_per_slice, np.array(lists, np.int64), table, entries, ledger)

    def match(self, digests: Digests, touched: Touched, now_s: int) -> Matches:
        """What the lists say of the numbers digested, in order of row and list.

        Entries that expired before `now_s`, in seconds since the epoch, do not count, nor does what
        is in `touched`.
        """
        rows, masks = probe_table(self.table, digests.words(self.plan), self.bits_per_slice)
        if not len(rows):
            return NO_MATCHES
        fingerprints = digests.fingerprints()
        if kernels.compiled():
            return self._confirmed(rows, masks, fingerprints, touched, now_s)
        hits, bits = _pairs(rows, masks)
        found = Matches.blank(hits, self.lists[bits])
        kept = np.ones(len(found), np.bool_)
        for bit in np.unique(bits).tolist():
            columns = self.entries[bit]
            if columns is None:
                continue
            mine = np.flatnonzero(bits == bit)
            at = columns.find(fingerprints[hits[mine]])
            kept[mine] = at >= 0
            found.confirmed[mine] = True
            if len(columns):
                found.category[mine] = columns.category[at]
                found.confidence[mine] = columns.confidence[at]
                found.expires_at_s[mine] = columns.expires_at[at]
        kept &= (found.expires_at_s == NEVER) | (now_s < found.expires_at_s)
        kept &= ~touched.speaks(fingerprints[hits], found.lists)
        return found.at(np.flatnonzero(kept))

    def _confirmed(
        self,
        rows: NDArray[np.int64],
        masks: NDArray[np.uint64],
        fingerprints: NDArray[np.uint64],
        touched: Touched,
        now_s: int,
    ) -> Matches:
        from stream.core.kernels.membership import confirm

        hits = int(np.bitwise_count(masks).sum())
        found = Matches.blank(np.empty(hits, np.int64), np.empty(hits, np.int64))
        kept = confirm(
            rows,
            masks,
            fingerprints,
            self.lists,
            self.ledger,
            touched.marks,
            touched.fingerprint,
            touched.lists,
            now_s,
            *found.columns,
        )
        return found.first(kept)


def _places(columns: Columns | None) -> list[int]:
    """A row of the ledger. Empty columns have no address: nothing of them is ever read."""
    if columns is None or not len(columns):
        return [0, 0, 0, 0, -1 if columns is None else 0]
    wanted = (
        (columns.fingerprint, "<u8"),
        (columns.expires_at, "<u4"),
        (columns.category, "u1"),
        (columns.confidence, "u1"),
    )
    for array, dtype in wanted:
        assert array.dtype == dtype, f"a column of {array.dtype}"
        assert array.shape == (len(columns),), f"a column of the shape {array.shape}"
        assert array.flags.c_contiguous, "a column with gaps"
    return [*(array.ctypes.data for array, _ in wanted), len(columns)]


def _pairs(
    rows: NDArray[np.int64], masks: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each set bit of `masks` as a pair (row, bit), sorted by both."""
    octets = masks.astype("<u8").view(np.uint8).reshape(-1, 8)
    hit, bit = np.nonzero(np.unpackbits(octets, axis=1, bitorder="little"))
    return rows[hit], bit
