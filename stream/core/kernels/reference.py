"""The loops over bits in NumPy: the fallback where kernels are missing, and their oracle.

Every loop that is measured in nanoseconds a number stands here, so that another implementation of
the same functions can replace it. Nothing here knows about lists.

A filter's bits lie as in a pybloom-live file: bit `p` is bit `p & 7` of byte `p >> 3`. Slice `j`
holds the positions `j * m` to `(j + 1) * m - 1`; `m` is bits_per_slice. `words` are the unsigned
integers cut from the digests, before the modulo: one row a number, one column a slice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.unsignedinteger[Any]]
Table = NDArray[np.unsignedinteger[Any]]

# With filters at most half full, 6 slices leave a few to 70 % of the numbers for 64 lists, and
# 1.6 % for one list. With fewer, the numbers are compacted too often. With more, gathers are wasted
# on numbers that are already out.
SLICES_FIRST = 6
SLICES_LATER = 2

_BIT_OF = np.array([1, 2, 4, 8, 16, 32, 64, 128], np.uint8)


def positions(words: Words, slice_index: int, m: int) -> NDArray[np.int64]:
    """Return the bit positions of one slice; int64, because slices * m may exceed 2^32.

    `w - w // m * m` instead of `w % m`: NumPy divides by a constant with SIMD, but computes
    remainders one by one. (Measured with uint32: 1.0 against 2.3 ns each.)
    """
    column = np.ascontiguousarray(words[:, slice_index])
    divisor = column.dtype.type(m)
    inside = column - column // divisor * divisor
    return inside.astype(np.int64) + slice_index * m


def set_bits(bits: NDArray[np.uint8], words: Words, m: int) -> None:
    """Set every number's bit of every slice in `bits`.

    Positions are sorted, and those of one byte are combined first: 35 ns a bit. NumPy's
    `bitwise_or.at` takes 380 ns (measured). A byte for each bit would take eight times the memory.
    """
    for j in range(words.shape[1]):
        at = positions(words, j, m)
        at.sort()
        byte = at >> 3
        first = np.flatnonzero(np.diff(byte, prepend=-1))
        if len(first):
            bits[byte[first]] |= np.bitwise_or.reduceat(_BIT_OF[at & 7], first)


def probe_filter(bits: NDArray[np.uint8], words: Words, m: int) -> NDArray[np.bool_]:
    """Return which numbers have all their bits set; bool[n]."""
    found = np.zeros(len(words), np.bool_)
    alive = np.arange(len(words))
    for j in range(words.shape[1]):
        at = positions(words, j, m)
        held = np.flatnonzero(bits[at >> 3] & _BIT_OF[at & 7])
        alive, words = alive[held], words[held]
    found[alive] = True
    return found


def probe_words(table: Table, words: Words, m: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the rows of `words` that a list may hold, ascending, and the bits of their lists.

    `table[p]` has bit `l` set where list `l` has bit `p` set. The first `SLICES_FIRST` gathers run
    for all numbers, without a branch; later ones only for numbers that a list may still hold.
    """
    slices = words.shape[1]
    first = min(SLICES_FIRST, slices)
    masks = table[positions(words, 0, m)]
    for j in range(1, first):
        masks &= table[positions(words, j, m)]
    rows = np.flatnonzero(masks)
    masks = masks[rows]
    for start in range(first, slices, SLICES_LATER):
        if not len(rows):
            break
        left = words[rows]
        for j in range(start, min(start + SLICES_LATER, slices)):
            masks &= table[positions(left, j, m)]
        kept = np.flatnonzero(masks)
        rows, masks = rows[kept], masks[kept]
    return rows, masks.astype(np.uint64)


def transpose_bits(columns: Sequence[NDArray[np.uint8]], out: NDArray[np.uint8]) -> None:
    """Turn bits of lists into words of positions.

    Bit `l` of `out[8 * i + j, g]` is bit `j` of byte `i` of list `8 * g + l`.
    `columns` are the same range of bytes of each list; `out` is uint8[8 * bytes, groups of 8
    lists]. The 8 x 8 blocks are transposed in 64-bit words (Warren, Hacker's Delight, 7-3).
    """
    size = len(columns[0])
    block = np.zeros((size, out.shape[1], 8), np.uint8)
    for index, column in enumerate(columns):
        block[:, index // 8, index % 8] = column
    x = block.reshape(-1).view("<u8")
    for shift, mask in (
        (7, 0x00AA00AA00AA00AA),
        (14, 0x0000CCCC0000CCCC),
        (28, 0x00000000F0F0F0F0),
    ):
        t = x >> np.uint64(shift)
        t ^= x
        t &= np.uint64(mask)
        x ^= t
        t <<= np.uint64(shift)
        x ^= t
    # Byte j of a word now holds position j of one group; the table has the groups side by side.
    out.reshape(size, 8, -1)[:] = block.transpose(0, 2, 1)


def count_bits(bits: NDArray[np.uint8]) -> int:
    """Count the set bits, 1 MiB at a time, so that a map of a large file stays cheap."""
    step = 1 << 20
    return sum(
        int(np.bitwise_count(bits[at : at + step]).sum(dtype=np.int64))
        for at in range(0, len(bits), step)
    )


def count_slices(bits: NDArray[np.uint8], slices: int, m: int) -> list[int]:
    """Count the set bits of each slice."""
    counts = []
    for j in range(slices):
        start, stop = j * m, (j + 1) * m
        # Slices begin and end inside bytes: count whole bytes, then subtract the neighbours' bits.
        count = count_bits(bits[start >> 3 : (stop + 7) >> 3])
        count -= (int(bits[start >> 3]) & ((1 << (start & 7)) - 1)).bit_count()
        if stop & 7:
            count -= (int(bits[stop >> 3]) >> (stop & 7)).bit_count()
        counts.append(count)
    return counts
