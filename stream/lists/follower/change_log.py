"""The changes to a list since its snapshot, as lines in a file beside it.

So a machine that starts without the list store still enforces what was added, and still lets
through what was removed. All workers of a machine append the same changes: each is kept once, by
its generation. One line is `{"generation", "op", "payload", "chain"}`, as in the list store's
stream.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from stream.core.model.errors import UNREADABLE
from stream.lists.snapshot.durable_files import locked, named_faults, of_file, replace_synced
from stream.lists.store.store_codec import chain_after
from stream.ops.untrusted_folders import open_plain

_FILE = "changes.jsonl"
_LOCK = ".journal.lock"
"""The name that workers of earlier versions lock: both may run beside each other in an upgrade."""

_END_BYTES = 16 << 10
"""Some fifty changes. Where one alone takes more, the whole file is read."""


class ChangeLogItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change: what the list store's stream said of it. `payload` is JSON as text."""

    generation: int
    op: str
    payload: str
    chain: str


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """The readable steps. `damaged` says where reading ended early, and why; None: all was read."""

    items: tuple[ChangeLogItem, ...]
    damaged: str | None


def append(folder: Path, items: Iterable[ChangeLogItem]) -> bool:
    """Append those changes that are newer than the last in `folder`'s change log.

    Returns whether changes before them are missing: the log has to begin again. That is so after
    a worker wrote there, as a whole, what it had read before another did.

    What a process that died left half-written at the end is cut off first. Raises
    `SnapshotUnreadable` when the disk does not take it.
    """
    with named_faults("change log"):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE
        # All workers append the same changes: the second worker finds them there.
        with locked(folder / _LOCK):
            handle = open_plain(path, os.O_RDWR | os.O_CREAT)
            with of_file(path), os.fdopen(handle, "r+b") as file:
                last, whole, size = _end(file, path)
                upto = last.generation if last is not None else -1
                new = [item for item in items if item.generation > upto]
                if new or whole < size:
                    # A half line that a killed process left would spoil the next one too.
                    file.truncate(whole)
                    file.seek(whole)
                    file.write(b"".join(msgspec.json.encode(item) + b"\n" for item in new))
                    file.flush()
                    os.fsync(file.fileno())
            # Of items without a chain, which a list's state gives, generations may be missing.
            return bool(new and last and last.chain and new[0].generation > upto + 1)


def replay(folder: Path, after: int) -> ChangeLog:
    """Return the changes in `folder`'s change log whose generation is above `after`, in order.

    Reading ends at the first line that is no change or whose generation does not rise: what
    follows may be damaged.
    """
    path = folder / _FILE
    with named_faults("change log"):
        data = path.read_bytes() if path.exists() else b""
    read, _ = _read(data, path)
    return ChangeLog(tuple(item for item in read.items if item.generation > after), read.damaged)


def forget(folder: Path, upto: int) -> None:
    """Drop the changes up to generation `upto`, since the oldest snapshot kept holds them."""
    with named_faults("change log"), locked(folder / _LOCK):
        path = folder / _FILE
        data = path.read_bytes() if path.exists() else b""
        items = _read(data, path)[0].items
        kept = [item for item in items if item.generation > upto]
        if len(kept) < len(items):
            _replace(folder, kept)


def rewrite(folder: Path, items: Sequence[ChangeLogItem]) -> None:
    """Begin the change log again with `items`, after the list was read from the list store.

    Changes that follow the last of them stay: another worker wrote them since, and does so once.
    """
    with named_faults("change log"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            _replace(folder, [*items, *_following(folder / _FILE, items[-1])])


def _following(path: Path, last: ChangeLogItem) -> list[ChangeLogItem]:
    """Return the changes in the file that continue the chain of `last`, without a gap.

    By the chain: a list store that was restored from an older copy issues generations again.
    """
    newer, found = [], []
    for line in reversed(path.read_bytes().splitlines() if path.exists() else ()):
        with suppress(*UNREADABLE):  # where a line is damaged the chain ends
            item = _decode(line)
            if item.generation <= last.generation:
                break
            newer.append(item)
    for item in reversed(newer):
        chain = chain_after(last.chain, last.generation + 1, item.op, item.payload.encode())
        if (item.generation, item.chain) == (last.generation + 1, chain):
            found.append(item)
            last = item
    return found


def _replace(folder: Path, items: Iterable[ChangeLogItem]) -> None:
    path, data = folder / _FILE, b"".join(msgspec.json.encode(item) + b"\n" for item in items)
    # Each start reads all lists again, most as they were: syncing 10,000 files takes a minute.
    if not path.exists() or path.read_bytes() != data:
        replace_synced(path, data)


def _end(file: BinaryIO, path: Path) -> tuple[ChangeLogItem | None, int, int]:
    """Return the last readable change, the end of its line, and the file's size.

    By the last lines only. A log of 50,000 changes takes 100 ms and 60 MB to read, and each further
    change would cost that. Damage before them stays for `replay` to find.
    """
    size = file.seek(0, os.SEEK_END)
    for start in (max(size - _END_BYTES, 0), 0):
        file.seek(start)
        data = file.read()
        # The first line may lack its beginning.
        first = data.find(b"\n") + 1 if start else 0
        read, whole = _read(data[first:], path)
        if read.items:
            return read.items[-1], start + first + whole, size
    return None, 0, size


_decode = msgspec.json.Decoder(ChangeLogItem).decode


def _read(data: bytes, path: Path) -> tuple[ChangeLog, int]:
    """Return the items and how many bytes they take."""
    items: list[ChangeLogItem] = []
    at = 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            item = _decode(line)
        except UNREADABLE as error:
            return ChangeLog(tuple(items), f"{path}: line {number}: {error}"), at
        if not line.endswith(b"\n"):
            return ChangeLog(tuple(items), f"{path}: line {number}: cut short"), at
        if items and item.generation <= items[-1].generation:
            told = f"generation {item.generation} after {items[-1].generation}"
            return ChangeLog(tuple(items), f"{path}: line {number}: {told}"), at
        items.append(item)
        at += len(line)
    return ChangeLog(tuple(items), None), at
