"""Changes as they come from a log, each key's last one written as Ringfence's change file.

A log that is compacted still has several changes of one key at its end, and a reader of the file
may apply all removals before or after all additions. Kept in memory are 16 bytes a change.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.feeds.formats.ringfence import Header
from stream.feeds.transports.apart import Stop, Stopped
from stream.feeds.transports.landing import Landing, landing

_FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
_SHOWN_CHARS = 200


class ChangeLines:
    """Changes in the order in which they were made."""

    def __init__(self, land: Landing) -> None:
        self._land = land
        self._keys = array("Q")
        self._ops = bytearray()

    def __len__(self) -> int:
        return len(self._ops)

    def add(self, key: bytes, change: bytes, *, removes: bool) -> None:
        """One more change of `key`, a line without its end. Raises FeedDown(TOO_LARGE)."""
        digest = xxhash.xxh3_128_intdigest(key)
        self._keys.append(digest >> 64)
        self._keys.append(digest & 0xFFFF_FFFF_FFFF_FFFF)
        self._ops.append(removes)
        self._land.write(change + b"\n")

    def write(self, land: Landing, header: Header, stop: Stop) -> None:
        """The change file, each key's last change in it. What is whole names no removals.

        Raises FeedDown, and Stopped.
        """
        keep = self._last_of_each()
        if header.whole:
            keep &= np.frombuffer(self._ops, np.uint8) == 0
        land.write(msgspec.json.encode(header) + b"\n")
        with self._land.path.open("rb") as lines:
            for kept, line in zip(keep.tolist(), lines, strict=True):
                if stop.is_set():
                    raise Stopped
                if kept:
                    land.write(line)
        end = {"sha256": land.sha256, "lines": 1 + int(keep.sum())}
        land.write(msgspec.json.encode(end) + b"\n")

    def _last_of_each(self) -> NDArray[np.bool_]:
        """For each change, whether none of the same key came after it."""
        halves = np.frombuffer(self._keys, np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: changes of a key stay in order
        ordered = halves[order]
        last = np.ones(len(order), np.bool_)
        last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
        keep = np.zeros(len(order), np.bool_)
        keep[order[last]] = True
        return keep


@contextmanager
def change_lines(into: Path, bytes_max: int, origin: str) -> Iterator[ChangeLines]:
    """Changes that are collected beside `into`; nothing of them stays."""
    with landing(into.with_name(f"{into.name}.lines"), bytes_max, origin) as land:
        yield ChangeLines(land)
        land.drop()


def change_of(key: bytes | None, value: bytes | None, place: str) -> tuple[bytes, bool]:
    """Return a record as a line of a change file, and whether it removes.

    The value is a JSON object with a change file's fields; its number is the key where it names
    none, it adds where it has no `op`, and no value at all removes. What is none of this becomes a
    line that is rejected when the file is read, with `place` in it.
    """
    number = None if key is None else key.decode("utf-8", "replace").strip().strip('"')
    if value is None:
        return msgspec.json.encode({"op": "remove", "number": number}), True
    try:
        change = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        change = None
    if not isinstance(change, dict):
        shown = value[:_SHOWN_CHARS].decode("utf-8", "replace")
        return msgspec.json.encode(f"{place} is no JSON object: {shown}"), False
    op = change.get("op", "add")
    named = {name: change[name] for name in _FIELDS if change.get(name) is not None}
    return msgspec.json.encode({"op": op, "number": number, **named}), op == "remove"
