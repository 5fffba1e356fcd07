"""Numbers' texts as codes and back, many at once: see `core.model.entry.code_of`.

Digits are read and written eight at a time, in words of 64 bits. This takes 60 ns a number; Python
objects take 300 ns and ten times the memory. Prefix entries, which are few, are read one by one.
"""

import numpy as np
from numpy.typing import NDArray

from stream.core.model.entry import PREFIX_MARK, code_of

_ZEROS = np.uint64(0x3030303030303030)
_ONES = np.uint64(0x7F7F7F7F7F7F7F7F)
_FIRST_BYTE = np.uint64(0xFF)
_PLUS = np.uint64(ord("+"))
_STARS = np.uint64(0x2A2A2A2A2A2A2A2A)
_POWERS = np.array([10**n for n in range(16)], np.uint64)
_KEPT = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Which bytes of a word belong to its first n letters."""


def codes_of(texts: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """`code_of` for texts (S16) that were read already, so each is a number or a prefix entry."""
    words = np.ascontiguousarray(texts).view("<u8").reshape(-1, 2)
    # A byte that is not 0 sets its high bit; a text has no 0 inside.
    filled = ((words & _ONES) + _ONES | words) & ~_ONES
    sizes = np.bitwise_count(filled).sum(axis=1, dtype=np.int64)
    digits = (words ^ _ZEROS) & (filled >> np.uint64(7)) * _FIRST_BYTE
    digits[:, 0] &= ~_FIRST_BYTE
    spelt = eight_digits(digits)
    whole = spelt[:, 0] * np.uint64(10**8) + spelt[:, 1]
    codes: NDArray[np.uint64] = whole // _POWERS[np.clip(16 - sizes, 0, 15)]
    stars = words ^ _STARS
    other = ((stars & _ONES) + _ONES | stars) & ~_ONES
    for row in np.flatnonzero(np.bitwise_count(other).sum(axis=1) < 16).tolist():
        codes[row] = code_of(texts[row].decode())
    return codes


def texts_of(codes: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """`text_of` for codes that are not 0, as S16: the texts that filters hold and hashes take."""
    marked = np.flatnonzero(codes & np.uint64(PREFIX_MARK))
    digits = codes & ~np.uint64(PREFIX_MARK) if len(marked) else codes
    sizes = np.searchsorted(_POWERS, digits, side="right")
    whole = digits * _POWERS[15 - sizes]
    words = np.empty((len(codes), 2), np.uint64)
    words[:, 0], words[:, 1] = whole // np.uint64(10**8), whole % np.uint64(10**8)
    words = _spelt(words) | _ZEROS
    words[:, 0] = words[:, 0] & ~_FIRST_BYTE | _PLUS
    words[:, 0] &= _KEPT[np.minimum(sizes + 1, 8)]
    words[:, 1] &= _KEPT[np.maximum(sizes - 7, 0)]
    texts: NDArray[np.bytes_] = words.view("S16").ravel()
    for row in marked.tolist():
        texts[row] += b"*"
    return texts


def eight_digits(digits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers that the bytes of the words spell, lowest byte first, one digit a byte."""
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    fours = pairs * np.uint64(100) + (pairs >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return fours * np.uint64(10_000) + (fours >> np.uint64(32)) & np.uint64(0xFFFFFFFF)


def _spelt(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`eight_digits` the other way. Divisions are products: exact for so few digits."""
    high = numbers // np.uint64(10_000)
    fours = (numbers - high * np.uint64(10_000)) << np.uint64(32) | high
    high = (fours * np.uint64(10_486) >> np.uint64(20)) & np.uint64(0x0000007F0000007F)
    pairs = (fours - high * np.uint64(100)) << np.uint64(16) | high
    high = (pairs * np.uint64(103) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    digits: NDArray[np.uint64] = (pairs - high * np.uint64(10)) << np.uint64(8) | high
    return digits
