"""Up to 64 filters of one shape as one table: a machine word for each bit position, a bit in it
for each list. k gathers then answer for all lists at once.

Lists stand together where plan and m are equal (`TableSpec`); more than 64 take several tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.bloom import Filter
from stream.core.digests import HashPlan
from stream.core.kernels import reference

LISTS_MAX = 64

# Bytes of each filter turned at a time: the scratch for 64 lists is then three times 8 MiB.
_STRETCH = 1 << 17


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a table is made for: `lists` filters that share `plan` and `bits_per_slice`."""

    plan: HashPlan
    bits_per_slice: int
    lists: int

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned word with a bit for each list; little-endian, as it is mapped."""
        assert 1 <= self.lists <= LISTS_MAX, f"{self.lists} lists in one table"
        return np.dtype(next(f"<u{b}" for b in (1, 2, 4, 8) if self.lists <= 8 * b))

    @property
    def rows(self) -> int:
        """Words of the table: one for each bit position of a filter."""
        return self.plan.slices * self.bits_per_slice

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self.rows * self.dtype.itemsize


def compile_table(filters: Sequence[Filter], out: reference.Table) -> None:
    """Fill `out`, made as `TableSpec` says; bit `l` of a word is filter `l`.

    The filters' bits are read once, stretch by stretch, and `out` is written once, in order, so
    both may be maps of files. The scratch is below 32 MiB.
    """
    shapes = {(f.shape.slices, f.shape.bits_per_slice) for f in filters}
    assert len(shapes) == 1, f"filters of several shapes in one table: {shapes}"
    assert len(out) == filters[0].shape.num_bits, f"{len(out)} rows"
    groups = out.dtype.itemsize
    assert (len(filters) + 7) // 8 <= groups, f"{len(filters)} lists in words of {groups} bytes"
    as_bytes = out.view(np.uint8).reshape(-1, groups)
    size = len(filters[0].bits)
    for at in range(0, size, _STRETCH):
        columns = [f.bits[at : at + _STRETCH] for f in filters]
        rows = as_bytes[at * 8 : (at + len(columns[0])) * 8]
        if len(rows) == len(columns[0]) * 8:
            reference.transpose_bits(columns, rows)
        else:  # the last byte's padding has no rows
            whole = np.empty((len(columns[0]) * 8, groups), np.uint8)
            reference.transpose_bits(columns, whole)
            rows[:] = whole[: len(rows)]


def probe_table(
    table: reference.Table, words: reference.Words, bits_per_slice: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Which rows of `words` at least one list may hold, ascending, and a mask of those lists."""
    if kernels.compiled():
        from stream.core.kernels.membership import probe

        assert len(table) == words.shape[1] * bits_per_slice, "a table of another shape"
        rows, masks = np.empty(len(words), np.int64), np.empty(len(words), np.uint64)
        place, width = table.ctypes.data, table.dtype.itemsize
        found = probe(words, place, width, bits_per_slice, rows, masks)
        return rows[:found], masks[:found]
    return reference.probe_words(table, words, bits_per_slice)
