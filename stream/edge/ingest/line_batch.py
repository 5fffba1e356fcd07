"""What passes between reading and sending: lines, and what is true once Kafka has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from stream.edge.ingest.lines import Line


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was read: up to byte `at`, where line `line` begins.

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
class Batch:
    """Lines to send, and what to keep when Kafka has them."""

    lines: Sequence[Line]
    place: Place | None = None
    done: Sequence[DoneFile] = ()
    gone: Sequence[str] = ()


class Happening(StrEnum):
    """What can happen to files; each is a metric label, and the log says the details."""

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
