"""Texts that are E.164 as it should be written, straight from the bytes. Compiled."""

import numpy as np
from numpy.typing import NDArray

from stream.core.e164 import E164_DIGITS_MAX, PLAN
from stream.core.kernels.jit import I64, U8, U16, U64, inlined, kernel, load64, reads, writes
from stream.core.kernels.vectors import item
from stream.core.texts import Texts

_PLUS = np.uint64(ord("+"))
_FIRST_BYTE = np.uint64(0xFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)
"""Added to a byte, sets its high bit where it is above 9."""
_HIGH_BITS = np.uint64(0x8080808080808080)
_PAIR = np.uint64(0x000000FF000000FF)


@inlined
def _head_number(digits: np.uint64) -> np.uint64:
    """The number that bytes 1 to 6 of a word spell, each byte a digit's value; see `core.e164`."""
    eight = (digits & ~_FIRST_BYTE) << np.uint64(8)
    pairs = eight * np.uint64(10) + (eight >> np.uint64(8))
    low = (pairs & _PAIR) * np.uint64(100 + (1_000_000 << 32))
    high = (pairs >> np.uint64(16) & _PAIR) * np.uint64(1 + (10_000 << 32))
    return (low + high) >> np.uint64(32)


@kernel(I64(reads(U8), reads(I64), reads(I64), reads(U16), writes(U64), writes(U8)), counted=False)
def _read_e164(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    plan: NDArray[np.uint16],
    words: NDArray[np.uint64],
    kinds: NDArray[np.uint8],
) -> int:
    """See `read_e164`; how many texts are none."""
    others = 0
    for row in range(len(starts)):
        size, low, high = item(sizes, row), np.uint64(0), np.uint64(0)
        good = 1 < size <= E164_DIGITS_MAX + 1
        if good:
            start = item(starts, row)
            # Shifts by 64 say nothing in C and LLVM, so a text of 8 or 16 bytes has its own mask.
            low_kept = _ALL >> np.uint64(64 - 8 * size) if size < 8 else _ALL
            high_kept = _ALL >> np.uint64(128 - 8 * size) if size > 8 else np.uint64(0)
            low = load64(data, start) & low_kept
            high = load64(data, start + 8) & high_kept
            low_digits = (low ^ _ZEROS) & low_kept & ~_FIRST_BYTE
            high_digits = (high ^ _ZEROS) & high_kept
            no_digits = (low_digits + _ABOVE_NINE) | low_digits
            no_digits |= (high_digits + _ABOVE_NINE) | high_digits
            head = _head_number(low_digits)
            good = no_digits & _HIGH_BITS == 0 and low & _FIRST_BYTE == _PLUS
            good = good and (item(plan, np.int64(head)) >> (size - 1)) & 1 == 1
        words[2 * row] = low if good else np.uint64(0)
        words[2 * row + 1] = high if good else np.uint64(0)
        kinds[row] = good
        others += not good
    return others


def read_e164(texts: Texts) -> tuple[NDArray[np.bytes_], NDArray[np.uint8]]:
    """The texts that are E.164, S16[n], and 1 (`Kind.E164`) for each, uint8[n]; others b"" and 0.

    The same as `e164.canonical_words`.
    """
    words = np.empty(2 * len(texts), np.uint64)
    kinds = np.empty(len(texts), np.uint8)
    _read_e164(texts.data, texts.starts, texts.sizes, PLAN, words, kinds)
    return words.view("S16"), kinds
