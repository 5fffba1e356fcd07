"""Digits, signs and blanks of every script as ASCII has them, and percent-encoding undone. Pure.

A caller chooses how a number is spelled: a no-break space, full-width or Thai digits, a soft
hyphen. Phones and libphonenumber read all of these as the number, so a list must find it too.
"""

import re
import unicodedata
from typing import Final

BLANKS: Final = (
    " \t\r\n\u00a0\u00ad\u061c\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060"
    "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u3000\ufeff"
)
"""Characters around a text that show nothing: blanks, and marks that copying leaves behind."""
_FULL_WIDTH: Final = range(0xFF01, 0xFF5F)
"""ASCII's signs, letters and digits once more, as wide as a Chinese character."""
_TO_ASCII: Final = 0xFEE0  # fullwidth forms lie this far above ASCII
_OTHERS: Final = {"\t": " ", "\u2212": "-", "\u30fc": "-", "\u2053": "~", "\u223c": "~"}
"""A tab, a minus, the Japanese long vowel, and tildes: separators to libphonenumber."""


_ESCAPES: Final = re.compile(r"(?>(?:%[0-9A-Fa-f]{2})+)")
_LATIN: Final = {0xDC00 + byte: chr(byte) for byte in range(0x80, 0x100)}
"""From `surrogateescape`'s sign for a byte that is no UTF-8 to the byte as Latin-1."""


class _Folding:
    """The table of `str.translate`; it keeps nothing, as texts are foreign."""

    def __getitem__(self, point: int) -> str | None:
        sign = chr(point)
        if point < 128:
            return _OTHERS.get(sign, sign)
        if point in _FULL_WIDTH:
            return chr(point - _TO_ASCII)
        digit = unicodedata.decimal(sign, None)
        if digit is not None:
            return str(digit)
        match unicodedata.category(sign):
            case "Zs":
                return " "
            case "Pd":
                return "-"
            case "Cf":
                return None
        return _OTHERS.get(sign, sign)


_FOLDING: Final = _Folding()


def folded(text: str) -> str:
    """`text` with its digits, dashes, blanks and full-width signs in ASCII; format marks go.

    Line ends stay: they separate two numbers, and never stand within one.
    """
    if text.isascii() and "\t" not in text:
        return text
    return text.translate(_FOLDING)


def whole_number(text: str) -> str:
    """Return digits without the `.0` that pandas writes after them; any other text as it is."""
    digits = text.removesuffix(".0")
    return digits if digits.isdigit() else text


def unescaped(text: str) -> str:
    """`text` without percent-encoding: UTF-8 where the bytes are that, else Latin-1.

    `%A0` alone is no UTF-8, but a no-break space of a sender that writes Latin-1.
    """
    if "%" not in text:
        return text
    return _ESCAPES.sub(lambda found: utf8_or_latin(bytes.fromhex(found[0].replace("%", ""))), text)


def in_utf8(data: bytes | memoryview) -> bytes:
    """Return a foreign record in UTF-8; a byte that is no part of it becomes that of Latin-1.

    Callers choose the names that a switch copies into its records. No byte of one may hide a call.
    """
    return utf8_or_latin(bytes(data)).encode()


def utf8_or_latin(data: bytes) -> str:
    """Return bytes as text: UTF-8; a byte that is no part of it as Latin-1."""
    if data.isascii():
        return data.decode("ascii")
    return data.decode("utf-8", "surrogateescape").translate(_LATIN)
