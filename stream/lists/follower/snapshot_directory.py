"""The state directory: the snapshots that a machine starts from, whatever else is down.

    lists/<owner>/<name>/<generation>/   a snapshot's parts, and the mark that they were checked
    lists/<owner>/<name>/changes.jsonl   the changes after it, or all, see change_log.py
    tables/                              bit-sliced tables of the lists, see table_cache.py

All workers of a machine share it. Files are written under the folder's lock, aside, with fsync,
read back, and then renamed. So a reader sees the whole or nothing. Every function blocks on the
disk: call them in a thread.

What is checked when: a snapshot wholly after writing, from the disk and not from memory. At each
start every byte again, by the mark of that check (check_marks.py). Leaving the columns out at start
would let a flipped bit unblock or expire an entry unseen.
"""

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import msgspec

from stream.core.filters.snapshot import MANIFEST_PART, Snapshot, decode_manifest, read_snapshot
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower import change_log
from stream.lists.follower.check_marks import open_checked
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.durable_files import locked, named_faults, write_synced
from stream.lists.snapshot.merge import empty_columns
from stream.ops.private_files import sync_folder

GENERATIONS_KEPT = 2
"""The live one, and the one before it in case the live one is damaged on the disk."""
_ASIDE = ".writing-"
_GONE = ".gone-"
_LOCK = ".lock"
"""One worker writes a list; the others wait, and find it there."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """The newest good snapshot of each list, opened; and what was refused.

    `refused` says of each damaged folder why. A list whose every snapshot is damaged is in
    `refused` alone. `without` are lists that have a folder and no snapshot.
    """

    snapshots: dict[str, Snapshot]
    refused: Mapping[Path, str]
    without: tuple[str, ...]


def list_folder(state_dir: Path, list_name: str) -> Path:
    """Return the folder of list `owner/name`. Its name was checked when its manifest was read."""
    return state_dir / "lists" / list_name


def write_snapshot(
    state_dir: Path,
    parts: Mapping[str, bytes],
    *,
    key: bytes,
    generations_kept: int = GENERATIONS_KEPT,
) -> Path:
    """Put a snapshot into the snapshot directory and return its folder; a whole one there stays.

    `key` is the circle's, for the probes. Older generations beyond `generations_kept` are removed.
    Raises SnapshotUnreadable when the parts are not good or do not read back from the disk.
    """
    manifest = decode_manifest(parts.get(MANIFEST_PART, b""))
    folder = list_folder(state_dir, manifest.list_name)
    target = folder / _place(manifest.generation)
    with named_faults("snapshot directory"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            _remove_unfinished(folder)
            if target.is_dir() and _refusal(target, parts[MANIFEST_PART], key) is None:
                return target
            aside = folder / f"{_ASIDE}{manifest.generation}"
            aside.mkdir()
            try:
                for name in (MANIFEST_PART, *manifest.parts):
                    if name not in parts:
                        raise SnapshotUnreadable(f"{manifest.list_name}: {name} is missing")
                    write_synced(aside / name, parts[name])
                sync_folder(aside)
                refusal = _refusal(aside, parts[MANIFEST_PART], key)
                if refusal is not None:
                    raise SnapshotUnreadable(refusal)
                if target.exists():  # damaged; a folder can only be renamed onto nothing
                    _take_away(target)
                aside.rename(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            sync_folder(folder)
            generations = _generations(folder)
            # Newer ones are of a list store that was restored since from an older copy, and would
            # be taken for the newest at the next start. (Or of another worker, just now: then the
            # one that misses it reads it again.)
            newer = [one for one in generations if one.name > target.name]
            generations = generations[len(newer) :]
            for gone in (*newer, *generations[generations_kept:]):
                _take_away(gone)
            # After them: where a reader's snapshot is still there, so are all changes after it.
            change_log.forget(folder, int(generations[:generations_kept][-1].name))
    return target


def last_good(state_dir: Path, keys: Mapping[str, bytes] | None = None) -> LastGood:
    """Return the newest snapshot of each list that is whole, down to the last byte.

    `keys` maps circles to their keys; where a circle's is given, the probe numbers are looked up
    too. Half-written folders of a process that died are removed, unless a process is writing.
    """
    folders = sorted(path for path in state_dir.glob("lists/*/*") if path.is_dir())
    snapshots: dict[str, Snapshot] = {}
    refused: dict[Path, str] = {}
    without = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # SHA-256 releases the GIL
        found = pool.map(lambda folder: newest(folder, keys or {}), folders)
        for folder, (opened, bad) in zip(folders, found, strict=True):
            refused |= bad
            if opened is not None:
                snapshots[opened.manifest.list_name] = opened
            elif not bad:
                without.append(_list_of(folder))
    return LastGood(snapshots, refused, tuple(without))


def empty_snapshot(list_name: str, circle: str, key: bytes) -> Snapshot:
    """Return the snapshot of a list without a base: it holds nothing but its changes.

    It is in memory alone, and its filter and columns are those of all such lists of the circle.
    """
    owner, _, name = list_name.partition("/")
    empty = _empty(circle, key)
    manifest = msgspec.structs.replace(empty.manifest, owner=owner, name=name)
    return replace(empty, manifest=manifest)


@lru_cache(maxsize=16)
def _empty(circle: str, key: bytes) -> Snapshot:
    version = Version("any", "list", 0, circle, key, key_id(key))
    return read_snapshot(build_snapshot(version, empty_columns(), now_s=0), key=key)


def whole(folder: Path, manifest: bytes, keys: Mapping[str, bytes]) -> Snapshot | None:
    """Return the snapshot in `folder`, checked; None: it is not there, or has another manifest."""
    try:
        if (folder / MANIFEST_PART).read_bytes() != manifest:
            return None
        return open_checked(folder, keys)
    except (SnapshotUnreadable, OSError):
        return None


def remove_snapshots(state_dir: Path, list_name: str) -> None:
    """Remove snapshots of a list that has no base (any more); what has them open keeps them."""
    folder = list_folder(state_dir, list_name)
    if folder.is_dir() and _generations(folder):
        with named_faults("snapshot directory"), locked(folder / _LOCK):
            _remove_unfinished(folder)
            for gone in _generations(folder):
                _take_away(gone)


def remove_list(state_dir: Path, list_name: str, upto: int) -> None:
    """Take a list that was deleted at generation `upto` from the snapshot directory.

    A base above that stays, with the folder: it is of the list that was made again by that name.
    """
    folder = list_folder(state_dir, list_name)
    if folder.is_dir():
        with named_faults("snapshot directory"), locked(folder / _LOCK):
            _remove_unfinished(folder)
            places = _generations(folder)
            old = [place for place in places if int(place.name) <= upto]
            for gone in old:
                _take_away(gone)
            if len(old) == len(places):
                shutil.rmtree(folder)


def newest(folder: Path, keys: Mapping[str, bytes]) -> tuple[Snapshot | None, dict[Path, str]]:
    """Return the newest good snapshot in a list's folder, and why those above it were refused.

    Another worker may take a snapshot away while it is read here, as two newer ones came. Then the
    folder is read again: without that, a start would lack the list until Redis answers. Blocks.
    """
    if _unfinished(folder):
        # Errors pass: this only tidies up, and a start must read where it may not write.
        # Without waiting: a start must not hang while another worker writes a large list.
        with suppress(OSError), locked(folder / _LOCK, wait=False) as alone:
            if alone:
                _remove_unfinished(folder)
    refused: dict[Path, str] = {}
    places = _generations(folder)
    while places:
        place = places.pop(0)
        opened, why = _opened(folder, place, keys)
        if opened is not None:
            return opened, refused
        if place.is_dir():
            refused[place] = why
        else:
            refused, places = {}, _generations(folder)
    return None, refused


def still_there(folder: Path, opened: Snapshot | None) -> bool:
    """Check that no other worker took `opened` away; None: that none put a snapshot there."""
    there = _generations(folder)
    return folder / _place(opened.manifest.generation) in there if opened else not there


def _opened(folder: Path, place: Path, keys: Mapping[str, bytes]) -> tuple[Snapshot | None, str]:
    """Return the snapshot in `place`, checked, or why it is none of this list's."""
    try:
        snapshot = open_checked(place, keys)
    except SnapshotUnreadable as error:
        return None, str(error)
    held = snapshot.manifest
    if (held.list_name, held.generation) != (_list_of(folder), int(place.name)):
        return None, f"{place}: holds {held.list_name}, generation {held.generation}"
    return snapshot, ""


def _refusal(place: Path, manifest: bytes, key: bytes) -> str | None:
    """Return what is wrong with the snapshot in `place`; None: it is good and has this manifest."""
    try:
        circle = decode_manifest(manifest).circle
        open_checked(place, {circle: key})
    except SnapshotUnreadable as error:
        return str(error)
    if (place / MANIFEST_PART).read_bytes() != manifest:
        return f"{place}: another snapshot of the same generation"
    return None


def _list_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _place(generation: int) -> str:
    return f"{generation:012d}"


def _generations(folder: Path) -> list[Path]:
    """Return the snapshots in a list's folder, newest first; none where the list was removed."""
    try:
        return sorted(
            (p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()), reverse=True
        )
    except FileNotFoundError:
        return []


def _take_away(place: Path) -> None:
    """Remove a snapshot. Renamed first: who reads it now misses the folder, never some files."""
    gone = place.with_name(f"{_GONE}{place.name}")
    place.rename(gone)
    shutil.rmtree(gone)


def _remove_unfinished(folder: Path) -> None:
    """Remove what a process that died was writing or removing; only while its lock is held."""
    for path in _unfinished(folder):
        shutil.rmtree(path)


def _unfinished(folder: Path) -> list[Path]:
    found = (*folder.glob(f"{_ASIDE}*"), *folder.glob(f"{_GONE}*"))
    return [path for path in found if path.is_dir()]
