"""Lines of a file with their places, and the position that is true once Kafka has them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class FileLine(NamedTuple):
    """One record of a file: its bytes without the end of the line, and where it lies.

    `at` is the byte where it begins, `number` its line, from 1. `size` is how many bytes it has: of
    one that is too long `value` has the first ones only.
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
        """For people."""
        return f"{self.file} line {self.number} (byte {self.at})"


class LineSplitter:
    """Cuts one file into lines; empty ones count and are not given.

    Of a line of more than `bytes_max` no more is held than that.
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
        """The byte behind all that was fed."""
        return self.at + self._size

    @property
    def unfinished(self) -> int:
        """Bytes of the last line, whose end has not come yet."""
        return self._size

    def feed(self, piece: bytes) -> list[FileLine]:
        """The lines that end in `piece`."""
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
        """The last line of a file that gets no more, though it has no end; None: it has one."""
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

    The file is told from others by device, inode, and the SHA-256 of its first `head_size` bytes.
    `touched_ns` is when it had last been written, as far as was seen.
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
    """Lines to send, and what to keep when Kafka has them."""

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
    """The file has another name now, and a new one has taken its place."""
    TRUNCATED = "truncated"
    """The file was emptied or written anew in its place."""
    LOST = "lost"
    """A file is not there any more, and perhaps was not read to its end."""
    TOO_LARGE = "too_large"
    """A file is one document, and too large to be read as one."""
    UNREADABLE = "unreadable"
    """A file cannot be opened or read; it is tried again."""
