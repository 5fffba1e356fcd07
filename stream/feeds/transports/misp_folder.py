"""A MISP feed's folder: manifest.json and a file for each event, as a folder, a zip or a tar.

Layout: PyMISP's tools/feed.py. No name in an archive becomes a path, and its sizes are not trusted:
reading stops at the limits.
"""

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol, cast

import msgspec

from stream.feeds.formats.json_objects import BROKEN, PIECE_BYTES
from stream.feeds.formats.rows import InputUnreadable
from stream.ops.untrusted_folders import Folder

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 32 << 20
"""The largest manifest, which is decoded as a whole. One of `EVENTS_MAX` events is smaller."""
EVENTS_MAX = 65_000
"""Events of a feed: a zip of more files is another format (ZIP64)."""
DIRECTORY_BYTES_MAX = 16 << 20
"""The largest directory of a zip: all of it becomes objects before the first file is read."""
TOTAL_BYTES_MAX = 1 << 30
"""All events together, unpacked: an archive of 1 MB can hold as much."""
READ_BYTES_MAX = 4 << 20
"""Bytes that tarfile may read at once: it trusts a header that announces a file name of 4 GB."""

_COMPRESSED: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_USTAR = (257, b"ustar")
"""The place and the mark of an uncompressed tar."""
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, KeyError, struct.error),
)
"""Exceptions of zipfile and tarfile for damaged archives, as seen in fuzzing."""


class _Entry(msgspec.Struct):
    timestamp: str | int = 0


class _Files(Protocol):
    def names(self) -> list[str]: ...
    def open(self, name: str) -> IO[bytes]: ...
    def close(self) -> None: ...


class _Directory:
    def __init__(self, path: Path) -> None:
        self._folder = Folder.at(path)

    def names(self) -> list[str]:
        return [one.name for one in self._folder.found() if one.is_plain]

    def open(self, name: str) -> IO[bytes]:
        return os.fdopen(self._folder.open(name), "rb")

    def close(self) -> None:
        self._folder.close()


class _Zip:
    def __init__(self, path: Path) -> None:
        _look_at_directory(path)
        self._zip = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return [one.filename for one in self._zip.infolist() if not one.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        if self._zip.getinfo(name).flag_bits & 1:
            raise InputUnreadable(f"{name} is encrypted: a feed's archive has no password")
        return self._zip.open(name)

    def close(self) -> None:
        self._zip.close()


def _look_at_directory(path: Path) -> None:
    """Refuse a zip whose directory is too large, before reading it (APPNOTE.TXT, 4.3.16)."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - 22 - 20))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    is_64 = tail[max(0, at - 20) : at].startswith(b"PK\x06\x07")
    if is_64 or len(tail) < at + 22:
        raise _too_much()
    if struct.unpack_from("<L", tail, at + 12)[0] > DIRECTORY_BYTES_MAX:
        raise _too_much()


class _Careful:
    """A file for tarfile that reads only so much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.close, self.seek, self.tell = file.close, file.seek, file.tell
        self._read = file.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= READ_BYTES_MAX:
            raise _too_much()
        return self._read(size)


class _Tar:
    def __init__(self, path: Path) -> None:
        # Compressed, it could only be read from its beginning for each event again.
        self._file = _Careful(_uncompressed(path))
        self._held: dict[str, tarfile.TarInfo] = {}
        try:
            self._tar = tarfile.open(fileobj=cast("IO[bytes]", self._file), mode="r:")  # noqa: SIM115
            for count, one in enumerate(self._tar):
                _bounded(count, 2 * EVENTS_MAX)
                if one.isreg():
                    self._held[one.name] = one
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return list(self._held)

    def open(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._held[name])
        assert file is not None, "only regular files are held"
        return file

    def close(self) -> None:
        self._tar.close()
        self._file.close()


def _uncompressed(path: Path) -> IO[bytes]:
    """Return the archive, or a nameless file with its unpacked content, within the limit."""
    with path.open("rb") as file:
        head = file.read(6)
    opener = next((one for mark, one in _COMPRESSED.items() if head.startswith(mark)), None)
    if opener is None:
        return path.open("rb")
    unpacked, budget = TemporaryFile(), [TOTAL_BYTES_MAX]  # noqa: SIM115  the caller's to close
    try:
        with opener(path) as packed:
            unpacked.writelines(_pieces(path, packed, budget))
        unpacked.seek(0)
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder or an archive of one, and not a JSON file.

    Raises InputUnreadable if it cannot be read.
    """
    with _translated(path):
        return path.is_dir() or zipfile.is_zipfile(path) or _is_tar(path)


def read_folder(path: Path) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of each event's file, older events first. Read each before the next.

    Raises InputUnreadable, also while they are read: no manifest, more than the limits, or a
    missing event. (Half a feed would remove the other half from the list.)
    """
    with _translated(path), closing(_open(path)) as files:
        names = files.names()
        manifests = [one for one in names if one.rpartition("/")[2] == MANIFEST]
        if not manifests:
            raise InputUnreadable(f"{path}: there is no {MANIFEST}: not the folder of a feed")
        manifest = min(manifests, key=lambda name: name.count("/"))
        folder, budget = manifest.removesuffix(MANIFEST), [TOTAL_BYTES_MAX]
        with files.open(manifest) as file:
            events = _manifest(file.read(MANIFEST_BYTES_MAX + 1))
        absent = {f"{folder}{event}.json" for event in events} - set(names)
        if absent:
            raise InputUnreadable(
                f"{path}: {len(absent)} of {len(events)} events of its {MANIFEST} are missing, "
                f"{min(absent)} for one: fetch the whole feed again"
            )
        for event in sorted(events, key=lambda event: int(events[event].timestamp)):
            with files.open(f"{folder}{event}.json") as file:
                yield _pieces(path, file, budget)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise InputUnreadable for damaged archives and faults of the disk."""
    try:
        yield
    except OSError as error:  # zipfile and gzip raise it too
        raise InputUnreadable(f"{path}: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise InputUnreadable(f"{path}: a damaged archive: {error}") from error


def _is_tar(path: Path) -> bool:
    """Return whether a file has the mark of a tar, or of a compression: tarfile would read on."""
    with path.open("rb") as file:
        head = file.read(512)
    place, mark = _USTAR
    return head[place:].startswith(mark) or head.startswith(tuple(_COMPRESSED))


def _open(path: Path) -> _Files:
    if path.is_dir():
        return _Directory(path)
    return _Zip(path) if zipfile.is_zipfile(path) else _Tar(path)


def _manifest(data: bytes) -> Mapping[str, _Entry]:
    # An entry has an organisation and tags: some objects each.
    if len(data) > MANIFEST_BYTES_MAX or data.count(b"{") > 20 * EVENTS_MAX:
        raise _too_much()
    try:
        events = msgspec.json.decode(data, type=dict[str, _Entry])
        for entry in events.values():
            int(entry.timestamp)
    except (*BROKEN, ValueError) as error:
        raise InputUnreadable(f"{MANIFEST} cannot be read: {error}") from error
    if len(events) > EVENTS_MAX:
        raise _too_much()
    return events


def _pieces(path: Path, file: IO[bytes], budget: list[int]) -> Iterator[bytes]:
    with _translated(path):  # their reader is not within `read_folder`
        while piece := file.read(PIECE_BYTES):
            budget[0] -= len(piece)
            if budget[0] < 0:
                raise _too_much()
            yield piece


def _bounded(count: int, most: int) -> None:
    if count > most:
        raise _too_much()


def _too_much() -> InputUnreadable:
    return InputUnreadable(
        f"more than {EVENTS_MAX} events, or more than {TOTAL_BYTES_MAX >> 20} MB unpacked: refused"
    )
