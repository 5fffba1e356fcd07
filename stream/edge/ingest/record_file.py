"""One open file of records, and how to recognise it after a rotation. Blocks."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from stream.calls.submitted_records import Framing, RecordSplitter
from stream.edge.ingest.file_lines import FilePosition, LineSplitter
from stream.ops.untrusted_folders import open_plain

PIECE: Final = 1 << 20
"""Bytes of one read."""
_HEAD: Final = 1024
"""Bytes at the start by which a file is recognised."""
_START: Final = 1 << 16
"""Bytes at the start that a copy has to share."""
_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4")
_PASSED_OVER: Final = (*_COMPRESSED, ".tmp", ".part", ".swp", "~")


class Truncated(Exception):
    """The part of the file that was read is gone: it was emptied or rewritten."""


class RecordFile:
    """An open file, read from a position on. Close it."""

    def __init__(self, path: Path, at: int, number: int, bytes_max: int, framing: Framing) -> None:
        """Open `path`, which may be a link to a regular file. Raises OSError."""
        self.path = path
        self.handle = open_plain(path, links=True)
        self.lines = LineSplitter(path.name, at, number, bytes_max, framing)
        self._head = os.pread(self.handle, min(at, _HEAD), 0)
        self._touched_ns = os.fstat(self.handle).st_mtime_ns
        self.old = False

    @classmethod
    def resumed(
        cls, path: Path, place: FilePosition, bytes_max: int, framing: Framing
    ) -> Self | None:
        """Open the file at `path` at `place`; None: it is another file, or there is none."""
        try:
            file = cls(path, place.at, place.line, bytes_max, framing)
        except FileNotFoundError:
            return None
        file._head = os.pread(file.handle, max(len(file._head), place.head_size), 0)
        file._touched_ns = place.touched_ns
        if file._is_of(place):
            return file
        file.close()
        return None

    def _is_of(self, place: FilePosition) -> bool:
        head = self._head[: place.head_size]
        return (
            self.size >= place.at
            and len(head) == place.head_size
            and _sum(head) == place.head_sum
            and (place.head_size > 0 or self.identity == (place.device, place.inode))
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        about = os.fstat(self.handle)
        return about.st_dev, about.st_ino

    @property
    def size(self) -> int:
        """Its size now, in bytes."""
        return os.fstat(self.handle).st_size

    @property
    def place(self) -> FilePosition:
        """The position after the last whole record."""
        about = os.fstat(self.handle)
        return FilePosition(
            device=about.st_dev,
            inode=about.st_ino,
            head_size=len(self._head),
            head_sum=_sum(self._head),
            at=self.lines.at,
            line=self.lines.number,
            touched_ns=self._touched_ns,
        )

    def read(self) -> bytes:
        """Return the next bytes; b"" at the end for now. Raises Truncated, OSError."""
        at = self.lines.read_to
        piece = os.pread(self.handle, PIECE, at)
        # Checked after the read: a truncation before it shows in the size, and one from now on
        # cuts off bytes that we have.
        about = os.fstat(self.handle)
        if about.st_size < at + len(piece):
            raise Truncated
        if self._head != os.pread(self.handle, len(self._head), 0):
            raise Truncated
        if len(self._head) < _HEAD:
            self._head += piece[len(self._head) - at : _HEAD - at]
        if piece:
            self._touched_ns = about.st_mtime_ns
        return piece


def _sum(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


def _is_copy(path: Path, handle: int) -> bool:
    """Return whether the file at `path` is not longer than the open one, and begins like it."""
    try:
        with os.fdopen(open_plain(path), "rb") as copy:
            size = os.fstat(copy.fileno()).st_size
            if size > os.fstat(handle).st_size:
                return False
            return copy.read(_START) == os.pread(handle, min(size, _START), 0)
    except OSError:
        return False


def end_of_records(path: Path, framing: Framing) -> tuple[int, int]:
    """Return the offset after the last whole record, and the number of the line there."""
    splitter = RecordSplitter(0, 1, 0, framing)
    with os.fdopen(open_plain(path, links=True), "rb") as file:
        while piece := file.read(PIECE):
            splitter.feed(piece)
    return splitter.at, splitter.number


def found_again(
    path: Path, place: FilePosition, bytes_max: int, framing: Framing
) -> RecordFile | None:
    """Open at `place` the file that was at `path` then; None: it is gone.

    It is the file itself, here or renamed in the same folder. Else a copy: in its place, or one
    made before it was emptied.
    """
    same, others = [], []
    for other, about in (*_named(path, links=True), *_siblings(path)):
        if (about.st_dev, about.st_ino) == (place.device, place.inode):
            same.append(other)
        elif place.head_size and (other == path or _rotated_name(path, other)):
            others.append(other)
    for each in (*same, *others):
        file = RecordFile.resumed(each, place, bytes_max, framing)
        if file is not None:
            return file
    return None


def between(
    path: Path, place: FilePosition, ended: RecordFile | None, until_ns: int | None = None
) -> Path | None:
    """Return the oldest file that was at `path` after `place` was saved and is gone from there.

    It is neither `ended`, the file read last, nor a copy of that or of the file at `path` now.
    `until_ns`: only files last written by then.
    """
    handles = [] if ended is None else [ended.handle]
    with ExitStack() as stack:
        with suppress(OSError):
            live = os.fdopen(open_plain(path, links=True), "rb")
            handles.append(stack.enter_context(live).fileno())
        return _between(path, place, handles, until_ns)


def _between(
    path: Path, place: FilePosition, known: list[int], until_ns: int | None
) -> Path | None:
    found = []
    for other, about in _siblings(path):
        if (
            _rotated_name(path, other)
            and about.st_size
            and about.st_mtime_ns > place.touched_ns
            and (until_ns is None or about.st_mtime_ns <= until_ns)
            and (about.st_dev, about.st_ino) != (place.device, place.inode)
            and not any(_is_copy(other, handle) for handle in known)
        ):
            found.append((about.st_mtime_ns, other))
    return min(found)[1] if found else None


def _siblings(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the other files in the folder."""
    for entry in sorted(os.scandir(path.parent), key=lambda entry: entry.name):
        if entry.name != path.name and not entry.name.endswith(_PASSED_OVER):
            yield from _named(Path(entry.path))


def _named(path: Path, *, links: bool = False) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the file of that name, if there is one."""
    try:
        about = path.stat(follow_symlinks=links)
    except OSError:
        return
    if stat.S_ISREG(about.st_mode):
        yield path, about


def _rotated_name(path: Path, other: Path) -> bool:
    """`Master.csv.1`, `Master.csv-20261125`, `Master.csv.2026-11-25-08-00-00`, `Master-1.csv`."""
    pairs = ((path.name, ""), (path.stem, path.suffix))
    return any(
        len(other.name) >= len(begin) + len(end)
        and other.name.startswith(begin)
        and other.name.endswith(end)
        and _TURN.fullmatch(other.name[len(begin) : len(other.name) - len(end)])
        for begin, end in pairs
    )


_TURN = re.compile(r"[.-]\d[\d.:T_-]*")


def passed_over(name: str) -> bool:
    """Return whether a file of a folder has no records: hidden, compressed or being written."""
    return name.startswith(".") or name.endswith(_PASSED_OVER)
