"""Write a feed's version into its list: as changes where they are few, else as a new base.

Also: store a bare filter as the whole list, and remove the feed's reports from a list that it does
not fill any more. Reports of other sources always stay.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.snapshot import decode_manifest
from stream.core.model.entry import Columns
from stream.core.model.errors import ConfigInvalid, SnapshotUnreadable
from stream.feeds.assess import quick_head
from stream.feeds.diff import REMOVED, Clock, Difference, difference, owned_by, rows_of, without
from stream.feeds.feed import Feed, VersionRecord
from stream.lists.snapshot.merge import empty_columns, merged, replaced
from stream.lists.store.contents import CHANGES_MAX, entries_of
from stream.lists.store.heads import By, ListHead, Retraction
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Draft, Move, Origin, rehashed, rewrite, unknown_rows
from stream.lists.store.store_codec import REKEY


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of a version. `whole`: they are all that the feed reports.

    `filter_data` (b"": none) is the owner's filter. It holds the entries that are known by
    fingerprint alone, except those in `late`: they were listed after the filter was made.
    """

    columns: Columns
    whole: bool
    filter_data: bytes = b""
    late: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Stored:
    """The list's generation after storing. `rebuilt`: it is a new base."""

    generation: int
    rebuilt: bool


async def store(
    register: ListStore,
    feed: Feed,
    content: Content,
    change: Difference,
    key: bytes,
    by: By,
    now_s: int,
    move: Move | None = None,
) -> Stored:
    """Replace the feed's reports on its list by `content`; reports of other sources stay.

    `move` moves the list to another circle and rehashes the reports of other sources.

    Up to `CHANGES_MAX` edits are written as changes, each atomic by itself and live at once, so the
    work is in proportion to the difference. An owner's filter needs a new base, since only the
    owner can make that filter. Raises ChangeConflict and the list store's faults. What was done by
    then stays, and doing it again changes nothing.
    """
    head = await quick_head(register, feed.list_name)
    if move is not None:
        return await _move(register, feed, content, move, by, now_s)
    # The filter must hold what the changes over it hold, so with a filter even they are folded in.
    needs_filter = content.filter_data and (change.changes or head.changes)
    if not change.changes and not needs_filter:
        return Stored(head.generation, rebuilt=False)
    if change.changes <= CHANGES_MAX and not needs_filter:
        return Stored(await _edit(register, feed.list_name, change, by), rebuilt=False)
    return await _rebase(register, feed, content, change, key, by, now_s)


async def _edit(register: ListStore, name: str, change: Difference, by: By) -> int:
    written, retracted = change.written, change.retracted
    entries = [written.entry(row) for row in range(len(written))]
    gone = [retracted.entry(row) for row in range(len(retracted))]
    generation = 0
    # Additions come first: a number whose report changes its source is listed at every moment.
    if entries:
        generation = (await register.add(name, entries, by)).generation
    if gone:
        back = [Retraction(one.fingerprint, one.number, one.source) for one in gone]
        generation = max(generation, (await register.retract(name, back, by)).generation)
    return generation


async def _rebase(
    register: ListStore,
    feed: Feed,
    content: Content,
    change: Difference,
    key: bytes,
    by: By,
    now_s: int,
) -> Stored:
    name, listed = feed.list_name, _listed(content.columns)

    async def whole(draft: Draft) -> Columns:
        old = await draft.columns(key)
        late = _is_late(listed, content)
        if late.any():
            # The owner's filter does not hold them. As changes over the base to come they are
            # written before it is published, so they are missing at no moment.
            await _add(register, name, listed, late, by)
        said = rows_of(listed, ~late)
        if content.whole:
            return await asyncio.to_thread(replaced, old, said, feed.owns)
        left = await asyncio.to_thread(without, old, change.retracted)
        return await asyncio.to_thread(merged, left, said)

    origin = Origin("import", by, filter_data=content.filter_data)
    done = await rewrite(register, name, key, origin, whole, now_s)
    return Stored(done.generation, rebuilt=True)


async def _move(
    register: ListStore, feed: Feed, content: Content, move: Move, by: By, now_s: int
) -> Stored:
    """Publish a base of the new circle, hashed with its key.

    Raises SnapshotUnreadable where other sources' entries here are fingerprints alone.
    """
    name, listed = feed.list_name, _listed(content.columns)
    late = _is_late(listed, content)

    async def whole(draft: Draft) -> Columns:
        old = await draft.columns(move.key_before)
        if bare := unknown_rows(old, feed.owns):
            raise SnapshotUnreadable(
                f"{name}: of {bare:,} entries of other sources only fingerprints are known, and "
                f"they cannot be hashed with the key of {move.circle}"
            )
        old = await asyncio.to_thread(rehashed, old, move.key)
        return await asyncio.to_thread(replaced, old, rows_of(listed, ~late), feed.owns)

    origin = Origin(REKEY, by, filter_data=content.filter_data, circle=move.circle)
    done = await rewrite(register, name, move.key, origin, whole, now_s)
    if not late.any():
        return Stored(done.generation, rebuilt=True)
    # Only now: over the old base their new fingerprints would be those of other numbers.
    return Stored(await _add(register, name, listed, late, by), rebuilt=True)


def _listed(columns: Columns) -> Columns:
    return rows_of(columns, columns.category != np.uint8(REMOVED))


def _is_late(columns: Columns, content: Content) -> NDArray[np.bool_]:
    """Mark the rows that are fingerprints alone and that the owner's filter does not hold."""
    late = np.array(sorted(content.late), np.uint64)
    mask: NDArray[np.bool_] = (columns.number == 0) & np.isin(columns.fingerprint, late)
    return mask


async def _add(
    register: ListStore, name: str, columns: Columns, rows: NDArray[np.bool_], by: By
) -> int:
    entries = [columns.entry(row) for row in np.flatnonzero(rows).tolist()]
    return (await register.add(name, entries, by)).generation


async def store_bare(
    register: ListStore, feed: Feed, data: bytes, key: bytes, by: By, now_s: int, circle: str = ""
) -> Stored:
    """Make the bare filter in `data` the feed's list; `circle` moves the list to that circle.

    Nothing confirms the matches of a bare filter, and nothing can be added to it. Raises
    ConfigInvalid for a list with entries of other sources, which would be lost, ChangeConflict and
    the list store's faults.
    """
    name = feed.list_name

    async def alone(draft: Draft) -> bytes:
        if draft.state.changes or await _has_entries(register, name, draft.reservation.old_base):
            text = "holds entries; a bare filter is a whole list: give the feed a list of its own"
            raise ConfigInvalid((f"feed {feed.name}: list {name} {text}",))
        return data

    samples = np.array([text.encode() for text in feed.samples], "S16")
    origin = Origin(
        REKEY if circle else "import", by, samples=samples if len(samples) else None, circle=circle
    )
    done = await rewrite(register, name, key, origin, alone, now_s)
    return Stored(done.generation, rebuilt=True)


async def _has_entries(register: ListStore, name: str, base: int) -> bool:
    if not base:
        return False
    manifest = decode_manifest(await register.manifest(name, base))
    return manifest.has_entries and manifest.count > 0


def lists_to_leave(last: VersionRecord | None, list_name: str) -> tuple[str, ...]:
    """Return the lists, except `list_name`, that may hold reports of the feed.

    `last` is the feed's last accepted version.
    """
    if last is None:
        return ()
    filled = dict.fromkeys((*last.to_leave, last.list_name))
    return tuple(name for name in filled if name not in {"", list_name})


async def leave(
    register: ListStore, feed: Feed, name: str, keys: Mapping[str, bytes], by: By, now_s: int
) -> int:
    """Remove all reports of the feed from list `name`; return their count. Safe to repeat.

    A bare filter belongs to one feed, so the list is emptied: the caller knows that this feed
    filled it. Raises ConfigInvalid without the key of the list's circle, ChangeConflict, and the
    list store's faults.
    """
    head = (await register.heads()).lists.get(name)
    if head is None:
        return 0
    if head.circle not in keys:
        raise ConfigInvalid((f"no key for circle {head.circle} of {name}",))
    key = keys[head.circle]
    try:
        _, columns = await entries_of(register, name, key)
    except SnapshotUnreadable:
        return await _empty(register, head, key, by, now_s)
    held = await asyncio.to_thread(owned_by, columns, feed.owns)
    if not len(held):
        return 0
    none = empty_columns()
    change = difference(held, none, own=feed.name, whole=True, clock=Clock(now_s, 0))
    there = replace(feed, list_name=name)
    await store(register, there, Content(none, whole=True), change, key, by, now_s)
    return len(held)


async def _empty(register: ListStore, head: ListHead, key: bytes, by: By, now_s: int) -> int:
    async def nothing(_: Draft) -> Columns:
        return empty_columns()

    await rewrite(register, head.name, key, Origin("import", by), nothing, now_s)
    return head.count
