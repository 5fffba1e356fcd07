"""Columns whose texts stay in the file's bytes: no Python object for each field. Pure.

NumPy reads a file of ten million rows. Only unusual rows become Python texts, and are then read as
in any other file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import PADDING, Texts
from stream.feeds.formats.rows import LINE_CHARS_MAX, Lines

_LINE_BYTES_MAX = 4 * LINE_CHARS_MAX
"""A character has at most four bytes."""
_BUCKETS_BITS = 16  # 65,536 buckets of 8 bytes
_WIDTHS = (8, 16, 32, 64)  # texts in fixed widths are compared as whole words
_ODD = tuple(np.uint64(0x9E3779B97F4A7C15 * (2 * i + 1) & 2**64 - 1) for i in range(8))
"""Multipliers of a hash that only has to spread: texts of one hash are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class ByteColumn(Sequence[str]):
    """One field of many rows as UTF-8 in `texts`; a byte that is no UTF-8 stays as it is."""

    texts: Texts

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "ByteColumn": ...
    def __getitem__(self, index: int | slice) -> "str | ByteColumn":
        if isinstance(index, slice):
            return ByteColumn(self.texts[index])
        return (self.texts[index] or b"").decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            yield (text or b"").decode("utf-8", "surrogateescape")

    def at(self, rows: NDArray[np.int64]) -> "ByteColumn":
        """Return the texts of these rows."""
        held = self.texts
        return ByteColumn(Texts(held.data, held.starts[rows], held.sizes[rows]))

    def distinct(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return distinct texts (a few perhaps twice), and the place of each row's text in them.

        Each row is compared with another one of the same hash, up to three times. A row that
        matches none is its own value.
        """
        size = int(self.texts.sizes.max(initial=0))
        width = next((width for width in _WIDTHS if width >= size), 0)
        count = len(self)
        first = np.arange(count)
        if width and count:
            # Each try hashes by other bits of the word, so two texts that fell into one bucket
            # part.
            words, sizes = self._words(width), self.texts.sizes
            spread = np.zeros(count, np.uint64)
            for i in range(words.shape[1]):
                spread = (spread ^ words[:, i]) * _ODD[i]
            left = first
            for shift in (48, 32, 16):
                bucket = (spread[left] >> np.uint64(shift)) & np.uint64((1 << _BUCKETS_BITS) - 1)
                other = np.zeros(1 << _BUCKETS_BITS, np.int64)
                other[bucket] = left  # of several rows the last stays: any of them will do
                seen = other[bucket]
                same = (sizes[left] == sizes[seen]) & (words[left] == words[seen]).all(axis=1)
                first[left[same]] = seen[same]
                left = left[~same]
                if not len(left):
                    break
        chosen = np.zeros(count, np.bool_)
        chosen[first] = True
        return list(self.at(np.flatnonzero(chosen))), (np.cumsum(chosen) - 1)[first]

    def _words(self, width: int) -> NDArray[np.uint64]:
        """Return the texts as words of 8 bytes, each text filled up with zeros to `width` bytes."""
        held = self.texts
        # A view of `width` bytes from each place on; what follows a text is masked away below.
        windows = np.ndarray((len(held.data) - width + 1,), f"V{width}", held.data, strides=(1,))
        kept = np.array([b"\xff" * n + b"\0" * (width - n) for n in range(width + 1)], f"V{width}")
        mask = kept[held.sizes].view("<u8").reshape(-1, width // 8)
        words: NDArray[np.uint64] = windows[held.starts].view("<u8").reshape(mask.shape) & mask
        return words


class LineBytes(Sequence[str]):
    """Lines as bytes: `data` ends in a line feed, and has no carriage return."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lines: list[str] | None = None

    def _split(self) -> list[str]:
        if self._lines is None:
            lines = self.data.decode("utf-8", "surrogateescape").split("\n")[:-1]
            self._lines = [line[:LINE_CHARS_MAX] for line in lines]
        return self._lines

    def __len__(self) -> int:
        return self.data.count(b"\n")

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice) and index.stop is None and index.step is None:
            at = 0
            for _ in range(index.start or 0):
                at = self.data.find(b"\n", at) + 1 or len(self.data)
            return LineBytes(self.data[at:])
        return self._split()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._split())


def line_bytes(pieces: Iterable[bytes]) -> Iterator[LineBytes]:
    """Yield whole lines from pieces of a file in UTF-8, with any line ends; cut too long ones."""
    carry = b""
    for piece in pieces:
        text = carry + piece
        # At the very end it may be the first half of a line end.
        half = b"\r" if text.endswith(b"\r") else b""
        text = _one_end(text[: len(text) - len(half)])
        cut = text.rfind(b"\n") + 1
        if cut:
            yield LineBytes(text[:cut])
        carry = text[cut : cut + _LINE_BYTES_MAX] + half
    if carry:
        yield LineBytes(_one_end(carry).removesuffix(b"\n") + b"\n")


def _one_end(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def fields_of(
    chunk: Lines, delimiter: str, columns: Mapping[str, int]
) -> dict[str, ByteColumn] | None:
    """Return the fields of delimited lines by name, and "" for the lines; None: read one by one.

    One pass suffices where no field is quoted, all lines have the same number of fields, and no
    line is blank.
    """
    data = _plain(chunk, b'"')
    if data is None:
        return None
    # With equally many fields in each line all delimiters and line ends form a rectangle.
    size = len(data) - PADDING
    is_end = data[:size] == ord("\n")
    places = np.flatnonzero(is_end | (data[:size] == ord(delimiter)))
    rows = int(np.count_nonzero(is_end))
    if len(places) % rows:
        return None
    ends: NDArray[np.int64] = np.reshape(places, (rows, -1))
    if not is_end[ends[:, -1]].all() or max(columns.values()) >= ends.shape[1]:
        return None
    begins = np.zeros(rows, np.int64)
    begins[1:] = ends[:-1, -1] + 1
    whole = ends[:, -1] - begins
    if ends.shape[1] == 1 and not whole.all():
        return None
    found = {"": ByteColumn(Texts(data, begins, whole))}
    for name, place in columns.items():
        starts = ends[:, place - 1] + 1 if place else begins
        found[name] = ByteColumn(Texts(data, starts, ends[:, place] - starts))
    return found


def numbers_of(chunk: Lines) -> tuple[Sequence[int], ByteColumn] | None:
    """Return the places of lines that are not empty, and their texts; None: read one by one.

    One pass suffices where no line has a comment, a blank or anything beyond ASCII.
    """
    data = _plain(chunk, b"#")
    if data is None:
        return None
    text = data[: len(data) - PADDING]
    ends = np.flatnonzero(text == ord("\n"))
    # Of all that is no visible ASCII there is nothing but the line ends.
    if np.count_nonzero(text - np.uint8(ord("!")) > ord("~") - ord("!")) != len(ends):
        return None
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    held = np.flatnonzero(ends > starts)
    column = ByteColumn(Texts(data, starts[held], ends[held] - starts[held]))
    return held.tolist() if len(held) < len(ends) else range(len(ends)), column


def _plain(chunk: Lines, mark: bytes) -> NDArray[np.uint8] | None:
    """Return the bytes with padding; None: there is no line, one that is cut, or a `mark`."""
    if not isinstance(chunk, LineBytes) or mark in chunk.data:
        return None
    data = np.frombuffer(chunk.data + bytes(PADDING), np.uint8)
    ends = np.flatnonzero(data[: len(chunk.data)] == ord("\n"))
    longest = np.diff(ends, prepend=-1).max(initial=0)
    return data if 0 < longest <= LINE_CHARS_MAX else None
