"""Finished files of records on a server, by S3 or SFTP: each is read once. Blocks.

A file is known by its name and its mark: ETag and size in S3, size and time by SFTP. Files are
neither moved nor removed: their owner does that. A file that ends before its end is read on from
the last line that was sent, also after a kill.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from stream.calls.submitted_records import Framing, records_in
from stream.core.model.errors import FeedDown, FeedFault
from stream.edge.ingest.file_lines import (
    DoneFile,
    FileEvent,
    FileLine,
    FilePosition,
    LineBatch,
    LineSplitter,
)
from stream.edge.ingest.record_folder import RECORDS_MAX, SNIFFED, WHOLE_BYTES_MAX, is_document
from stream.feeds.transports.unpack import ByMark
from stream.ops.clock import monotonic_s
from stream.ops.remote.remote_files import RemoteFile, RemoteFiles
from stream.ops.retry import Backoff

log = logging.getLogger(__name__)

RATIO_MAX: Final = 1000
"""Unpacked bytes of each packed one: records shrink to a tenth or a fiftieth, bombs to nothing."""
UNPACKED_MIN: Final = 64 << 20
"""Bytes that any file may unpack to."""
RETRY_S: Final = (1.0, 60.0)
"""The first and the longest wait for a server that is away."""
_OF_ONE_FILE: Final = (
    FeedFault.MISSING,
    FeedFault.UNSTABLE,
    FeedFault.UNAUTHORISED,
    FeedFault.REFUSED_BY_SERVER,
)
"""Faults that leave the other files readable: a server that is away would hold up each of them."""
_PACKED: Final = 1
"""`device` of the position in a packed file: its offset counts unpacked bytes."""


class _Damaged(Exception):
    """The file itself is wrong: the same bytes would fail again."""


@dataclass(frozen=True, slots=True)
class RemotePace:
    """Seconds: `look_s` from one listing to the next, `settle_s` for a file to rest.

    `patient`: a server that is away is asked again; without it, its fault is raised.
    """

    look_s: float
    settle_s: float
    patient: bool


class RemoteFolder:
    """Reads the files of `files` that are not among `done` (names and marks).

    `place` is the position in a file that was not read to its end. `framing` says what ends a
    record.
    """

    def __init__(
        self,
        files: RemoteFiles,
        done: dict[str, int],
        place: FilePosition | None,
        bytes_max: int,
        pace: RemotePace,
        observe: Callable[[FileEvent], None],
        framing: Framing = Framing.LINES,
    ) -> None:
        self._files, self._framing = files, framing
        self._done, self._place = done, place
        self._left: dict[str, int] = {}
        self._bytes_max, self._pace = bytes_max, pace
        self._observe = observe
        self._unsettled = 0
        self._bytes = 0
        self._fault: FeedDown | None = None
        self._due_s = 0.0
        self._backoff = Backoff(*RETRY_S)
        self._batches: Iterator[LineBatch] = iter(())

    def close(self) -> None:
        """End the connection."""
        self._files.close()

    @property
    def finished(self) -> bool:
        """Return whether no file is left that was still being written."""
        return not self._unsettled

    @property
    def waiting(self) -> FileLine | None:
        """See `Tail`: a finished file's last line is a record."""
        return None

    def behind(self) -> int:
        """Return the bytes of files that were found and not returned yet, as they are stored."""
        return self._bytes

    def next(self) -> LineBatch | None:
        """Return the next records; None: no finished file is left. Raises FeedDown."""
        try:
            batch = next(self._batches, None)
            if batch is None and monotonic_s() >= self._due_s:
                self._batches = self._look()
                batch = next(self._batches, None)
                self._due_s = monotonic_s() + (self._pace.look_s if batch is None else 0.0)
        except FeedDown as fault:
            if not self._pace.patient:
                raise
            wait_s = self._backoff.next_s()
            log.warning("%s: again in %.1f s", fault.detail, wait_s)
            self._observe(FileEvent.UNREADABLE)
            self._due_s = monotonic_s() + wait_s
            return None
        self._backoff.reset()
        return batch

    def _look(self) -> Iterator[LineBatch]:
        """Read the files that are finished now; forget names that are gone."""
        there: set[str] = set()
        ready: list[tuple[bool, float, str, RemoteFile]] = []
        self._unsettled, self._fault = 0, None
        begun = None if self._place is None else self._place.inode
        for file in self._files.listed():
            there.add(file.name)
            mark = mark_of(file)
            if mark in (self._done.get(file.name), self._left.get(file.name)):
                continue
            rests = not self._files.settles or abs(time.time() - file.changed_s) >= (
                self._pace.settle_s
            )
            if rests:
                # The file that was begun comes first: there is one position.
                ready.append((mark != begun, file.changed_s, file.name, file))
            else:
                self._unsettled += 1
        gone = [name for name in self._done if name not in there]
        for name in gone:
            del self._done[name]
        self._bytes = sum(file.size for *_, file in ready)
        return self._read([file for *_, file in sorted(ready, key=lambda one: one[:3])], gone)

    def _read(self, files: list[RemoteFile], gone: list[str]) -> Iterator[LineBatch]:
        lines: list[FileLine] = []
        done: list[DoneFile] = []
        for file in files:
            try:
                for more in self._lines(file):
                    lines += more
                    if len(lines) >= RECORDS_MAX:
                        yield LineBatch(lines, self._place, done)
                        lines, done = [], []
            except (FeedDown, _Damaged) as fault:
                if lines or done:
                    yield LineBatch(lines, self._place, done)
                    lines, done = [], []
                self._failed(file, fault)
                continue
            self._observe(FileEvent.FINISHED)
            self._bytes -= file.size
            self._done[file.name] = mark_of(file)
            done.append(DoneFile(file.name, mark_of(file)))
        if lines or done or gone:
            yield LineBatch(lines, self._place, done, gone)
        if self._fault is not None and not self._pace.patient:
            raise self._fault

    def _failed(self, file: RemoteFile, fault: FeedDown | _Damaged) -> None:
        """Leave a file alone: for now if it changed or went, else until it is another one."""
        if isinstance(fault, _Damaged):
            self._left[file.name] = mark_of(file)
            log.error("%s; what came before was sent, and it is left alone", fault)
            self._observe(FileEvent.DAMAGED)
        elif fault.reason in _OF_ONE_FILE:
            log.warning("%s", fault.detail)
            self._observe(FileEvent.UNREADABLE)
            self._fault = fault
        else:
            raise fault

    def _lines(self, file: RemoteFile) -> Iterator[list[FileLine]]:
        """Yield the lines of a file as they come, and move the position after them."""
        mark, place = mark_of(file), self._place
        if place is None or place.inode != mark:
            self._observe(FileEvent.BEGUN)
            place = FilePosition(0, mark, 0, "", 0, 1, 0)
        unpack = ByMark(file.name)
        begins = not place.at
        with closing(self._bytes_of(file, place, unpack)) as pieces:
            start, fault = _start_of(pieces, SNIFFED if begins else 1)
            is_lines = self._framing is Framing.LINES
            if fault is None and begins and is_lines and is_document(start):
                yield self._records(file, start, pieces)
                return
            splitter = LineSplitter(file.name, place.at, place.line, self._bytes_max, self._framing)
            for piece in _whole(start, fault, pieces):
                found = splitter.lines(piece)
                packed = _PACKED if unpack.is_packed or place.device else 0
                self._place = FilePosition(packed, mark, 0, "", splitter.at, splitter.number, 0)
                if found:
                    yield found
            if last := splitter.last_lines():
                yield last

    def _bytes_of(self, file: RemoteFile, place: FilePosition, unpack: ByMark) -> Generator[bytes]:
        """Yield the unpacked bytes of a file from its position on. Raises FeedDown, _Damaged."""
        if place.at and place.device != _PACKED:
            yield from self._files.pieces(file, place.at)
            return
        drop, total = place.at, 0
        for piece in _unpacked(file, self._files.pieces(file), unpack):
            total += len(piece)
            if total > max(UNPACKED_MIN, RATIO_MAX * file.size):
                raise _Damaged(f"{file.name} unpacks to more than {RATIO_MAX} times its size")
            if len(piece) > drop:
                yield piece[drop:]
            drop = max(0, drop - len(piece))

    def _records(self, file: RemoteFile, start: bytes, pieces: Iterator[bytes]) -> list[FileLine]:
        """Return the records of one JSON document; a record's place is its number."""
        data = bytearray(start)
        for piece in pieces:
            data += piece
            if len(data) > WHOLE_BYTES_MAX:
                self._observe(FileEvent.TOO_LARGE)
                text = f"{file.name}: a JSON document of more than {WHOLE_BYTES_MAX} bytes"
                raise _Damaged(f"{text}: write JSON lines")
        return [
            FileLine(file.name, 0, number, record[: self._bytes_max], len(record))
            for number, record in enumerate(records_in(bytes(data)), 1)
        ]


def _start_of(pieces: Iterator[bytes], enough: int) -> tuple[bytes, FeedDown | _Damaged | None]:
    """Return the first bytes, and the fault that came with them."""
    start = b""
    try:
        for piece in pieces:
            start += piece
            if len(start) >= enough:
                break
    except (FeedDown, _Damaged) as fault:
        return start, fault
    return start, None


def _whole(
    start: bytes, fault: FeedDown | _Damaged | None, pieces: Iterator[bytes]
) -> Iterator[bytes]:
    """Yield the start, then its fault or the rest: what came before a fault is read."""
    yield start
    if fault is not None:
        raise fault
    yield from pieces


def _unpacked(file: RemoteFile, pieces: Iterator[bytes], unpack: ByMark) -> Iterator[bytes]:
    for piece in pieces:
        try:
            yield from unpack.feed(piece)
        except FeedDown as fault:
            raise _Damaged(fault.detail) from fault
    try:
        yield from unpack.rest()
        unpack.end()
    except FeedDown as fault:
        raise _Damaged(f"{file.name}: {fault.detail}") from fault


def mark_of(file: RemoteFile) -> int:
    """Return a file's name and mark as one number, which the position's file keeps."""
    text = f"{file.name}\0{file.mark}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)
