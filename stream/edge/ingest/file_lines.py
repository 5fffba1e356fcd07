"""Records of a file with their places, and the position to save once Kafka has them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from stream.calls.submitted_records import Framing, RecordSplitter


class FileLine(NamedTuple):
    """One record of a file: its bytes without the end of its last line, and its place.

    `at` is the byte where it begins, `number` its first line, from 1. `size` counts its bytes;
    `value` has only the first ones if it is too long.
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


class LineSplitter(RecordSplitter):
    """Splitter of one file into records with the file's name; see `RecordSplitter`."""

    def __init__(
        self, file: str, at: int, number: int, bytes_max: int, framing: Framing = Framing.LINES
    ) -> None:
        """`at` is where a record begins in line `number`."""
        super().__init__(at, number, bytes_max, framing)
        self.file = file

    def lines(self, piece: bytes) -> list[FileLine]:
        """Return the records that end in `piece`."""
        return [FileLine(self.file, *record) for record in self.feed(piece)]

    def last_lines(self) -> list[FileLine]:
        """Return the records of a finished file that have no end."""
        return [FileLine(self.file, *record) for record in self.rest()]


@dataclass(frozen=True, slots=True)
class FilePosition:
    """Position up to which a file was read: byte `at`, where a record begins in line `line`.

    Device, inode and the SHA-256 of the first `head_size` bytes identify the file. An inode alone
    is reused, a copy has another one. `touched_ns` is the last write that was seen. Of a file on a
    server, `inode` is its mark and `device` 1 where it is packed; `at` counts unpacked bytes.
    """

    device: int
    inode: int
    head_size: int
    head_sum: str
    at: int
    line: int
    touched_ns: int


class DoneFile(NamedTuple):
    """A file of a folder that was read whole; `name` within the folder.

    `inode` of a file on a server is its mark.
    """

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
    DAMAGED = "damaged"
    """A file on a server cannot be unpacked, or only to a multiple of what is right."""
    UNREADABLE = "unreadable"
    """A file cannot be opened or read; it is tried again."""
