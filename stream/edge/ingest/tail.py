"""One growing file, read in order over restarts and rotation. Blocks.

Rotation by renaming (logrotate's `create`, FreeSWITCH's own): the renamed file is read to its end
first. It counts as ended only when the writer has begun the new one: until then it may still write
to the old. `copytruncate`: the rest is read from the copy. Lines written between the copy and the
truncation are lost to everybody, as logrotate's manual says.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from stream.calls.submitted_records import Framing
from stream.edge.ingest.file_lines import FileEvent, FileLine, FilePosition, LineBatch
from stream.edge.ingest.record_file import (
    RecordFile,
    Truncated,
    between,
    end_of_records,
    found_again,
)

log = logging.getLogger(__name__)


class Tail:
    """Reader of the file at `path`, from `place` on (None: it was never read). Close it.

    `framing` says what ends a record. `from_end`: leave out what it holds when first seen.
    `last_line`: a last record without its end is one.
    """

    def __init__(
        self,
        path: Path,
        place: FilePosition | None,
        bytes_max: int,
        observe: Callable[[FileEvent], None],
        *,
        framing: Framing = Framing.LINES,
        from_end: bool = False,
        last_line: bool = False,
    ) -> None:
        self._path = path
        self._framing = framing
        self._place = place
        self._bytes_max = bytes_max
        self._from_end, self._takes_last_line = from_end, last_line
        self._observe = observe
        self._file: RecordFile | None = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def finished(self) -> bool:
        """True: once `next` has returned None, everything there was read."""
        return True

    @property
    def waiting(self) -> FileLine | None:
        """The place of a last record whose end has not come yet, without its text."""
        if self._file is None or not self._file.lines.unfinished:
            return None
        lines = self._file.lines
        return FileLine(lines.file, lines.at, lines.number, b"", lines.unfinished)

    def behind(self) -> int:
        """Return the bytes of whole and half records that were not returned yet.

        Another thread may call `next` meanwhile, and leave the file at any line.
        """
        file = self._file
        if file is None:
            return _size(self._path)
        try:
            left = max(0, file.size - file.lines.read_to)
            return left if self._is_live(file) else left + _size(self._path)
        except OSError:  # it was closed: what is left is in its successor
            return _size(self._path)

    def next(self) -> LineBatch | None:
        """Return the next records and the position after them; None: there is no more now."""
        never = False
        while True:
            if self._file is None:
                never = self._place is None
                if not self._begin():
                    return None
            file = self._file
            assert file is not None, "begun"
            if never:
                # Saved at once, or a rotation before the first line is sent would lose the file.
                never, self._place = False, file.place
                return LineBatch((), self._place)
            before = None if file.lines.read_to else file.place
            try:
                piece = file.read()
            except Truncated:
                self._truncated(file)
                continue
            except OSError as error:
                log.warning("%s cannot be read: %s", file.path, error.strerror)
                self._observe(FileEvent.UNREADABLE)
                self._leave(file)
                return None
            if piece and before is not None and self._was_another(file, before):
                continue
            if piece:
                lines = file.lines.lines(piece)
                if lines:
                    return LineBatch(lines, file.place)
            elif file.old:
                return self._ended(file)
            elif self._replaced(file):
                file.old = True
            else:
                return self._last_line(file)

    def _was_another(self, file: RecordFile, before: FilePosition) -> bool:
        """Open a copy of the file's earlier content, if there is one; return whether there is."""
        older = None if file.old else between(self._path, before, None, file.place.touched_ns)
        if older is None:
            return False
        self._observe(FileEvent.TRUNCATED)
        file.close()
        self._file = RecordFile(older, 0, 1, self._bytes_max, self._framing)
        return True

    def _last_line(self, file: RecordFile) -> LineBatch | None:
        lines = file.lines.last_lines() if self._takes_last_line else []
        return LineBatch(lines, file.place) if lines else None

    def _begin(self) -> bool:
        """Open the next file; return whether there is one."""
        place = self._place
        try:
            if place is None:
                self._file = self._first()
            else:
                self._file = found_again(self._path, place, self._bytes_max, self._framing)
                if self._file is None:
                    self._file = self._after(place, None)
                    if self._file is not None:
                        self._observe(FileEvent.LOST)
                        log.error(
                            "%s: the file that was read up to byte %d is gone from the folder; "
                            "if it was longer, the rest is lost. Rotate without compressing at "
                            "once (logrotate's delaycompress)",
                            self._path, place.at,
                        )  # fmt: skip
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("%s cannot be opened: %s", self._path, error.strerror)
                self._observe(FileEvent.UNREADABLE)
        return self._file is not None

    def _first(self) -> RecordFile:
        at, number = end_of_records(self._path, self._framing) if self._from_end else (0, 1)
        self._observe(FileEvent.BEGUN)
        return RecordFile(self._path, at, number, self._bytes_max, self._framing)

    def _after(self, place: FilePosition, ended: RecordFile | None) -> RecordFile | None:
        """Open the file that follows the one read to `place`; None: there is none yet."""
        path = between(self._path, place, ended) or self._path
        try:
            file = RecordFile(path, 0, 1, self._bytes_max, self._framing)
        except FileNotFoundError:
            return None
        self._observe(FileEvent.BEGUN)
        log.info("reading %s from its beginning", path)
        return file

    def _ended(self, file: RecordFile) -> LineBatch | None:
        """Return the last lines of a rotated file, and open the next file."""
        last = file.lines.last_lines()
        place = file.place
        following = self._after(place, file)
        if following is not None:
            place = following.place
            file.close()
            self._file = following
            self._observe(FileEvent.FINISHED)
        elif not last:
            return None
        return LineBatch(last, place)

    def _replaced(self, file: RecordFile) -> bool:
        """Return whether another file is in its place, and has content."""
        if self._is_live(file) or not _size(self._path):
            return False
        self._observe(FileEvent.ROTATED)
        log.info("%s was rotated; the old file is read to its end first", self._path)
        return True

    def _is_live(self, file: RecordFile) -> bool:
        try:
            about = self._path.stat()
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == file.identity

    def _truncated(self, file: RecordFile) -> None:
        """Leave the truncated file: the copy made before it holds the rest, if there is one."""
        self._observe(FileEvent.TRUNCATED)
        log.info("%s was emptied or rewritten in its place", file.path)
        self._leave(file)

    def _leave(self, file: RecordFile) -> None:
        """Close it; `found_again` finds it by its position."""
        self._place = file.place
        file.close()
        self._file = None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
