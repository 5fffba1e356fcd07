"""A file at a path. It is copied, so that the hashed bytes are the parsed ones.

A folder with a manifest.json, as MISP publishes a feed, is taken as one file too.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from stream.core.model import names
from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.intake import Intake
from stream.feeds.transports.landing import bundle, landing
from stream.feeds.transports.misp_folder import MANIFEST
from stream.feeds.transports.own_thread import OwnThread, Stop, WorkStopped
from stream.feeds.transports.transport import BYTES_MAX, BytesMax, Fetched, Seconds, Unchanged
from stream.ops.schema.checks import filled
from stream.ops.schema.toml import Checked, Problem, Problems
from stream.ops.untrusted_folders import NotPlain, folder_at, open_plain

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """`path` of the file, or of a MISP feed's folder.

    `bytes_max` bounds all of it. `deadline_s` bounds reading it: mounts may hang.
    """

    path: Annotated[str, Checked(filled)]
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """A feed whose owner hands its versions in, by `PUT /v1/feeds/{name}/versions` or by page.

    The partner's token that is named like the owner may do so, and those of `clients`. `bytes_max`
    bounds one version, unpacked.
    """

    clients: tuple[str, ...] = ()
    bytes_max: BytesMax = BYTES_MAX

    def __post_init__(self) -> None:
        found = [
            Problem(("clients",), f"a client {wrong}")
            for name in self.clients
            if (wrong := names.wrong(names.NameKind.CLIENT, name)) is not None
        ]
        if found:
            raise Problems(found)

    def of_file(self, path: Path) -> FileSettings:
        """Return the settings that read one file that was handed in."""
        return FileSettings(path=str(path), bytes_max=self.bytes_max)


class FileTransport:
    """A file that its maker replaces from time to time."""

    def __init__(self, settings: FileSettings) -> None:
        self._path = Path(settings.path)
        self._bytes_max = settings.bytes_max
        self._apart: OwnThread[Fetched | Unchanged] = OwnThread(settings.path, settings.deadline_s)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the file as it is now, always whole. Raises FeedDown."""
        return await self._apart(lambda stop: self._fetch(remembered, into, stop))

    def _fetch(self, remembered: Mapping[str, str], into: Path, stop: Stop) -> Fetched | Unchanged:
        path = self._path
        is_folder = path.is_dir()
        watched = path / MANIFEST if is_folder else path  # MISP writes its manifest last
        mark = {"path": str(path), "stat": stat_mark(watched)}
        if mark.items() <= remembered.items():
            return Unchanged(remembered)
        copy = (bundled if is_folder else copied)(path, into, self._bytes_max, stop)
        if mark["stat"] != stat_mark(watched):
            into.unlink()
            raise unstable(path)
        remember = {**mark, "sha256": copy.sha256}
        if remembered.get("path") == str(path) and remembered.get("sha256") == copy.sha256:
            into.unlink()
            return Unchanged(remember)
        return Fetched(
            into, copy.size, copy.sha256, remember, as_of_s=made_s(mark["stat"]), origin=str(path)
        )


def bundled(folder: Path, into: Path, bytes_max: int, stop: Stop) -> "Copy":
    """Write the JSON files of a folder into one file. Raises FeedDown, and Stopped."""
    origin = readable(folder)
    with landing(into, bytes_max, origin) as land:
        try:
            with folder_at(folder) as below, bundle(land) as whole:
                found = below.found()
                for name in sorted(one.name for one in found if one.is_plain):
                    if stop.is_set():
                        raise WorkStopped
                    if name.endswith(".json"):
                        with os.fdopen(below.open(name), "rb") as file:
                            whole.add(name, os.fstat(file.fileno()).st_size, file)
        except OSError as error:
            if error.strerror is None:  # a file is shorter than it was a moment ago
                raise unstable(folder) from error
            raise unreadable(folder, error) from error
    return Copy(land.size, land.sha256, land.sha256)


class PushTransport:
    """Fetches nothing: the versions of such a feed are handed in."""

    def __init__(self, settings: PushSettings) -> None:
        del settings

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Raises FeedDown."""
        del remembered, into
        raise FeedDown(FeedFault.MISSING, "its versions are handed in; nothing is fetched")


class Copy(NamedTuple):
    """A copied file: size and SHA-256 of the unpacked bytes, and the SHA-256 of the original."""

    size: int
    sha256: str
    published_sha256: str


def copied(
    path: Path, into: Path, bytes_max: int, stop: Stop, opened: Callable[[], int] | None = None
) -> Copy:
    """Copy a file, and unpack it if it is compressed. Raises FeedDown, and Stopped.

    `opened` opens it; without it the path may be a symbolic link, as the operator chose.
    """
    origin = readable(path)
    with landing(into, bytes_max, origin) as land:
        intake = Intake(land)
        try:
            source = opened() if opened is not None else open_plain(path, links=True)
            try:
                _copy(source, intake, stop)
            finally:
                os.close(source)
        except OSError as error:
            raise unreadable(path, error) from error
        intake.end()
        return Copy(land.size, land.sha256, intake.published_sha256)


def _copy(source: int, intake: Intake, stop: Stop) -> None:
    while piece := os.read(source, _PIECE):
        for _ in intake.feed(piece):
            if stop.is_set():
                raise WorkStopped
        if stop.is_set():  # packed pieces of which nothing came
            raise WorkStopped


def stat_mark(path: Path) -> str:
    """Return a mark that changes when the file is written or replaced. Raises FeedDown."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return mark_of(found)


def mark_of(found: os.stat_result) -> str:
    """Return the `stat_mark` of a known status."""
    return f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}"


def made_s(mark: str) -> int:
    """Return the time of the last write to the file of a `stat_mark`, seconds since the epoch."""
    return int(mark.partition(":")[0]) // 1_000_000_000


def readable(path: Path | str) -> str:
    """Return a path for messages: a name on disk may have bytes that are no text."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def unstable(path: Path) -> FeedDown:
    """Return the fault of a file that changes while it is read."""
    text = f"{readable(path)} changed while it was read"
    return FeedDown(FeedFault.UNSTABLE, f"{text}: its maker should write a new one and rename it")


def unreadable(path: Path, error: OSError) -> FeedDown:
    """Return the fault of a file that cannot be read."""
    shown = readable(path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FeedDown(FeedFault.MISSING, f"{shown} does not exist")
    if isinstance(error, PermissionError):
        text = f"{shown} may not be read by user {os.geteuid()}: give that user the right"
        return FeedDown(FeedFault.UNAUTHORISED, text)
    if isinstance(error, NotPlain):
        return FeedDown(FeedFault.DOWN, f"{shown} {error.strerror}")
    return FeedDown(FeedFault.DOWN, f"{shown} cannot be read: {error.strerror}")
