"""A repository as it lies on the disk: read what is published, write a new version, safely.

A partner sees the files that `timestamp.json` leads to. Everything else is written before it, under
names that nothing leads to yet; the rename of `timestamp.json` is the moment of publication. A kill
before that leaves the old version in force.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from stream.core.model.errors import ExchangeFault
from stream.lists.snapshot.durable_files import locked
from stream.ops.private_files import sync_folder

METADATA: Final = "metadata"
TARGETS: Final = "targets"
FILE_MODE: Final = 0o644  # a web server of another user reads them
FOLDER_MODE: Final = 0o755
"""A web server of another user reads what is published."""
PRUNE_S: Final = 86_400
"""Files that nothing leads to any more stay a day: someone may still be fetching them."""
_TEMP: Final = ".writing"
"""Suffix of a file that is not whole yet: no metadata name ends so."""
_ROOT = re.compile(r"(\d+)\.root\.json\Z")


@dataclass(frozen=True, slots=True)
class PublishedMetadata:
    """One version of a repository: each role's file, as bytes; `roles` are those of lists."""

    root: bytes
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    roles: Mapping[str, bytes]

    def read_root(self) -> Root:
        """Decode root."""
        return Metadata[Root].from_bytes(self.root).signed

    def read_snapshot(self) -> Snapshot:
        """Decode snapshot."""
        return Metadata[Snapshot].from_bytes(self.snapshot).signed

    def read_timestamp(self) -> Timestamp:
        """Decode timestamp."""
        return Metadata[Timestamp].from_bytes(self.timestamp).signed

    def read_targets(self) -> Targets:
        """Decode the top-level targets."""
        return Metadata[Targets].from_bytes(self.targets).signed

    def read_role(self, role: str) -> Targets:
        """Decode a list's role."""
        return Metadata[Targets].from_bytes(self.roles[role]).signed

    def all_targets(self) -> dict[str, TargetFile]:
        """Return every target of every role."""
        found = dict(self.read_targets().targets)
        for role in self.roles:
            found |= self.read_role(role).targets
        return found

    def with_role(self, role: str, data: bytes) -> "PublishedMetadata":
        """Return the same with another file for a list's role."""
        return replace(self, roles={**self.roles, role: data})


def read(folder: Path) -> PublishedMetadata:
    """Return what is published in `folder`. Raises ExchangeFault."""
    place = folder / METADATA
    try:
        newest = newest_root(folder)
        if newest == 0:
            text = f"{folder} is no repository: `ringfence exchange init` makes one"
            raise ExchangeFault(text)
        root = _read(place / f"{newest}.root.json")
        timestamp = _read(place / "timestamp.json")
        one = Metadata[Timestamp].from_bytes(timestamp).signed.snapshot_meta
        snapshot = _read(place / f"{one.version}.snapshot.json", one)
        meta = Metadata[Snapshot].from_bytes(snapshot).signed.meta
        files = {
            name.removesuffix(".json"): _read(place / f"{one.version}.{name}", one)
            for name, one in meta.items()
        }
        return PublishedMetadata(root, timestamp, snapshot, files.pop("targets"), files)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ExchangeFault(f"{folder} cannot be read: {where}{error.strerror}") from error
    except (RepositoryError, KeyError) as error:
        text = f"{folder} is damaged: {error}; restore it, or `exchange init` a new one beside it"
        raise ExchangeFault(text) from error


def _read(path: Path, meta: MetaFile | None = None) -> bytes:
    """Return a metadata file, checked by its entry `meta`. Raises OSError, RepositoryError.

    What we read here is signed again with the next version: never what was altered on the disk.
    """
    data = path.read_bytes()
    try:
        if meta is not None:
            meta.verify_length_and_hashes(data)
        else:
            Metadata.from_bytes(data)
    except RepositoryError as error:
        raise RepositoryError(f"{path.name}: {error}") from error
    return data


def newest_root(folder: Path) -> int:
    """Return the newest version of root; 0: there is none."""
    place = folder / METADATA
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    return max((int(found[1]) for name in names if (found := _ROOT.match(name))), default=0)


def names_of(published: PublishedMetadata) -> Iterator[tuple[str, bytes]]:
    """Yield each metadata file but root, in the order in which they have to be written."""
    snapshot = published.read_snapshot()
    for role, data in published.roles.items():
        yield f"{snapshot.meta[f'{role}.json'].version}.{role}.json", data
    yield f"{snapshot.meta['targets.json'].version}.targets.json", published.targets
    yield f"{snapshot.version}.snapshot.json", published.snapshot
    yield "timestamp.json", published.timestamp


def write(folder: Path, published: PublishedMetadata) -> None:
    """Publish: lists' roles, targets, snapshot, and timestamp last. Raises ExchangeFault.

    A file that nothing leads to from now on gets the time of now, from which `prune` counts.
    """
    with suppress(ExchangeFault):  # the first version, or a damaged one, has none before it
        for path in _used(folder, read(folder)) - _used(folder, published):
            with suppress(OSError):
                os.utime(path, (time.time(),) * 2)
    for name, data in names_of(published):
        put(folder / METADATA / name, data)


def write_root(folder: Path, version: int, data: bytes) -> None:
    """Write a new root: clients ask for the next version by its name."""
    put(folder / METADATA / f"{version}.root.json", data)


def open_folder(folder: Path) -> None:
    """Make a folder that others may read, with those above it; raises OSError.

    Published files can be read by a web server of another user, for any umask of this process (0077
    in our systemd units). Private files have their own modes.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        place.chmod(FOLDER_MODE)


def closed_above(folder: Path) -> Path | None:
    """Return the topmost folder above that a web server of another user cannot enter."""
    closed = [one for one in folder.absolute().parents if not one.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def put(path: Path, content: bytes | Path) -> None:
    """Write a file, whole and lasting or not at all; one that is there is replaced at once.

    Raises ExchangeFault.
    """
    temporary = path.with_name(f"{path.name}{_TEMP}")
    try:
        open_folder(path.parent)
        if isinstance(content, bytes) and path.is_file() and path.read_bytes() == content:
            return
        with temporary.open("wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)  # open() would apply the umask
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # The rename is atomic, and lasts once the folder is synced too. Without that a power cut
        # could leave timestamp.json leading to files that are not there.
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        text = f"{path} cannot be written: {error.strerror}; what was published stays"
        raise ExchangeFault(text) from error


def link(source: Path, path: Path) -> None:
    """Link the file under another name; copy it where the disk cannot. Raises ExchangeFault.

    One that is older than the file is of a file before: that was damaged, and fetched again.
    """
    temporary = path.with_name(f"{path.name}{_TEMP}")
    try:
        if path.is_file() and path.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            return
        open_folder(path.parent)
        temporary.unlink(missing_ok=True)
        temporary.hardlink_to(source)
        temporary.replace(path)
    except OSError:
        put(path, source)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the repository's lock, which lies beside its folder. Raises ExchangeFault.

    Each change reads the published metadata and signs its next version. Two at once would lose the
    changes of one, and give one version number to different content.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock")):
            yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ExchangeFault(f"{folder} cannot be used: {where}{error.strerror}") from error


def place_of(folder: Path, target: TargetFile) -> Path:
    """Return a target's place: its SHA-256 is part of its name, so that versions never mix."""
    head, _, name = target.path.rpartition("/")
    return folder / TARGETS / head / f"{target.hashes['sha256']}.{name}"


def meta_of(data: bytes) -> MetaFile:
    """Return a file's entry in snapshot or timestamp: version, length, hash."""
    return MetaFile.from_data(Metadata.from_bytes(data).signed.version, data, ["sha256"])


def prune(folder: Path, published: PublishedMetadata, older_than_s: float) -> int:
    """Delete what nothing has led to for so long: someone may still be fetching.

    Roots stay: they are how an old client finds to the newest. Returns how many files went.
    """
    used = _used(folder, published)
    before_s, gone = time.time() - older_than_s, 0
    for place in (folder / METADATA, folder / TARGETS):
        for path in sorted(place.rglob("*")):
            if path in used or not path.is_file() or _ROOT.match(path.name):
                continue
            if path.stat().st_mtime < before_s:
                path.unlink()
                gone += 1
    return gone


def _used(folder: Path, published: PublishedMetadata) -> set[Path]:
    """Return every file that the timestamp leads to, and itself."""
    used = {folder / METADATA / name for name, _ in names_of(published)}
    return used | {place_of(folder, target) for target in published.all_targets().values()}
