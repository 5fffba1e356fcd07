"""JSON documents of any size, one object at a time: memory is that of the largest object.

A file that is one JSON document (a STIX bundle, a MISP event, a PhoneBlock answer) may have
hundreds of MB. Its bytes are scanned without decoding. Each object of the array that matters is
yielded as it is, and decoded into a small typed struct. Limits: the reader bounds the bytes of one
object, `DEPTH_MAX` its nesting.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from stream.feeds.formats.rows import InputUnreadable

PIECE_BYTES = 1 << 20
"""Bytes of a file read at a time."""
SCALAR_BYTES_MAX = 4_096
"""No number is longer, nor are `true` and `null`."""
DEPTH_MAX = 64
"""MISP and STIX need some ten levels. A file of 10^6 brackets must not become as many frames."""
KEPT_CHARS = 2_000
"""Characters of a rejected object kept for its report."""

BROKEN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""Exceptions of msgspec for bytes that do not fit a struct: its own, and Python's for texts."""

# A string as a whole, a bracket, or a quote whose string goes on in bytes still to be read.
_TOKEN = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|[{}\[\]]|"', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[^,\]}\s]*")
_QUOTE, _OPENING = ord('"'), frozenset(b"{[")
_BOM = b"\xef\xbb\xbf"


class Document:
    """A reader of one or several JSON documents in a row, from pieces of bytes."""

    def __init__(self, pieces: Iterable[bytes], value_bytes_max: int) -> None:
        self._pieces = iter(pieces)
        self._value_bytes_max = value_bytes_max
        self._data = b""
        self._at = 0
        self._passed = 0
        self._fill()
        if self._data.startswith(_BOM):
            self._at = len(_BOM)

    def peek(self) -> bytes:
        """Return the next byte that is no blank; b"": the end of the file."""
        while True:
            blank = _SPACE.match(self._data, self._at)
            assert blank is not None, "it matches nothing too"
            self._at = blank.end()
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._fill():
                return b""

    def begins_with(self, pattern: re.Pattern[bytes]) -> bool:
        """Return whether the next bytes match; the pattern must need a few bytes only."""
        return pattern.match(self._data, self._at) is not None

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here. Read the value after each."""
        for _ in self._items(b"{", b"}"):
            if self.peek() != b'"':
                raise self._not_json()
            try:
                key = msgspec.json.decode(self.value(), type=str)
            except BROKEN as error:
                raise self._not_json() from error
            self._take(b":")
            yield key

    def elements(self) -> Iterator[bytes]:
        """Yield the values of the array that begins here, as bytes."""
        for _ in self._items(b"[", b"]"):
            yield self.value()

    def _items(self, opening: bytes, closing: bytes) -> Iterator[None]:
        """Yield before each item of an object or array; the caller reads the item."""
        self._take(opening)
        if self.peek() == closing:
            self._take(closing)
            return
        while True:
            yield
            if self.peek() == closing:
                self._take(closing)
                return
            self._take(b",")

    def array_of(self, name: str) -> Iterator[Iterator[bytes]]:
        """Yield the elements of each array `name` in the object that begins here; skip the rest."""
        for key in self.members():
            if key == name and self.peek() == b"[":
                yield self.elements()
            else:
                self.value()

    def end(self) -> None:
        """Check that nothing follows. Raises InputUnreadable."""
        if self.peek():
            raise InputUnreadable("something follows the JSON document: the file is damaged")

    def value(self) -> bytes:
        """Return the bytes of the value that begins here. They may turn out to be no JSON."""
        first = self.peek()
        length = self._nested() if first in {b"{", b"[", b'"'} else self._scalar()
        if not length:
            raise self._not_json()
        if length > self._value_bytes_max:
            raise self._too_long()
        raw = self._data[self._at : self._at + length]
        self._at += length
        return raw

    def _nested(self) -> int:
        """Return the length of the object, array or text that begins here."""
        depth = scanned = 0
        while True:
            start = self._at
            for token in _TOKEN.finditer(self._data, start + scanned):
                first = self._data[token.start()]
                if first == _QUOTE:
                    if token.end() - token.start() == 1:
                        scanned = token.start() - start
                        break
                    if not depth:
                        return token.end() - start
                elif first in _OPENING:
                    depth += 1
                    if depth > DEPTH_MAX:
                        raise InputUnreadable(f"nested more than {DEPTH_MAX} deep: refused")
                else:
                    depth -= 1
                    if not depth:
                        return token.end() - start
            else:
                scanned = len(self._data) - start
            self._need_more()

    def _scalar(self) -> int:
        while True:
            found = _SCALAR.match(self._data, self._at)
            assert found is not None, "it matches nothing too"
            if found.end() - self._at > SCALAR_BYTES_MAX:
                raise self._not_json()
            if found.end() < len(self._data):
                return found.end() - self._at
            if not self._fill():
                return len(self._data) - self._at

    def _need_more(self) -> None:
        """Read more of a value: as much again, so that a long one is not scanned often."""
        held = len(self._data) - self._at
        if held > self._value_bytes_max:
            raise self._too_long()
        if not self._fill(min(held, self._value_bytes_max + 1 - held)):
            raise InputUnreadable(
                f"the JSON ends amid a value, after {self._passed + held} bytes: "
                "the file was cut; fetch it again"
            )

    def _fill(self, wanted: int = 1) -> bool:
        """Read at least `wanted` bytes more, if there are; return False at the end of the file."""
        pieces, size = [], 0
        while size < max(wanted, 1) and (piece := next(self._pieces, None)) is not None:
            pieces.append(piece)
            size += len(piece)
        self._passed += self._at
        self._data = b"".join((self._data[self._at :], *pieces))
        self._at = 0
        return size > 0

    def _take(self, mark: bytes) -> None:
        if self.peek() != mark:
            raise self._not_json()
        self._at += 1

    def _too_long(self) -> InputUnreadable:
        return InputUnreadable(f"an object of more than {self._value_bytes_max >> 10} kB: refused")

    def _not_json(self) -> InputUnreadable:
        found = self._data[self._at : self._at + 20]
        at = self._passed + self._at
        if not found:
            return InputUnreadable(f"the JSON ends after {at} bytes: the file was cut")
        return InputUnreadable(f"not JSON at byte {at}: {found.decode('utf-8', 'replace')!r}")


def as_kept(raw: bytes) -> str:
    """Return an object as a report keeps it."""
    return raw[:KEPT_CHARS].decode("utf-8", "replace")


def as_text(value: str | int | float | None) -> str | None:  # noqa: PYI041  mypy tells them apart
    """Return a value as text: some write a text, others a number."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value if value is None or isinstance(value, str) else str(value)
