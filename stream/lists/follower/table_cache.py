"""Bit-sliced tables on the disk: made once per machine, mapped read-only by all of its workers.

    tables/<digest>.table    the words, little-endian
    tables/<digest>.json     what is in them, written after them: without it a table is not finished

When a list is replaced, its table is made from the last one's file with that list's bits exchanged,
piece by piece. The worker holds the old table, which it goes on using, and a few megabytes of the
new one, never two whole ones. It turns one filter instead of 64. The new one is mapped when it is
whole, its pages come as they are asked for, and the old one goes.

A table is only a cache. Its checksum is compared each time it is opened, and one that is made from
another is discarded if that one was damaged. Every function blocks on the disk.
"""

import mmap
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
from crc32c import crc32c

from stream.core.filters.sliced_table import STRETCH, TableSpec, exchanged, turned
from stream.core.filters.snapshot import FILTER_PART, Snapshot
from stream.core.kernels.reference import Table
from stream.lists.follower.check_marks import crc_of
from stream.lists.snapshot.durable_files import locked, named_faults, replace_synced, written

TABLES_KEPT = 2
"""The live table, and the one before it, from which the next is made."""
_ASIDE = ".writing-"
_LOCK = ".lock"
"""One worker makes a table, which takes seconds and a core; the others wait, and map it."""
_SYNC_BYTES = 32 << 20
"""The disk is given so much at a time: all at the end would hold up the list store's own writes."""


def table_for(state_dir: Path, snapshots: Sequence[Snapshot]) -> Table:
    """Return the table of `snapshots`, bit i for the i-th, as a read-only map for all workers.

    The first worker that needs it makes it (64 lists of 1M: 3 s, from the last one 1 s). The others
    wait and open it. It is named by the filters in it, so it is good as long as they are. A table
    is removed when each of its lists has `TABLES_KEPT` newer ones; a process that has it open keeps
    it.

    Raises StateDirRefuses when the disk does not take it.
    """
    spec = _spec(snapshots)
    folder = state_dir / "tables"
    filters = [snapshot.manifest.parts[FILTER_PART].sha256 for snapshot in snapshots]
    digest = sha256("\n".join((spec.dtype.str, *filters)).encode()).hexdigest()[:32]
    path, label_path = folder / f"{digest}.table", folder / f"{digest}.json"
    with named_faults("table"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            label = _read_label(label_path)
            if label is None or not _is_whole(path, label):
                written = _make(path, spec, snapshots, filters)
                names = tuple(snapshot.manifest.list_name for snapshot in snapshots)
                label = _Label(names, tuple(filters), spec.dtype.str, *written)
                replace_synced(label_path, msgspec.json.encode(label))
            elif label.crc32c < 0:
                label = msgspec.structs.replace(label, crc32c=crc_of(path))
                replace_synced(label_path, msgspec.json.encode(label))
            label_path.touch()  # the order of use, for the next line
            _remove_old(folder)
            # As a plain array over the map: indexing a np.memmap costs a Python call each time.
            table: Table = np.asarray(np.memmap(path, spec.dtype, "r"))
    assert len(table) == spec.rows, f"{path} has {len(table)} rows"
    return table


def in_memory(snapshots: Sequence[Snapshot]) -> Table:
    """Return the table of `snapshots` in memory, for a disk that takes none."""
    return np.concatenate([*turned([one.filter for one in snapshots], _spec(snapshots).dtype)])


def _spec(snapshots: Sequence[Snapshot]) -> TableSpec:
    shape = snapshots[0].filter.shape
    return TableSpec(snapshots[0].filter.plan, shape.bits_per_slice, len(snapshots))


class _Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The label of a table: its lists by bit, the SHA-256 of their filters, and its own.

    `crc32c` is compared at each start, at ten times the speed; -1: a version before this one wrote
    the label.
    """

    lists: tuple[str, ...]
    filters: tuple[str, ...]
    dtype: str
    sha256: str
    crc32c: int = -1


class _Sums(NamedTuple):
    """The checksums of a table that was written: SHA-256 in hex, and CRC-32C."""

    sha256: str
    crc32c: int


def _read_label(path: Path) -> _Label | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Label)
    except (FileNotFoundError, msgspec.MsgspecError, ValueError):
        return None


def _is_whole(path: Path, label: _Label) -> bool:
    if not path.exists():
        return False
    if label.crc32c >= 0:
        return crc_of(path) == label.crc32c
    with path.open("rb", buffering=0) as file:
        return file_digest(file, "sha256").hexdigest() == label.sha256


def _make(
    path: Path, spec: TableSpec, snapshots: Sequence[Snapshot], filters: Sequence[str]
) -> _Sums:
    """Write the table of `snapshots`, from the one next to it if that saves work."""
    aside = path.parent / f"{_ASIDE}table"
    near = _nearest(path.parent, spec, filters)
    written = _exchange(aside, near, spec, snapshots, filters) if near is not None else None
    if written is None:
        written = _write(aside, turned([one.filter for one in snapshots], spec.dtype))
    aside.rename(path)
    for snapshot in snapshots:
        # From here on only the table is asked: give the filters' pages back (5 MB a list of 1M).
        mapped: object = snapshot.filter.bits.base
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)
    return written


def _nearest(folder: Path, spec: TableSpec, filters: Sequence[str]) -> Path | None:
    """Return the label of the table with most of these filters; None: to turn all is as good."""
    wanted, best, most = Counter(filters), None, len(filters) // 2
    for path in folder.glob("*.json"):
        label = _read_label(path)
        same = (wanted & Counter(label.filters)).total() if label is not None else 0
        # A filter's SHA-256 covers its header, so what shares one has the same rows.
        if label is not None and same > most and _rows_of(path, label) == spec.rows:
            best, most = path, same
    return best


def _rows_of(label_path: Path, label: _Label) -> int:
    path = label_path.with_suffix(".table")
    return path.stat().st_size // np.dtype(label.dtype).itemsize if path.exists() else 0


def _exchange(
    aside: Path, near: Path, spec: TableSpec, snapshots: Sequence[Snapshot], filters: Sequence[str]
) -> _Sums | None:
    """Write a table from the one that `near` is the label of; None: that one is damaged."""
    label = _read_label(near)
    assert label is not None, f"{near} was read a moment ago, under the same lock"
    kept = {new: label.filters.index(f) for new, f in enumerate(filters) if f in label.filters}
    added = {new: one.filter for new, one in enumerate(snapshots) if new not in kept}
    summed = sha256()

    def pieces(file: BinaryIO) -> Iterator[Table]:
        dtype = np.dtype(label.dtype)
        while piece := file.read(STRETCH * dtype.itemsize):
            summed.update(piece)
            yield np.frombuffer(piece, dtype)

    # Read as a file, not through the map: the worker gets no more pages of the old table by it.
    with near.with_suffix(".table").open("rb") as file:
        written = _write(aside, exchanged(pieces(file), kept, added, spec.dtype))
    return written if summed.hexdigest() == label.sha256 else None


def _write(path: Path, pieces: Iterable[Table]) -> _Sums:
    """Write pieces one after the other, as they are made."""
    summed, crc, unsynced = sha256(), 0, 0
    with os.fdopen(written(path), "wb", buffering=0) as file:
        for piece in pieces:
            data = np.ascontiguousarray(piece).data.cast("B")
            summed.update(data)
            crc = crc32c(data, crc)
            # Not through a map: CPython 3.11 holds every other thread while a map is flushed (44
            # ms for a list of 1M, measured); a write lets them run, and so does fsync.
            while data:
                done = file.write(data)
                data, unsynced = data[done:], unsynced + done
            if unsynced >= _SYNC_BYTES:
                os.fdatasync(file.fileno())
                unsynced = 0
        os.fsync(file.fileno())
    return _Sums(summed.hexdigest(), crc)


def _remove_old(folder: Path) -> None:
    seen: Counter[str] = Counter()
    labels = sorted(folder.glob("*.json"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    wanted = set()
    for path in labels:
        label = _read_label(path)
        if label is not None and any(seen[name] < TABLES_KEPT for name in label.lists):
            wanted.add(path.stem)
            seen.update(label.lists)
    for path in [*folder.glob("*.json"), *folder.glob("*.table")]:
        if path.stem not in wanted:
            path.unlink()
    for path in folder.glob(f"{_ASIDE}*"):  # of a process that died: the lock is ours
        path.unlink()
