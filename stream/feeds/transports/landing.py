"""Write a fetched version: one file beside its place, counted and hashed while written.

Only a complete file gets its name. After any failure, also a cancellation, nothing is left.
A folder, as MISP publishes a feed, becomes one file too: a tar that depends on its content alone.
"""

import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, cast

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.transport import Fetched
from stream.ops.clock import monotonic_s


class Landing:
    """A file being written at `path`, later `into`: at most `bytes_max` bytes from `origin`."""

    def __init__(self, into: Path, bytes_max: int, origin: str) -> None:
        self.path = into.with_name(f"{into.name}.part")
        self.bytes_max, self.origin = bytes_max, origin
        self._into = into
        # 0600: it may hold whole numbers. Truncated: a killed fetch may have left its half here.
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._digest = hashlib.sha256()
        self.size = 0
        self.dropped = False

    def drop(self) -> None:
        """Delete the file at the end of the block, though nothing went wrong."""
        self.dropped = True

    def write(self, data: bytes) -> None:
        """Append. Blocks for as long as the disk takes. Raises FeedDown."""
        self.size += len(data)
        if self.size > self.bytes_max:
            raise too_large(self.origin, self.bytes_max)
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:  # a write may take a part only, on a disk that is nearly full
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _unwritable(error) from error

    def content(self) -> bytes:
        """Return all that was written so far; for small files."""
        return self.path.read_bytes()

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was written so far, hex."""
        return self._digest.hexdigest()

    def fetched(
        self,
        remember: Mapping[str, str],
        *,
        whole: bool = True,
        as_of_s: int | None = None,
        wait_s_min: float = 0.0,
    ) -> Fetched:
        """Return the complete file as a version; `Fetched` explains the arguments."""
        return Fetched(
            self._into, self.size, self.sha256, remember, whole, as_of_s, wait_s_min, self.origin
        )

    def close(self, *, complete: bool) -> None:
        """Close the file. One that is not complete is deleted."""
        try:
            os.close(self._descriptor)
            if complete:
                self.path.replace(self._into)
        finally:
            self.path.unlink(missing_ok=True)


@contextmanager
def landing(into: Path, bytes_max: int, origin: str) -> Iterator[Landing]:
    """Open a file to write; it becomes `into` if the block succeeds. Raises FeedDown(DOWN)."""
    try:
        land = Landing(into, bytes_max, origin)
    except OSError as error:
        raise _unwritable(error) from error
    complete = False
    try:
        yield land
        complete = not land.dropped
    finally:  # also after a cancellation: the next fetch must find nothing
        land.close(complete=complete)


def _unwritable(error: OSError) -> FeedDown:
    where = f"{error.filename}: " if error.filename else ""
    text = f"the new version cannot be written on this machine: {where}{error.strerror}"
    return FeedDown(FeedFault.DOWN, text)


def too_large(origin: str, bytes_max: int) -> FeedDown:
    """Return the fault of a version beyond its limit."""
    text = f"{origin} has more than bytes_max = {bytes_max:,} bytes; raise it if this is right"
    return FeedDown(FeedFault.TOO_LARGE, text)


class Bundle:
    """A tar to which files are added one after the other. No name has a folder in it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, size: int, file: IO[bytes]) -> None:
        """Add `size` bytes of a file. Raises FeedDown(TOO_LARGE), OSError if it is shorter.

        Its time, owner and rights are left out: equal content must give an equal tar.
        """
        assert "/" not in name, name
        info = tarfile.TarInfo(name)
        info.size = size
        self._tar.addfile(info, file)


class _Sink:
    def __init__(self, land: Landing) -> None:
        self._land = land

    def write(self, data: bytes) -> int:
        self._land.write(data)
        return len(data)

    def tell(self) -> int:
        return self._land.size


@contextmanager
def bundle(land: Landing) -> Iterator[Bundle]:
    """Write a tar into `land`. It gets its end only if the block succeeds.

    Not tarfile's stream mode: its object writes the rest when it is collected. After a failure that
    may be into another file, which has our descriptor's number by then.
    """
    sink = cast("IO[bytes]", _Sink(land))
    tar = tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT)
    yield Bundle(tar)
    tar.close()


@dataclass(frozen=True, slots=True)
class Pace:
    """The fewest bytes a second in each window.

    Without this limit a server that sends a byte now and then would hold us to the deadline.
    """

    bytes_per_s_min: int
    window_s: float


class Slowness:
    """A watch over a body that may drip."""

    def __init__(self, pace: Pace, origin: str) -> None:
        self._pace, self._origin = pace, origin
        self._since_s, self._bytes = monotonic_s(), 0

    def took(self, size: int) -> str:
        """Count `size` bytes more; at the end of a slow window return what was slow, else ""."""
        self._bytes += size
        past_s = monotonic_s() - self._since_s
        if past_s < self._pace.window_s:
            return ""
        if self._bytes < self._pace.bytes_per_s_min * past_s:
            text = f"{self._origin} sent {self._bytes:,} bytes in {past_s:.0f} s, less than"
            return f"{text} bytes_per_s_min = {self._pace.bytes_per_s_min:,}"
        self._since_s, self._bytes = self._since_s + past_s, 0
        return ""


def date_s(text: str | None) -> int | None:
    """Return an HTTP date (RFC 9110 5.6.7) in seconds since the epoch; None: it is none."""
    try:
        date = parsedate_to_datetime(text or "")
        # Of the three forms one has no zone; all mean Greenwich.
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        return None
