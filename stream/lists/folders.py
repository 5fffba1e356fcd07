"""A MISP feed's folder: manifest.json and a file for each event, as a folder, a zip or a tar.

Layout: PyMISP's tools/feed.py. Nothing is unpacked to disk, no name in an archive becomes a path,
and what it says of its sizes is not believed: reading stops at the limits.
"""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Protocol

import msgspec

from stream.lists.formats.documents import BROKEN, PIECE_BYTES
from stream.lists.formats.rows import InputUnreadable

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 32 << 20
EVENTS_MAX = 100_000
TOTAL_BYTES_MAX = 2 << 30
"""Of all events together, as unpacked: an archive of 2 MB can hold as much."""

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, KeyError, struct.error),
)
"""What zipfile and tarfile are seen to raise for archives that were damaged."""


class _Entry(msgspec.Struct):
    timestamp: str | int = 0


class _Files(Protocol):
    def names(self) -> list[str]: ...
    def open(self, name: str) -> IO[bytes]: ...
    def close(self) -> None: ...


class _Directory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return [one.name for one in self._path.iterdir() if one.is_file()]

    def open(self, name: str) -> IO[bytes]:
        return (self._path / name).open("rb")

    def close(self) -> None:
        pass


class _Zip:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return [one.filename for one in self._zip.infolist() if not one.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        if self._zip.getinfo(name).flag_bits & 1:
            raise InputUnreadable(f"{name} is encrypted: a feed's archive has no password")
        return self._zip.open(name)

    def close(self) -> None:
        self._zip.close()


class _Tar:
    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "r:*")  # noqa: SIM115  closed by `close`
        self._held: dict[str, tarfile.TarInfo] = {}
        size = 0
        for count, one in enumerate(self._tar):
            size += one.size
            if count > 2 * EVENTS_MAX or size > TOTAL_BYTES_MAX:
                raise _too_much()
            if one.isfile():
                self._held[one.name] = one

    def names(self) -> list[str]:
        return list(self._held)

    def open(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._held[name])
        assert file is not None, "only regular files are held"
        return file

    def close(self) -> None:
        self._tar.close()


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder or an archive of one, and not a JSON file.

    Raises InputUnreadable if it can not be read.
    """
    with _translated(path):
        return path.is_dir() or zipfile.is_zipfile(path) or _is_tar(path)


def read_folder(path: Path) -> Iterator[Iterator[bytes]]:
    """The bytes of each event's file, older events first; each is to be read before the next.

    Raises InputUnreadable, also while they are read: no manifest, an event of the manifest that is
    not there (half a feed would take the other half off the list), or more than the limits.
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
    """What archives are found to be damaged by, and outages of the disk, are InputUnreadable."""
    try:
        yield
    except OSError as error:  # zipfile and gzip raise it too
        raise InputUnreadable(f"{path}: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise InputUnreadable(f"{path}: a damaged archive: {error}") from error


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _DAMAGED:  # packed as an archive may be, and damaged: opening it will say so
        return True


def _open(path: Path) -> _Files:
    if path.is_dir():
        return _Directory(path)
    return _Zip(path) if zipfile.is_zipfile(path) else _Tar(path)


def _manifest(data: bytes) -> Mapping[str, _Entry]:
    if len(data) > MANIFEST_BYTES_MAX:
        raise _too_much()
    try:
        events = msgspec.json.decode(data, type=dict[str, _Entry])
        for entry in events.values():
            int(entry.timestamp)
    except (*BROKEN, ValueError) as error:
        raise InputUnreadable(f"{MANIFEST} can not be read: {error}") from error
    if len(events) > EVENTS_MAX:
        raise _too_much()
    return events


def _pieces(path: Path, file: IO[bytes], budget: list[int]) -> Iterator[bytes]:
    with _translated(path):  # whoever reads them is not within `read_folder`
        while piece := file.read(PIECE_BYTES):
            budget[0] -= len(piece)
            if budget[0] < 0:
                raise _too_much()
            yield piece


def _too_much() -> InputUnreadable:
    return InputUnreadable(
        f"more than {EVENTS_MAX} events, or more than {TOTAL_BYTES_MAX >> 20} MB unpacked: refused"
    )
