"""Write a fetched version: one file beside its place, counted and hashed while written.

Only a complete file gets its name; after any failure, a cancellation too, nothing is left.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.core.model.errors import FeedDown, FeedFault


class Landing:
    """The file that is being written, at `path`; at most `bytes_max` bytes from `origin`."""

    def __init__(self, path: Path, descriptor: int, bytes_max: int, origin: str) -> None:
        self.path = path
        self._descriptor = descriptor
        self._bytes_max = bytes_max
        self._origin = origin
        self._digest = hashlib.sha256()
        self.size = 0
        self.dropped = False

    def drop(self) -> None:
        """It is of no use: let nothing stay, though nothing went wrong."""
        self.dropped = True

    def write(self, data: bytes) -> None:
        """Append; blocks, for as long as the disk takes. Raises FeedDown."""
        self.size += len(data)
        if self.size > self._bytes_max:
            raise too_large(self._origin, self._bytes_max)
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _unwritable(error) from error

    def content(self) -> bytes:
        """Return all that was written so far: for what is small."""
        return self.path.read_bytes()

    @property
    def sha256(self) -> str:
        """Of all that was written so far, hex."""
        return self._digest.hexdigest()


@contextmanager
def landing(into: Path, bytes_max: int, origin: str) -> Iterator[Landing]:
    """A file to write; it becomes `into` when the block ends well. Raises FeedDown(DOWN)."""
    part = into.with_name(f"{into.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise _unwritable(error) from error
    done = False
    try:
        try:
            land = Landing(part, descriptor, bytes_max, origin)
            yield land
        finally:
            os.close(descriptor)
        if not land.dropped:
            part.replace(into)
            done = True
    finally:
        if not done:
            part.unlink(missing_ok=True)


def _unwritable(error: OSError) -> FeedDown:
    where = f"{error.filename}: " if error.filename else ""
    text = f"the new version cannot be written on this machine: {where}{error.strerror}"
    return FeedDown(FeedFault.DOWN, text)


def too_large(origin: str, bytes_max: int) -> FeedDown:
    """Return the fault of a version beyond its limit."""
    text = f"{origin} has more than bytes_max = {bytes_max:,} bytes; raise it if this is right"
    return FeedDown(FeedFault.TOO_LARGE, text)
