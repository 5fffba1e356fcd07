"""All lists of one moment, and what they say of a batch of numbers.

A `Blocklists` never changes: a new generation or a change makes a new one that shares what stayed,
and whoever holds the old one finishes with it. A Bloom hit is confirmed in the list's exact entries
before it counts; changes since the snapshot stand in front of the filter.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.allowlist import NOBODY, Allowlist
from stream.core.digests import Digests, HashPlan, elements, hash_plan
from stream.core.entry import NEVER, Entry
from stream.core.matches import NO_MATCHES, Matches
from stream.core.number import Kind, Numbers
from stream.core.overlay import EMPTY, Change, Overlay, Touched
from stream.core.snapshot import Snapshot
from stream.core.table import LISTS_MAX, probe_table

Table = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class LiveList:
    """One list as it is enforced.

    `key` is its circle's hashing key (b"" in `plain`). `snapshot` is None while nothing usable has
    arrived: such a list can not be asked. `generation` counts the overlay's changes too.
    `synced_at_s` is when the register was last known to agree, in seconds since the epoch.
    """

    name: str
    key: bytes
    snapshot: Snapshot | None
    overlay: Overlay
    generation: int
    synced_at_s: int

    @property
    def usable(self) -> bool:
        """Whether the list can be asked at all."""
        return self.snapshot is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Up to 64 lists of one circle, hash plan and filter size, as one bit-sliced table.

    Bit i of a table word belongs to list `lists[i]` (an index into `Blocklists.lists`).
    """

    plan: HashPlan
    bits_per_slice: int
    lists: NDArray[np.int64]
    table: Table


@dataclass(frozen=True, slots=True)
class Circle:
    """The lists of one hashing key: each number is hashed once for all of them."""

    key: bytes
    groups: tuple[Group, ...]
    touched: Touched


@dataclass(frozen=True, slots=True)
class Blocklists:
    """All lists, in the order of their names, and the allowlist."""

    lists: tuple[LiveList, ...]
    circles: tuple[Circle, ...]
    allow: Allowlist

    @classmethod
    def of(
        cls,
        lists: Iterable[LiveList],
        allow: Allowlist,
        table_of: Callable[[Sequence[Snapshot]], Table],
    ) -> Self:
        """The value that enforces `lists`.

        `table_of` gives the bit-sliced table of some snapshots of one plan and size, bit i for the
        i-th; it may take long (it compiles) and is asked once per group.
        """
        held = tuple(sorted(lists, key=lambda live: live.name))
        circles = []
        for key in sorted({live.key for live in held}):
            members = [(index, live) for index, live in enumerate(held) if live.key == key]
            groups = tuple(_groups(members, table_of))
            touched = Touched.of((index, live.overlay) for index, live in members)
            circles.append(Circle(key, groups, touched))
        return cls(held, tuple(circles), allow)

    @property
    def names(self) -> tuple[str, ...]:
        """Each list's name, by index."""
        return tuple(live.name for live in self.lists)

    @property
    def unusable(self) -> tuple[int, ...]:
        """The lists, by index, that have no data and can not be asked."""
        return tuple(index for index, live in enumerate(self.lists) if not live.usable)

    def with_changes(
        self, name: str, changes: Sequence[Change], generation: int, synced_at_s: int
    ) -> Self:
        """The same after `changes` to list `name`; only what they touch is copied."""
        index = self.names.index(name)
        live = self.lists[index]
        changed = replace(
            live,
            overlay=live.overlay.with_changes(changes),
            generation=generation,
            synced_at_s=synced_at_s,
        )
        fingerprints = [change.fingerprint for change in changes]
        circles = tuple(
            replace(circle, touched=circle.touched.with_changes(index, fingerprints))
            if circle.key == live.key
            else circle
            for circle in self.circles
        )
        lists = (*self.lists[:index], changed, *self.lists[index + 1 :])
        return replace(self, lists=lists, circles=circles)

    def with_allow(self, allow: Allowlist) -> Self:
        """The same with another allowlist."""
        return replace(self, allow=allow)

    def synced(self, now_s: int) -> Self:
        """The same, known to agree with the register at `now_s`."""
        lists = tuple(replace(live, synced_at_s=now_s) for live in self.lists)
        return replace(self, lists=lists)

    def match(self, numbers: Numbers, now_s: int) -> Matches:
        """What the lists say of each number that is E.164; rows without a match are absent.

        Entries that expired before `now_s` (seconds since the epoch) do not match. Lists that can
        not be asked are in `unusable`, not here: they say the same of every number.
        """
        rows = np.flatnonzero(numbers.kinds == Kind.E164)
        if not len(rows):
            return NO_MATCHES
        asked = numbers.e164 if len(rows) == len(numbers) else numbers.e164[rows]
        found = Matches.together(
            part
            for circle in self.circles
            for part in self._circle_matches(circle, Digests(elements(asked, circle.key)), now_s)
        )
        return replace(found, rows=rows[found.rows])

    def _circle_matches(self, circle: Circle, digests: Digests, now_s: int) -> Iterator[Matches]:
        changed: set[tuple[int, int]] = set()
        if circle.touched.lists:
            changes, changed = self._changes(circle.touched, digests.fingerprints(), now_s)
            yield changes
        for group in circle.groups:
            words = digests.words(group.plan)
            rows, masks = probe_table(group.table, words, group.bits_per_slice)
            if len(rows):
                hits = _pairs(rows, masks, group.lists)
                yield self._confirmed(hits, digests, changed, now_s)

    def _changes(
        self, touched: Touched, fingerprints: NDArray[np.uint64], now_s: int
    ) -> tuple[Matches, set[tuple[int, int]]]:
        """What the overlays say, and of which rows and lists they alone speak."""
        changed: set[tuple[int, int]] = set()
        held: list[tuple[int, int, Entry]] = []
        for row in touched.rows(fingerprints):
            fingerprint = int(fingerprints[row])
            for index in touched.lists[fingerprint]:
                changed.add((row, index))
                entry = self.lists[index].overlay.entries[fingerprint]
                if entry is not None and entry.live(now_s):
                    held.append((row, index, entry))
        rows = np.array([row for row, _, _ in held], np.int64)
        found = Matches.blank(rows, np.array([index for _, index, _ in held], np.int64))
        found.confirmed[:] = True
        found.category[:] = [entry.category for _, _, entry in held]
        found.confidence[:] = [entry.confidence for _, _, entry in held]
        found.expires_at_s[:] = [entry.expires_at_s for _, _, entry in held]
        return found, changed

    def _confirmed(
        self,
        hits: tuple[NDArray[np.int64], NDArray[np.int64]],
        digests: Digests,
        changed: set[tuple[int, int]],
        now_s: int,
    ) -> Matches:
        """Bloom hits (rows, list indexes, sorted by list) that the exact entries do not refute."""
        rows, indexes = hits
        found = Matches.blank(rows, indexes)
        kept = np.ones(len(rows), np.bool_)
        fingerprints = digests.fingerprints()[rows]
        starts = np.flatnonzero(np.diff(indexes, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            snapshot = self.lists[int(indexes[start])].snapshot
            assert snapshot is not None, "a list without a snapshot is in no group"
            columns = snapshot.columns
            if columns is None:
                continue
            mine = slice(start, stop)
            at = columns.find(fingerprints[mine])
            found.confirmed[mine] = True
            kept[mine] = at >= 0
            if len(columns):
                found.category[mine] = columns.category[at]
                found.confidence[mine] = columns.confidence[at]
                found.expires_at_s[mine] = columns.expires_at[at]
        kept &= (found.expires_at_s == NEVER) | (now_s < found.expires_at_s)
        if changed:
            pairs = zip(rows.tolist(), indexes.tolist(), strict=True)
            kept &= np.array([pair not in changed for pair in pairs])
        return found.at(np.flatnonzero(kept))


EMPTY_BLOCKLISTS = Blocklists((), (), NOBODY)


def fresh(name: str, key: bytes, snapshot: Snapshot, synced_at_s: int) -> LiveList:
    """A list right after its snapshot was loaded: no change since."""
    return LiveList(name, key, snapshot, EMPTY, snapshot.manifest.generation, synced_at_s)


def _groups(
    members: Sequence[tuple[int, LiveList]], table_of: Callable[[Sequence[Snapshot]], Table]
) -> Iterator[Group]:
    """One group for each hash plan and size among the usable members, split at 64 lists."""

    def size(item: tuple[int, Snapshot]) -> tuple[int, int]:
        shape = item[1].filter.shape
        return shape.slices, shape.bits_per_slice

    usable = [(index, live.snapshot) for index, live in members if live.snapshot is not None]
    for (slices, bits_per_slice), same in groupby(sorted(usable, key=size), key=size):
        together = list(same)
        for start in range(0, len(together), LISTS_MAX):
            part = together[start : start + LISTS_MAX]
            yield Group(
                hash_plan(slices, bits_per_slice),
                bits_per_slice,
                np.array([index for index, _ in part], np.int64),
                table_of([snapshot for _, snapshot in part]),
            )


def _pairs(
    rows: NDArray[np.int64], masks: NDArray[np.uint64], lists: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each set bit of `masks` as a pair (row, list index), sorted by list."""
    octets = masks.astype("<u8").view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(octets, axis=1, bitorder="little")
    bit, hit = np.nonzero(bits.T)
    return rows[hit], lists[bit]
