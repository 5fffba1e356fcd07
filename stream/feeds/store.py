"""Write a feed's version into its list: as changes where they are few, else as a new base.

Also: store a bare filter as the whole list, and remove the feed's reports from a list that it does
not fill any more. Reports of other sources always stay.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream.core.filters.snapshot import decode_manifest
from stream.core.model.entry import Columns
from stream.core.model.errors import ChangeConflict, ConfigInvalid, SnapshotUnreadable
from stream.feeds.assess import quick_head
from stream.feeds.diff import FeedDifference, difference, owned_by, without
from stream.feeds.feed import Feed, VersionRecord
from stream.feeds.row_checks import Surroundings, VersionRead
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import empty_columns, merged, replaced
from stream.lists.store.heads import By, Retraction
from stream.lists.store.list_content import CHANGES_MAX, entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import (
    BaseOrigin,
    Draft,
    Make,
    Move,
    is_hashed,
    rehashed,
    rewrite,
    unknown_rows,
)
from stream.lists.store.store_codec import REKEY


@dataclass(frozen=True, slots=True)
class Stored:
    """The list's generation after storing. `rebuilt`: it is a new base."""

    generation: int
    rebuilt: bool


@dataclass(frozen=True, slots=True)
class ListWriter:
    """Writes one feed's reports. Methods raise ChangeConflict and the list store's faults.

    What a method has done by then stays, and to do it again changes nothing.
    """

    list_store: ListStore
    feed: Feed
    by: By
    now_s: int

    async def store(
        self,
        read: VersionRead,
        change: FeedDifference,
        key: bytes,
        move: Move | None = None,
        *,
        whole: bool,
    ) -> Stored:
        """Replace the feed's reports on its list by those of `read`; those of others stay.

        `whole`: they are all that the feed reports. `move` moves the list to another circle and
        rehashes the reports of other sources.

        Up to `CHANGES_MAX` edits are written as changes, each atomic by itself and live at once. So
        the work is in proportion to the difference. An owner's filter needs a new base, since only
        the owner can make that filter.
        """
        head = await quick_head(self.list_store, self.feed.list_name)
        if move is not None:
            return await self._move(read, move)
        # The filter must hold what the changes over it hold: with a filter they are folded in.
        needs_filter = read.filter_data and (change.changes or head.changes)
        if not change.changes and not needs_filter:
            return Stored(head.generation, rebuilt=False)
        if change.changes <= CHANGES_MAX and not needs_filter:
            return Stored(await self._edit(change, key), rebuilt=False)
        return await self._rebase(read, change, key, whole=whole)

    async def _edit(self, change: FeedDifference, key: bytes) -> int:
        if not (is_hashed(change.written, key) and is_hashed(change.retracted, key)):
            text = "was moved to another key while a version was read: it is read again"
            raise ChangeConflict(f"{self.feed.list_name} {text}")
        # Additions come first: a number whose report changes its source is listed at every moment.
        generation = await self._add(change.written)
        retracted = change.retracted
        gone = [retracted.entry(row) for row in range(len(retracted))]
        if gone:
            back = [Retraction(one.fingerprint, one.number, one.source) for one in gone]
            done = await self.list_store.retract(self.feed.list_name, back, self.by)
            generation = max(generation, done.generation)
        return generation

    async def _add(self, columns: Columns) -> int:
        """Add all rows as changes; return the list's generation, 0 where there is no row."""
        if not len(columns):
            return 0
        entries = [columns.entry(row) for row in range(len(columns))]
        return (await self.list_store.add(self.feed.list_name, entries, self.by)).generation

    async def _rebase(
        self, read: VersionRead, change: FeedDifference, key: bytes, *, whole: bool
    ) -> Stored:
        said, late = read.split()

        async def made(draft: Draft) -> Columns:
            old = await draft.columns(key)
            # The owner's filter does not hold the late rows. As changes over the base to come they
            # are written before it is published, so they are missing at no moment.
            await self._add(late)
            if whole:
                return await asyncio.to_thread(replaced, old, said, self.feed.owns)
            left = await asyncio.to_thread(without, old, change.retracted)
            return await asyncio.to_thread(merged, left, said)

        origin = BaseOrigin("import", self.by, filter_data=read.filter_data)
        return await self._rewrite(key, origin, made)

    async def _move(self, read: VersionRead, move: Move) -> Stored:
        """Publish a base of the new circle, hashed with its key.

        Raises SnapshotUnreadable where other sources' entries here are fingerprints alone.
        """
        said, late = read.split()

        async def made(draft: Draft) -> Columns:
            old = await draft.columns(move.key_before)
            if bare := unknown_rows(old, self.feed.owns):
                raise SnapshotUnreadable(
                    f"{self.feed.list_name}: of {bare:,} entries of other sources only "
                    "fingerprints are known, and they cannot be hashed with the key of "
                    f"{move.circle}"
                )
            old = await asyncio.to_thread(rehashed, old, move.key)
            return await asyncio.to_thread(replaced, old, said, self.feed.owns)

        origin = BaseOrigin(REKEY, self.by, filter_data=read.filter_data, circle=move.circle)
        done = await self._rewrite(move.key, origin, made)
        # Only now: over the old base their new fingerprints would be those of other numbers.
        return replace(done, generation=await self._add(late) or done.generation)

    async def store_bare(self, data: bytes, key: bytes, circle: str = "") -> Stored:
        """Make the bare filter in `data` the feed's list; `circle` moves the list to that circle.

        Nothing confirms the matches of a bare filter, and nothing can be added to it. Raises
        ConfigInvalid for a list with entries of other sources, which would be lost.
        """
        name = self.feed.list_name

        async def alone(draft: Draft) -> bytes:
            if draft.state.changes or await self._has_entries(draft.reservation.old_base):
                text = "holds entries; a bare filter is a whole list: give the feed its own list"
                raise ConfigInvalid((f"feed {self.feed.name}: list {name} {text}",))
            return data

        samples = np.array([text.encode() for text in self.feed.samples], "S16")
        origin = BaseOrigin(
            REKEY if circle else "import",
            self.by,
            samples=samples if len(samples) else None,
            circle=circle,
        )
        return await self._rewrite(key, origin, alone)

    async def _rewrite(self, key: bytes, origin: BaseOrigin, make: Make) -> Stored:
        name = self.feed.list_name
        done = await rewrite(self.list_store, name, key, origin, make, self.now_s)
        return Stored(done.generation, rebuilt=True)

    async def _has_entries(self, base: int) -> bool:
        if not base:
            return False
        manifest = decode_manifest(await self.list_store.manifest(self.feed.list_name, base))
        return manifest.has_entries and manifest.count > 0

    async def leave(self, name: str, keys: Mapping[str, bytes]) -> int:
        """Remove all reports of the feed from list `name`; return their count. Safe to repeat.

        A bare filter belongs to one feed, so the list is emptied: the caller knows that this feed
        filled it. Raises ConfigInvalid without the key of the list's circle, and SnapshotUnreadable
        for other lists that cannot be read.
        """
        head = (await self.list_store.heads()).lists.get(name)
        if head is None:
            return 0
        if head.circle not in keys:
            raise ConfigInvalid((f"no key for circle {head.circle} of {name}",))
        key, none = keys[head.circle], empty_columns()
        try:
            _, columns = await entries_of(self.list_store, name, key)
        except SnapshotUnreadable:
            # A damaged list, or one of another key, may hold reports of others.
            if decode_manifest(await self.list_store.manifest(name, head.base)).has_entries:
                raise

            async def nothing(_: Draft) -> Columns:
                return none

            origin = BaseOrigin("import", self.by)
            await rewrite(self.list_store, name, key, origin, nothing, self.now_s)
            return head.count
        held = await asyncio.to_thread(owned_by, columns, self.feed.owns)
        if not len(held):
            return 0
        now_s, own = self.now_s, self.feed.name
        change = difference(held, none, own=own, whole=True, now_s=now_s, renew_s=0)
        there = replace(self, feed=replace(self.feed, list_name=name))
        await there.store(VersionRead(), change, key, whole=True)
        return len(held)


def lists_to_leave(last: VersionRecord | None, list_name: str) -> tuple[str, ...]:
    """Return the lists, except `list_name`, that may hold reports of the feed.

    `last` is the feed's last accepted version.
    """
    if last is None:
        return ()
    filled = dict.fromkeys((*last.to_leave, last.list_name))
    return tuple(name for name in filled if name not in {"", list_name})


async def verdict_basis(list_store: ListStore, feed: Feed, around: Surroundings) -> str:
    """Return a mark of what a verdict depends on, besides the bytes and the time.

    That is the feed's file. For hashes it is also the key of their circle, which an operator may
    correct.
    """
    if feed.format not in {"snapshot", "pybloom"}:
        return feed.digest
    head = (await list_store.heads()).lists.get(feed.list_name)
    circle = feed.circle if head is None else head.circle
    return f"{feed.digest} {key_id(around.keys.get(circle, b''))}".rstrip()
