"""A folder of files that are each written once: FreeSWITCH's log-dir, one JSON file a call. Blocks.

A file is read once, whole, when it has not changed for a while. Files are neither moved nor
removed: their owner does that, a week later or so. Subfolders are read too.
"""

import hashlib
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from stream.calls.submitted_records import Framing, records_in
from stream.edge.ingest.file_lines import DoneFile, FileEvent, FileLine, LineBatch, LineSplitter
from stream.edge.ingest.record_file import PIECE, passed_over
from stream.ops.untrusted_folders import open_plain

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 2000
"""Of a batch; a file's records may be in several."""
WHOLE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one JSON document: an array, or objects over many lines. Files of lines have no limit."""
SNIFFED: Final = 65_536
"""Bytes that show whether a file is one document or lines."""
_HEAD: Final = 1024
"""Bytes at the start that distinguish a file that was read from another one in its place."""


@dataclass(frozen=True, slots=True)
class _Seen:
    path: Path
    name: str
    inode: int
    size: int
    touched_ns: int


class _ReadFile(NamedTuple):
    """A file as it was when it was read."""

    size: int
    touched_ns: int
    head_size: int
    head_sum: bytes


class RecordFolder:
    """Reads the files below `path` that are not among `done` (names and inodes).

    One that grows after it was read is reported, as its rest is lost. Another one in its place is
    read, also with the same inode, which file systems use again at once.

    `path` may be one file as well. A file rests for `settle_s` before it is read. `framing` says
    what ends a record.
    """

    def __init__(
        self,
        path: Path,
        done: dict[str, int],
        bytes_max: int,
        settle_s: float,
        observe: Callable[[FileEvent], None],
        now_s: Callable[[], float] | None = None,
        framing: Framing = Framing.LINES,
    ) -> None:
        self._path = path
        self._framing = framing
        self._done = done
        self._bytes_max, self._settle_s = bytes_max, settle_s
        self._observe = observe
        self._now_s = now_s or time.time
        self._read_as: dict[str, _ReadFile] = {}
        self._unsettled = 0
        self._bytes = 0
        self._batches: Iterator[LineBatch] = iter(())

    def close(self) -> None:
        """Do nothing: no file is held open."""

    @property
    def finished(self) -> bool:
        """Return whether no file is left that was still being written."""
        return not self._unsettled

    @property
    def waiting(self) -> FileLine | None:
        """See `Tail`: a finished file's last line is a record."""
        return None

    def behind(self) -> int:
        """Return the bytes of files that were found and not returned yet."""
        return self._bytes

    def next(self) -> LineBatch | None:
        """Return the next records; None: no finished file is left."""
        batch = next(self._batches, None)
        if batch is None:
            self._batches = self._look()
            batch = next(self._batches, None)
        return batch

    def _look(self) -> Iterator[LineBatch]:
        """Read the files that are finished now; forget names that are gone."""
        there, ready = set(), []
        self._unsettled = 0
        for seen, changed_s in self._files():
            there.add(seen.name)
            if self._done.get(seen.name) == seen.inode and not self._is_another(seen):
                self._complain_of_growth(seen)
                continue
            if abs(self._now_s() - changed_s) < self._settle_s:
                self._unsettled += 1
            else:
                ready.append((changed_s, seen.name, seen))
        gone = [name for name in self._done if name not in there]
        for name in gone:
            del self._done[name]
            self._read_as.pop(name, None)
        self._bytes = sum(seen.size for *_, seen in ready)
        return self._read([seen for *_, seen in sorted(ready, key=lambda one: one[:2])], gone)

    def _is_another(self, seen: _Seen) -> bool:
        """Return whether this is another file by now: it was touched, and begins otherwise."""
        known = self._read_as.get(seen.name)
        if known is None or known.touched_ns == seen.touched_ns:
            return False
        try:
            with os.fdopen(open_plain(seen.path, links=seen.path == self._path), "rb") as file:
                return _sum(file.read(known.head_size)) != known.head_sum
        except OSError:
            return False  # looked at again

    def _complain_of_growth(self, seen: _Seen) -> None:
        """Report a file that grew after it was read: what was added is not read."""
        known = self._read_as.get(seen.name)
        if known is not None and seen.size > known.size:
            self._read_as[seen.name] = known._replace(size=sys.maxsize)  # once a file
            self._observe(FileEvent.LOST)
            log.error(
                "%s: it grew after it was read, and what was added is left out: a folder's files "
                "are each written once. Name a file that grows itself: `ringfence ingest FILE "
                "--follow`",
                seen.path,
            )

    def _files(self) -> Iterator[tuple[_Seen, float]]:
        """Yield all files of records that are not empty, and the time of each last change."""
        if self._path.is_file():
            yield from _stated(self._path, self._path.name, links=True)
        for folder, below, names in os.walk(self._path):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                if not passed_over(name):
                    path = Path(folder, name)
                    yield from _stated(path, str(path.relative_to(self._path)))

    def _read(self, files: list[_Seen], gone: list[str]) -> Iterator[LineBatch]:
        lines: list[FileLine] = []
        done: list[DoneFile] = []
        for seen in files:
            try:
                for line in self._lines(seen):
                    lines.append(line)
                    if len(lines) >= RECORDS_MAX:
                        yield LineBatch(lines, done=done)
                        lines, done = [], []
            except OSError as error:
                # Its lines so far are sent again when it can be read whole.
                log.warning("%s cannot be read: %s", seen.path, error.strerror)
                self._observe(FileEvent.UNREADABLE)
                continue
            self._observe(FileEvent.FINISHED)
            self._bytes -= seen.size
            self._done[seen.name] = seen.inode
            done.append(DoneFile(seen.name, seen.inode))
        if lines or done or gone:
            yield LineBatch(lines, done=done, gone=gone)

    def _lines(self, seen: _Seen) -> Iterator[FileLine]:
        links = seen.path == self._path  # a link may be configured, but not inside a folder
        with os.fdopen(open_plain(seen.path, links=links), "rb") as file:
            start = file.read(SNIFFED)
            head = start[:_HEAD]
            self._read_as[seen.name] = _ReadFile(seen.size, seen.touched_ns, len(head), _sum(head))
            if self._framing is Framing.LINES and is_document(start):
                if seen.size > WHOLE_BYTES_MAX:
                    self._observe(FileEvent.TOO_LARGE)
                    log.error(
                        "%s: a JSON document of %d bytes, more than %d: left out; write JSON lines",
                        seen.path, seen.size, WHOLE_BYTES_MAX,
                    )  # fmt: skip
                    return
                yield from self._records(seen, start + file.read())
                return
            splitter = LineSplitter(seen.name, 0, 1, self._bytes_max, self._framing)
            piece = start
            while piece:
                yield from splitter.lines(piece)
                piece = file.read(PIECE)
            yield from splitter.last_lines()

    def _records(self, seen: _Seen, data: bytes) -> Iterator[FileLine]:
        """Yield the records of a document; a record's place is its number."""
        for number, record in enumerate(records_in(data), 1):
            yield FileLine(seen.name, 0, number, record[: self._bytes_max], len(record))


def _sum(head: bytes) -> bytes:
    return hashlib.blake2b(head, digest_size=8).digest()


def _stated(path: Path, name: str, *, links: bool = False) -> Iterator[tuple[_Seen, float]]:
    try:
        about = path.stat(follow_symlinks=links)
    except OSError:
        return
    if about.st_size and stat.S_ISREG(about.st_mode):
        # The later of both times: a copy that is being written may have its original's mtime.
        seen = _Seen(path, name, about.st_ino, about.st_size, about.st_mtime_ns)
        yield seen, max(about.st_mtime, about.st_ctime)


def is_document(start: bytes) -> bool:
    """Return whether a file that begins so is one JSON document, not a record a line."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return True
    first, newline, _ = text.partition(b"\n")
    return text.startswith(b"{") and bool(newline) and not first.rstrip().endswith(b"}")
