"""Up to 64 filters of one shape as one table: a machine word per bit position, a bit per list.

k gathers then answer for all lists at once. Lists share a table if plan and m are equal
(`TableSpec`); more than 64 take several tables.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.filters.bloom import Filter
from stream.core.filters.digests import HashPlan
from stream.core.kernels import reference

LISTS_MAX = 64
"""A bit for each list in the largest machine word."""

STRETCH = 1 << 16
"""Rows of a table built together: 512 KiB for 64 lists, which stay in the second-level cache. To
exchange a row takes 2.3 ns, and 5 with sixteen times as many rows."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """Measures of a table: `lists` filters that share `plan` and `bits_per_slice`."""

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
    """Fill `out`, which has the measures of `TableSpec`, with `turned(filters)`."""
    at = 0
    for piece in turned(filters, out.dtype):
        out[at : at + len(piece)] = piece
        at += len(piece)
    assert at == len(out), f"{len(out)} rows"


def turned(
    filters: Sequence[Filter], dtype: np.dtype[np.unsignedinteger]
) -> Iterator[reference.Table]:
    """Yield the table of `filters` piece by piece; bit `l` of a word is filter `l`.

    The filters' bits, which may be maps of files, are read once. The scratch memory is a few
    pieces.
    """
    shapes = {(f.shape.slices, f.shape.bits_per_slice) for f in filters}
    assert len(shapes) == 1, f"filters of several shapes in one table: {shapes}"
    groups = dtype.itemsize
    assert (len(filters) + 7) // 8 <= groups, f"{len(filters)} lists in words of {groups} bytes"
    rows, size = filters[0].shape.num_bits, len(filters[0].bits)
    for at in range(0, size, STRETCH // 8):
        columns = [f.bits[at : at + STRETCH // 8] for f in filters]
        whole = np.empty((len(columns[0]) * 8, groups), np.uint8)
        reference.transpose_bits(columns, whole)
        # The padding of the last byte has no rows.
        yield whole.reshape(-1).view(dtype)[: rows - 8 * at]


def exchanged(
    pieces: Iterable[reference.Table],
    kept: Mapping[int, int],
    added: Mapping[int, Filter],
    dtype: np.dtype[np.unsignedinteger],
) -> Iterator[reference.Table]:
    """Yield a table made from another one's `pieces`; some lists are new or have moved.

    `kept` maps each bit that stays to its bit in the old table; `added` are the filters of the
    other bits. All pieces but the last have `STRETCH` rows. To exchange one list of 64 costs a
    tenth of turning them all, and the memory of one to four pieces.
    """
    wide = np.dtype(np.uint64)
    # Lists that move by the same distance move together, in one shift: usually all but the new one.
    moves: dict[int, int] = {}
    for new, old in kept.items():
        moves[new - old] = moves.get(new - old, 0) | 1 << old
    at = 0
    for piece in pieces:
        words = np.zeros(len(piece), wide)
        for by, bits in moves.items():
            part = piece.astype(wide) & wide.type(bits)
            words |= part << wide.type(by) if by >= 0 else part >> wide.type(-by)
        for new, held in added.items():
            stretch = held.bits[at // 8 : (at + len(piece) + 7) // 8]
            column = np.unpackbits(stretch, count=len(piece), bitorder="little")
            words |= column.astype(wide) << wide.type(new)
        yield words.astype(dtype, copy=False)
        at += len(piece)


def probe_table(
    table: reference.Table, words: reference.Words, bits_per_slice: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the rows of `words` that a list may hold, ascending, and a mask of those lists.

    Without kernels, the reference does the same several times slower.
    """
    if kernels.compiled():
        from stream.core.kernels.membership import probe

        assert len(table) == words.shape[1] * bits_per_slice, "a table of another shape"
        rows, masks = np.empty(len(words), np.int64), np.empty(len(words), np.uint64)
        place, width = table.ctypes.data, table.dtype.itemsize
        found = probe(words, place, width, bits_per_slice, rows, masks)
        return rows[:found], masks[:found]
    return reference.probe_words(table, words, bits_per_slice)
