"""The changes to a list since its snapshot, as lines in a file beside it.

So a machine that starts without the list store still enforces what was added, and still lets
through what was removed. All workers of a machine append the same changes: each is kept once, by
its generation. One line is `{"generation", "op", "payload", "chain"}`, as in the list store's
stream.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stream.core.model.errors import UNREADABLE
from stream.lists.snapshot.durable_files import locked, named_faults, of_file, replace_synced
from stream.ops.untrusted_folders import open_plain

_FILE = "changes.jsonl"
_LOCK = ".journal.lock"
"""The name that workers of earlier versions lock: both may run beside each other in an upgrade."""


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


def append(folder: Path, items: Iterable[ChangeLogItem]) -> int:
    """Append those changes that are newer than the last in `folder`'s change log; how many were.

    What a process that died left half-written at the end is cut off first. Raises
    `SnapshotUnreadable` when the disk does not take it.
    """
    with named_faults("change log"):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE
        # All workers append the same changes: who comes second finds them there.
        with locked(folder / _LOCK):
            data = path.read_bytes() if path.exists() else b""
            read, whole = _read(data, path)
            last = read.items[-1].generation if read.items else -1
            new = [item for item in items if item.generation > last]
            if not new and whole == len(data):
                return 0
            handle = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with of_file(path), os.fdopen(handle, "ab") as file:
                # What a killed process left half written would make the next line unreadable too.
                file.truncate(whole)
                file.write(b"".join(msgspec.json.encode(item) + b"\n" for item in new))
                file.flush()
                os.fsync(file.fileno())
            return len(new)


def replay(folder: Path, after: int) -> ChangeLog:
    """Return the changes in `folder`'s change log whose generation is above `after`, in order.

    Reading ends at the first line that is none or whose generation does not rise; the rest is not
    believed.
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


def rewrite(folder: Path, items: Iterable[ChangeLogItem]) -> None:
    """Begin the change log again with `items`, after the list was read from the list store."""
    with named_faults("change log"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            _replace(folder, items)


def _replace(folder: Path, items: Iterable[ChangeLogItem]) -> None:
    replace_synced(folder / _FILE, b"".join(msgspec.json.encode(item) + b"\n" for item in items))


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
