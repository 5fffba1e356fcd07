"""Set and test the bits of one filter for many numbers at once. Compiled."""

from typing import Any

import numpy as np

from stream.core.kernels.jit import I64, U8, U16, U32, U64, inlined, kernel, reads, types, writes
from stream.core.kernels.memory import multiply_high, prefetch

BLOCK = 128
"""Numbers whose bits are fetched together, so that their memory accesses overlap."""

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _strided(item: Any) -> Any:
    return types.Array(item, 2, "A", readonly=True)


@inlined
def places_of(words: Any, base: int, left: int, j: int, m: int, bits: Any, place: Any) -> None:
    """Write the bit positions of slice `j` for `left` numbers from `base`; prefetch their bytes.

    Lemire, Kaser, Kurz, "Faster remainder by direct computation" (2019): exact for 32 bits.
    """
    modulus = U64(m)
    inverse = _ALL // modulus + U64(1)
    for i in range(left):
        word = U64(words[base + i, j])
        if words.itemsize < 8:
            rest = I64(multiply_high(inverse * word, modulus))
        else:
            rest = I64(word % modulus)
        place[i] = j * m + rest
        prefetch(bits + (place[i] >> 3))


@kernel(*(types.void(writes(U8), I64, _strided(item), I64) for item in (U16, U32, U64)))
def set_bits(bits: Any, address: Any, words: Any, m: Any) -> None:
    """Set every number's bit of every slice, as `reference.set_bits`. `address` is that of `bits`.

    With 14 slices in 40 MB: 80 ns a number. NumPy, which sorts the positions first, takes 490 ns.
    """
    place = np.empty(BLOCK, np.int64)
    for base in range(0, len(words), BLOCK):
        left = min(BLOCK, len(words) - base)
        for j in range(words.shape[1]):
            places_of(words, base, left, j, m, address, place)
            for i in range(left):
                bits[place[i] >> 3] |= np.uint8(1 << (place[i] & 7))


@kernel(*(types.void(reads(U8), I64, _strided(item), I64, writes(U8)) for item in (U16, U32, U64)))
def held_bits(bits: Any, address: Any, words: Any, m: Any, held: Any) -> None:
    """Set `held` to 1 for each number whose bits are all set, else 0 (`reference.probe_filter`)."""
    place = np.empty(BLOCK, np.int64)
    for base in range(0, len(words), BLOCK):
        left = min(BLOCK, len(words) - base)
        for i in range(left):
            held[base + i] = 1
        for j in range(words.shape[1]):
            places_of(words, base, left, j, m, address, place)
            for i in range(left):
                held[base + i] &= bits[place[i] >> 3] >> (place[i] & 7)
