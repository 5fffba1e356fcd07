"""Lines of a file with their places, and the position to save once Kafka has them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class FileLine(NamedTuple):
    """One record of a file: its bytes without the end of the line, and its place.

    `at` is the byte where it begins, `number` its line, from 1. `size` counts its bytes; `value`
    has only the first ones if it is too long.
    """

    file: str
    at: int
    number: int
    value: bytes
    size: int

    @property
    def too_long(self) -> bool:
        """Return whether `value` is only its beginning."""
        return self.size > len(self.value)

    @property
    def place(self) -> str:
        """Its place in words."""
        return f"{self.file} line {self.number} (byte {self.at})"


class LineSplitter:
    """Splitter of one file into lines; empty ones count and are left out.

    It holds at most `bytes_max` of a line: a file without line ends must not fill memory.
    """

    def __init__(self, file: str, at: int, number: int, bytes_max: int) -> None:
        """`at` is where the line `number` begins."""
        self.file = file
        self.at = at
        self.number = number
        self._bytes_max = bytes_max
        self._held = b""
        self._size = 0

    @property
    def read_to(self) -> int:
        """Offset behind all bytes fed so far."""
        return self.at + self._size

    @property
    def unfinished(self) -> int:
        """Size so far of the last line, whose end has not come yet."""
        return self._size

    def feed(self, piece: bytes) -> list[FileLine]:
        """Return the lines that end in `piece`."""
        *ends, rest = piece.split(b"\n")
        found = []
        for part in ends:
            self._hold(part)
            line = self._cut(end=1)
            if line is not None:
                found.append(line)
        self._hold(rest)
        return found

    def rest(self) -> FileLine | None:
        """Return the last line of a finished file if it has no line end; None: it has one."""
        return self._cut(end=0) if self._size else None

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        room = self._bytes_max - len(self._held)
        if room > 0 and part:
            self._held = self._held + part[:room] if self._held else part[:room]

    def _cut(self, end: int) -> FileLine | None:
        value, size, at, number = self._held, self._size, self.at, self.number
        self.at, self.number = at + size + end, number + 1
        self._held, self._size = b"", 0
        if size > len(value):
            return FileLine(self.file, at, number, value, size)
        if at == 0:
            value = value.removeprefix(_BOM)
        if value.endswith(b"\r"):
            value = value[:-1]
        return FileLine(self.file, at, number, value, len(value)) if value.strip() else None


@dataclass(frozen=True, slots=True)
class FilePosition:
    """Position up to which a file was read: byte `at`, where line `line` begins.

    Device, inode and the SHA-256 of the first `head_size` bytes identify the file. An inode alone
    is reused, a copy has another one. `touched_ns` is the last write that was seen.
    """

    device: int
    inode: int
    head_size: int
    head_sum: str
    at: int
    line: int
    touched_ns: int


class DoneFile(NamedTuple):
    """A file of a folder that was read whole; `name` within the folder."""

    name: str
    inode: int


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Lines to send, and the position to save when Kafka has them.

    Of a folder: the files `done` with these lines, and the names that are `gone` from it.
    """

    lines: Sequence[FileLine]
    place: FilePosition | None = None
    done: Sequence[DoneFile] = ()
    gone: Sequence[str] = ()


class FileEvent(StrEnum):
    """Event of a file; each is a metric label, and the log says the details."""

    BEGUN = "begun"
    """A file is read from its beginning."""
    FINISHED = "finished"
    """A file was read to its end, and gets no more."""
    ROTATED = "rotated"
    """The file was renamed, and a new one has taken its place."""
    TRUNCATED = "truncated"
    """The file was emptied or rewritten in its place."""
    LOST = "lost"
    """A file is not there any more, and perhaps was not read to its end."""
    TOO_LARGE = "too_large"
    """A file is one document, and too large to read."""
    UNREADABLE = "unreadable"
    """A file cannot be opened or read; it is tried again."""
