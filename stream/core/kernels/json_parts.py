"""Parts of JSON without structure, checked to the last byte: strings, numbers, words.

They follow RFC 8259 as strictly as msgspec: UTF-8 without surrogates and overlong forms, escaped
surrogates only in pairs. Each function takes the start of its part and the `end` of the record. It
may read some bytes beyond `end`. These never count: the caller compares the returned place with
`end`.
"""

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import inlined, load64, part, trailing_zeros
from stream.core.kernels.vectors import item, unusual64

Data = NDArray[np.uint8]

QUOTE = ord('"')
NOWHERE = -1
"""Returned instead of a place: there is no such part."""

_DIGITS_MAX = 20
"""Digits of a 64-bit integer."""
_ESCAPE = ord("\\")
_U = ord("u")
_SIMPLE_ESCAPES = sum(1 << (byte - 64) for byte in b"\\bfnrt")
"""Bit n: a backslash may precede character 64 + n. (It may also precede `"` and `/`.)"""
_WORD4 = np.uint64(0xFFFFFFFF)
_WORD5 = np.uint64(0xFFFFFFFFFF)
_TRUE = np.uint64(int.from_bytes(b"true", "little"))
_NULL = np.uint64(int.from_bytes(b"null", "little"))
_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
_FALSE = np.uint64(int.from_bytes(b"false", "little"))


@inlined
def is_null(data: Data, at: int) -> bool:
    """Report whether `null` stands at `at`."""
    null: bool = load64(data, at) & _WORD4 == _NULL
    return null


@inlined
def _is_digit(data: Data, at: int) -> bool:
    byte: int = item(data, at)
    return 48 <= byte <= 57


@part
def _digits_end(data: Data, at: int, end: int) -> int:
    """Return the place after at least one digit."""
    first = at
    while at < end and _is_digit(data, at):
        at += 1
    return at if at > first else NOWHERE


@inlined
def short_integer_end(data: Data, at: int) -> int:
    """Return the place after an integer of one to seven digits with a comma or bracket after it.

    `NOWHERE` does not say what else stands there.
    """
    word = load64(data, at)
    # A digit becomes 0 to 9, and 6 more leave its upper half empty. No other byte does that.
    others = ((word ^ _ZEROS) + _SIXES | word ^ _ZEROS) & _HIGH_NIBBLES
    size = trailing_zeros(others) >> 3
    after = item(data, at + size)
    # A comma or a closing bracket; the two brackets differ only in bit 32.
    whole = size > 0 and (after == 44 or after | 32 == 125)  # , ] }
    # JSON does not allow a leading zero.
    return at + size if whole and (size == 1 or item(data, at) != 48) else NOWHERE


@part
def digits_end(data: Data, at: int) -> int:
    """Return the place after an integer of one to 20 digits and nothing else."""
    first = at
    while at - first <= _DIGITS_MAX and _is_digit(data, at):
        at += 1
    size, after = at - first, item(data, at)
    # No fraction, no exponent; JSON does not allow a leading zero.
    whole = 0 < size <= _DIGITS_MAX and after != 46 and after | 32 != 101
    return at if whole and (size == 1 or item(data, first) != 48) else NOWHERE


@part
def scalar_end(data: Data, at: int, end: int) -> int:
    """Return the place after a number, `true`, `false` or `null`."""
    word = load64(data, at)
    if word & _WORD4 == _TRUE or word & _WORD4 == _NULL:
        return at + 4
    if word & _WORD5 == _FALSE:
        return at + 5
    if item(data, at) == 45:  # -
        at += 1
    if item(data, at) == 48:  # no digit may follow a leading 0
        at += 1
    else:
        at = _digits_end(data, at, end)
    if at > 0 and at < end and item(data, at) == 46:  # .
        at = _digits_end(data, at + 1, end)
    if at > 0 and at < end and item(data, at) | 32 == 101:  # e, E
        at += 1
        if item(data, at) == 43 or item(data, at) == 45:  # +, -
            at += 1
        at = _digits_end(data, at, end)
    return at


@part
def _hex4(data: Data, at: int) -> int:
    """Return the value of four hexadecimal digits, or `NOWHERE`."""
    value = 0
    for place in range(at, at + 4):
        byte = int(item(data, place))
        letter = byte | 32
        if 48 <= byte <= 57:
            value = value * 16 + byte - 48
        elif 97 <= letter <= 102:
            value = value * 16 + letter - 87
        else:
            return NOWHERE
    return value


@part
def _escape_size(data: Data, at: int) -> int:
    """Return the bytes of the escape at `at`, or 0 if it is none."""
    byte = np.int64(item(data, at + 1))
    if byte in (QUOTE, 47):  # /
        return 2
    if byte != _U:
        return 2 if 64 <= byte < 128 and _SIMPLE_ESCAPES >> (byte - 64) & 1 else 0
    code = _hex4(data, at + 2)
    # The two halves of a surrogate pair never stand alone.
    if code == NOWHERE or 0xDC00 <= code <= 0xDFFF:
        return 0
    if 0xD800 <= code < 0xDC00:
        if item(data, at + 6) != _ESCAPE or item(data, at + 7) != _U:
            return 0
        return 12 if 0xDC00 <= _hex4(data, at + 8) <= 0xDFFF else 0
    return 6


@part
def character_size(data: Data, at: int) -> int:
    """Return the bytes of the non-ASCII character at `at`, or 0 if it is not UTF-8 (RFC 3629)."""
    word = load64(data, at)
    lead = word & np.uint64(0xFF)
    second = word >> np.uint64(8) & np.uint64(0xFF)
    # Continuation bytes are 10xxxxxx: the masks test these two bits in one, two or three of them.
    # A lead byte below C2 would be an ASCII character in two bytes.
    if lead < 0xE0:
        return 2 if lead >= 0xC2 and word & np.uint64(0xC000) == 0x8000 else 0
    if lead < 0xF0:
        if word & np.uint64(0xC0C000) != 0x808000:
            return 0
        # Refuses overlong forms of two-byte characters, and surrogates.
        return 0 if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F) else 3
    if lead > 0xF4 or word & np.uint64(0xC0C0C000) != 0x80808000:
        return 0
    # Refuses overlong forms of three-byte characters, and anything beyond U+10FFFF.
    return 0 if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F) else 4


@part
def string_end(data: Data, at: int, end: int, escapes: bool) -> int:
    """Return the place of the quotation mark that ends a string, from any place inside it.

    Without `escapes`, an escape is as wrong as a control character.
    """
    while at < end:
        byte = item(data, at)
        if byte == QUOTE:
            return at
        if byte >= 128:
            size = character_size(data, at)
        elif byte == _ESCAPE and escapes:
            size = _escape_size(data, at)
        else:  # 0 if this byte may not stand in a string
            size = trailing_zeros(unusual64(data, at))
        if size == 0:
            return NOWHERE
        at += size
    return NOWHERE
