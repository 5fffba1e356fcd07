"""E.164 as it should be written: `+`, and digits that their numbering plan allows in that number.

Decided by a table alone, for one text or, in NumPy, for a batch. A text that is not so written may
still be a number: `core.numbers.number` reads those.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.core.numbers.numbering import tables

E164_DIGITS_MAX: Final = 15
"""ITU-T E.164: country code included. With `+` a number is 16 bytes, two machine words."""
HEAD_DIGITS: Final = 6
"""Digits that tell the numbering plan: the country code and what may be a trunk prefix after it."""

_PLUS: Final = ord("+")
_FIRST_BYTE: Final = np.uint64(0xFF)
_ZEROS: Final = np.frombuffer(b"\0" + b"0" * 15, "<u8")
_ABOVE_NINE: Final = np.frombuffer(b"\0" + b"\x76" * 15, "<u8")
"""Added to a byte, sets its high bit where it is above 9."""
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_VALUES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES: Final = np.uint64(0x0101010101010101)
_EVERY_SECOND: Final = np.uint64(0x00FF00FF00FF00FF)
_EVERY_FOURTH: Final = np.uint64(0x0000FFFF0000FFFF)
_LAST_HALF: Final = np.uint64(0xFFFFFFFF)
_AFTER_PLUS: Final = np.uint64(0x0FFFFFFF)
_PAIR: Final = np.uint64(0x000000FF000000FF)
_KEPT: Final = np.array([b"\xff" * n + b"\0" * (16 - n) for n in range(17)], "V16")
"""Which of 16 bytes belong to a text of n characters."""


@cache
def plan_table() -> NDArray[np.uint16]:
    """Return by the first six digits: bit n is set where n digits are possible; uint16[10^6].

    It is 0 also where the digits after the country code may be a trunk prefix, which has to go. The
    table takes 2 MB and 2 ms, so it is made when first asked for, once a process.
    """
    table = np.zeros(10**HEAD_DIGITS, np.uint16)
    for plan in tables().plans:
        table[cells_of(str(plan.code))] = sum(1 << length for length in plan.lengths)
        for prefix in plan.trunk_prefixes:
            table[cells_of(f"{plan.code}{prefix}")] = 0
    return table


def cells_of(digits: str) -> slice:
    """Return where in a table by the first six digits the numbers are that begin with `digits`."""
    head = digits[:HEAD_DIGITS]
    rest: int = 10 ** (HEAD_DIGITS - len(head))
    return slice(int(head) * rest, (int(head) + 1) * rest)


def is_canonical(digits: str) -> bool:
    """Return whether `+digits` is a possible number written as E.164, by the table alone."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    lengths: int = plan_table().item(int(digits[:HEAD_DIGITS].ljust(HEAD_DIGITS, "0")))
    return bool(lengths >> len(digits) & 1)


def canonical_words(texts: Sequence[str | None]) -> NDArray[np.uint64]:
    """uint64[n, 2]: the 16 bytes of each text that `is_canonical` after its `+`, 0 for the others.

    The texts are joined by line feeds and read in place. Every text keeps its own length, so
    nothing is cut silently, and any character is just a byte that is no digit.
    """
    try:
        joined = "\n".join(texts)  # type: ignore[arg-type]
    except TypeError:
        joined = "\n".join(text or "" for text in texts)
    if joined.count("\n") != max(len(texts) - 1, 0):
        joined = "\n".join("" if text is None or "\n" in text else text for text in texts)
    # 16 bytes of padding, so that a window of 16 bytes fits at the last text's end.
    data = np.frombuffer(joined.encode("utf-8", "replace") + b"\n" + b"\0" * 16, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))[: len(texts)]
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    return words_in(Texts(data, starts, ends - starts))


def words_in(texts: Texts) -> NDArray[np.uint64]:
    """`canonical_words` of texts that lie in one buffer, of bytes in any encoding."""
    data, starts, sizes = texts.data, texts.starts, texts.sizes
    windows = np.ndarray((len(data) - 15,), "V16", data, strides=(1,))
    kept = _KEPT[np.minimum(sizes, 16)].view("<u8").reshape(-1, 2)
    words: NDArray[np.uint64] = windows[starts].view("<u8").reshape(-1, 2) & kept
    # Each byte after the `+` becomes its digit's value; a byte above 9 sets a high bit.
    digits = (words ^ _ZEROS) & kept
    not_digits = ((digits + _ABOVE_NINE) | digits) & _HIGH_BITS
    good = ((not_digits[:, 0] | not_digits[:, 1]) == 0) & (words[:, 0] & _FIRST_BYTE == _PLUS)
    good &= (sizes > 1) & (sizes <= E164_DIGITS_MAX + 1)
    heads = _head_numbers(np.where(good, digits[:, 0], 0))
    good &= plan_table()[heads] >> np.where(good, sizes - 1, 0).astype(np.uint16) & 1 == 1
    words[~good] = 0
    return words


def heads_of(e164: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Return the first six digits of each number (S16, b"+66812345678") as one integer."""
    words = np.ascontiguousarray(e164).view("<u8").reshape(-1, 2)
    return _head_numbers(words[:, 0] ^ _ZEROS[0])


def ordinals_of(texts: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """`+` and at most 15 digits (S16) as integers in their order: four bits a digit, 0 for none.

    What begins with a text is between its ordinal and the same with all later bits set.
    """
    words = np.ascontiguousarray(texts).view(">u8").reshape(-1, 2).astype(np.uint64)
    # A digit's value is in the low half of its byte, and 1 in the high half, which no byte 0 has.
    words = (words & _VALUES) + (words >> np.uint64(4) & _ONES)
    words = (words | words >> np.uint64(4)) & _EVERY_SECOND
    words = (words | words >> np.uint64(8)) & _EVERY_FOURTH
    words = (words | words >> np.uint64(16)) & _LAST_HALF
    ordinals: NDArray[np.uint64] = (words[:, 0] & _AFTER_PLUS) << np.uint64(32) | words[:, 1]
    return ordinals


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Numbers and prefixes (`+6621234*`), asked for many numbers at once.

    `starts` (uint64) are the ordinals of the first number of each, sorted; `stops` the largest last
    one up to there.
    """

    starts: NDArray[np.uint64]
    stops: NDArray[np.uint64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the stretches of these texts."""
        held = sorted(set(texts))
        starts = ordinals_of(np.array([text.removesuffix("*") for text in held], "S16"))
        rest = [4 * (17 - len(text)) if text.endswith("*") else 0 for text in held]
        ends = (np.uint64(1) << np.array(rest, np.uint64)) - np.uint64(1)
        order = np.argsort(starts, kind="stable")
        return cls(starts[order], np.maximum.accumulate((starts | ends)[order]))

    def __len__(self) -> int:
        return len(self.starts)

    def same_as(self, other: Self) -> bool:
        """Return whether both are the same stretches."""
        alike = np.array_equal(self.starts, other.starts)
        return alike and np.array_equal(self.stops, other.stops)

    def hold(self, ordinals: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which numbers are one of them, or begin like one; bool."""
        if not len(self):
            return np.zeros(len(ordinals), np.bool_)
        before = np.searchsorted(self.starts, ordinals, "right") - 1
        found: NDArray[np.bool_] = (before >= 0) & (ordinals <= self.stops[before])
        return found


def _head_numbers(digits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers that bytes 1 to 6 of little-endian words spell, one digit a byte."""
    # Moved up by a byte, they are the last six of eight digits; then pairs, then all of them.
    eight = (digits & ~_FIRST_BYTE) << np.uint64(8)
    pairs = eight * np.uint64(10) + (eight >> np.uint64(8))
    low = (pairs & _PAIR) * np.uint64(100 + (1_000_000 << 32))
    high = (pairs >> np.uint64(16) & _PAIR) * np.uint64(1 + (10_000 << 32))
    numbers: NDArray[np.uint64] = (low + high) >> np.uint64(32)
    return numbers
