"""Find the encoding of a text file from its first bytes, by what they decode to. Pure.

A mark at the start decides. Else each encoding that the region uses is tried. The right one leaves
nothing undecoded, and gives words of column names or letters as a script joins them.
"""

import codecs
import re
import unicodedata
from pathlib import Path
from typing import Final

from stream.feeds.detection.column_names import words_known
from stream.feeds.detection.foreign_files import what_it_is
from stream.feeds.formats.rows import InputUnreadable

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_THAI: Final = frozenset(range(0xA1, 0xDB)) | frozenset(range(0xDF, 0xFC))
"""Bytes of letters in TIS-620 and CP874."""
_LEGACY: Final = ("cp874", "gb18030", "big5", "cp932", "cp949", "cp1252", "cp1258")
"""Old encodings besides UTF-8 and UTF-16. Of two that read the same words the first counts."""
_RUN = re.compile(rb"[\x80-\xff]{2,}")
_DECLARED = re.compile(rb"<\?xml[^>]{0,100}?encoding\s?=\s?[\"']([A-Za-z0-9._-]{1,40})")
_LINES: Final = 10
_TEXT_SHARE: Final = 0.95
_RUN_SHARE: Final = 0.8
"""Thai letters follow each other; accented letters of French are single between ASCII letters."""
_DAMAGE_SHARE: Final = 0.2
"""UTF-8 with fewer wrong characters than this is damaged UTF-8, and no other encoding."""


def encoding_of(head: bytes, path: Path) -> str:
    """Return the encoding of a file that begins with `head`: UTF-8, or UTF-16 if it is that.

    Raises InputUnreadable if it is no text.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" not in head:
        return "utf-8"
    tried = {name: _plain_in(head, name) for name in ("utf-16-le", "utf-16-be")}
    best = max(tried, key=lambda name: tried[name])
    if tried[best] > 0:
        return best
    what = what_it_is(head)
    raise InputUnreadable(
        f"{path} is {what}" if what else f"{path}: not a text file: save it as text or CSV in UTF-8"
    )


def _plain_in(head: bytes, encoding: str) -> int:
    """Count the ASCII characters in `head`, read as UTF-16; 0: it is no text in it.

    Digits, commas and line ends tell the order of bytes: the wrong one makes Chinese of them.
    """
    text = head[: len(head) // 2 * 2].decode(encoding, "replace")
    plain = sum(char.isascii() and (char.isprintable() or char in "\t\r\n") for char in text)
    kinds = (unicodedata.category(char)[0] for char in text if not char.isascii())
    letters = sum(kind in "LMNPSZ" for kind in kinds)
    is_text = plain + letters >= _TEXT_SHARE * len(text) and "\ufffd" not in text[:-1]
    # Text in Chinese has few ASCII signs, but line ends and digits.
    return plain if is_text and plain * 20 >= len(text) else 0


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that an XML declaration names; None: it names none that is known."""
    found = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8))
    if found is None:
        return None
    try:
        return codecs.lookup(found[1].decode()).name
    except LookupError:
        return None


def legacy_encoding(head: bytes) -> str | None:
    """Return an encoding that a file does not show by itself; None: it does, or is UTF-8.

    It is the one in which the first lines have the most known words of column names. Else it is the
    one whose letters stand as its language joins them.
    """
    whole = head[: head.rfind(b"\n") + 1] or head
    if b"\0" in head or _is_utf8(whole):
        return None
    known = {encoding: _known_in(whole, encoding) for encoding in _LEGACY}
    best = max(_LEGACY, key=lambda encoding: known[encoding])
    if known[best] > 0:
        return best
    odd = [byte for byte in head if byte >= 0x80]
    thai = sum(byte in _THAI for byte in odd)
    in_runs = sum(map(len, _RUN.findall(head)))
    is_thai = thai >= _TEXT_SHARE * len(odd) and in_runs >= _RUN_SHARE * len(odd)
    return "cp874" if is_thai else "cp1252"


def _is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8, perhaps with a few damaged characters."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(not char.isascii() for char in text) - bad
    return not bad or bad <= _DAMAGE_SHARE * good


def _known_in(data: bytes, encoding: str) -> int:
    """Count the cells of the first lines that are names in an encoding; -1: it is another."""
    try:
        lines = data.decode(encoding).splitlines()[:_LINES]
    except UnicodeDecodeError:
        return -1
    # ASCII words are the same in each of them, and say nothing.
    cells = [cell for line in lines for cell in re.split(r"[,;\t|]", line) if not cell.isascii()]
    return words_known(cells)
