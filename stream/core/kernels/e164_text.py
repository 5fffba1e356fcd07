"""Canonical E.164 numbers, read straight from the bytes of texts. Compiled."""

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import (
    I64,
    U8,
    U16,
    U64,
    inlined,
    kernel,
    load64,
    part,
    reads,
    trailing_zeros,
    writes,
)
from stream.core.kernels.vectors import equal64, item
from stream.core.model.byte_strings import Texts
from stream.core.numbers.e164 import E164_DIGITS_MAX, plan_table

_PLUS = np.uint64(ord("+"))
_FIRST_BYTE = np.uint64(0xFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
_WORD4 = np.uint64(0xFFFFFFFF)
_WORD5 = np.uint64(0xFFFFFFFFFF)
_SIP = np.uint64(int.from_bytes(b"sip:", "little"))
_TEL = np.uint64(int.from_bytes(b"tel:", "little"))
_SIPS = np.uint64(int.from_bytes(b"sips:", "little"))
_PAIR = np.uint64(0x000000FF000000FF)


@inlined
def _head_number(digits: np.uint64) -> np.uint64:
    """Return the number that bytes 1 to 6 of a word spell; each byte is a digit's value.

    See `core.numbers.e164`.
    """
    eight = (digits & ~_FIRST_BYTE) << np.uint64(8)
    pairs = eight * np.uint64(10) + (eight >> np.uint64(8))
    low = (pairs & _PAIR) * np.uint64(100 + (1_000_000 << 32))
    high = (pairs >> np.uint64(16) & _PAIR) * np.uint64(1 + (10_000 << 32))
    return (low + high) >> np.uint64(32)


@inlined
def _digits_after(data: NDArray[np.uint8], at: int) -> int:
    """Count the digits after the byte at `at`, at most 15."""
    low = load64(data, at) ^ _ZEROS
    high = load64(data, at + 8) ^ _ZEROS
    # A digit is 0 to 9 now, and 6 more leave its upper half empty. No other byte does that.
    low = (low + _SIXES | low) & _HIGH_NIBBLES & ~_FIRST_BYTE
    high = (high + _SIXES | high) & _HIGH_NIBBLES
    before: int = trailing_zeros(low) if low != 0 else 64 + trailing_zeros(high)
    return (before >> 3) - 1


@part
def uri_number(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Return the place of the `+` in `sip:+66...@...`, `sips:+66...;...` or `tel:+66...`, or -1.

    It finds the URIs of `number._USUAL_URI`, but does not check the digits. It also refuses `<`, as
    the callers of that pattern do.
    """
    word = load64(data, start)
    if word & _WORD4 == _SIP or word & _WORD4 == _TEL:
        at = start + 4
    elif word & _WORD5 == _SIPS:
        at = start + 5
    else:
        return -1
    behind = at + 1 + _digits_after(data, at)
    if behind < end and item(data, behind) != ord("@") and item(data, behind) != ord(";"):
        return -1
    for place in range(start, end, 64):
        if trailing_zeros(equal64(data, place, ord("<"))) < end - place:
            return -1
    return at


@kernel(I64(reads(U8), reads(I64), reads(I64), reads(U16), writes(U64), writes(U8)), counted=False)
def _read_e164(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    plan: NDArray[np.uint16],
    words: NDArray[np.uint64],
    kinds: NDArray[np.uint8],
) -> int:
    """Fill `words` and `kinds` as `read_e164` returns them. Return how many texts are no number."""
    others = 0
    for row in range(len(starts)):
        start, size = item(starts, row), item(sizes, row)
        end = start + size
        if size > 1 and item(data, start) != _PLUS:
            start = uri_number(data, start, end)
            size = min(1 + _digits_after(data, start), end - start) if start >= 0 else 0
        low, high = np.uint64(0), np.uint64(0)
        good = 1 < size <= E164_DIGITS_MAX + 1
        if good:
            # A shift by 64 is undefined in LLVM, so a text of 8 or 16 bytes has its own mask.
            low_kept = _ALL >> np.uint64(64 - 8 * size) if size < 8 else _ALL
            high_kept = _ALL >> np.uint64(128 - 8 * size) if size > 8 else np.uint64(0)
            # Bytes after the text are masked before any test: they may be digits.
            low = load64(data, start) & low_kept
            high = load64(data, start + 8) & high_kept
            head = _head_number((low ^ _ZEROS) & low_kept & ~_FIRST_BYTE)
            good = low & _FIRST_BYTE == _PLUS and _digits_after(data, start) >= size - 1
            good = good and (item(plan, np.int64(head)) >> (size - 1)) & 1 == 1
        # Every row is written, without a branch: nearly all are good.
        words[2 * row] = low if good else np.uint64(0)
        words[2 * row + 1] = high if good else np.uint64(0)
        kinds[row] = good
        others += not good
    return others


def read_e164(texts: Texts) -> tuple[NDArray[np.bytes_], NDArray[np.uint8]]:
    """Return the numbers, S16[n], and their kinds, uint8[n]: 1 (`Kind.E164`), else b"" and 0.

    A text is a number if it is canonical E.164 (`e164.canonical_words`), or the usual URI of such a
    number (`number._USUAL_URI`). Both are ASCII.
    """
    words = np.empty(2 * len(texts), np.uint64)
    kinds = np.empty(len(texts), np.uint8)
    starts, sizes = np.ascontiguousarray(texts.starts), np.ascontiguousarray(texts.sizes)
    _read_e164(texts.data, starts, sizes, plan_table(), words, kinds)
    return words.view("S16"), kinds
