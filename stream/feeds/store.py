"""Writing what a feed changes into its list: as changes where they are few, else as a new base."""

import asyncio
from dataclasses import dataclass

import numpy as np

from stream.core.model.entry import Columns
from stream.core.model.errors import ChangeConflict, SnapshotUnreadable
from stream.feeds.assess import quick_head
from stream.feeds.diff import REMOVED, Difference, rows_of, without
from stream.feeds.feed import Feed
from stream.lists.snapshot.build import with_changes
from stream.lists.snapshot.merge import merged, replaced
from stream.lists.store.contents import CHANGES_MAX, TRIES, columns_in
from stream.lists.store.entry_codec import REKEY
from stream.lists.store.heads import By, Retraction
from stream.lists.store.list_store import Register
from stream.lists.store.publish_base import Origin, publish_whole
from stream.lists.store.rekey import Move, rehashed, unknown_rows


@dataclass(frozen=True, slots=True)
class Content:
    """What a version says: its rows, and whether they are all that the feed says.

    `filter_data` (b"": none) is the owner's filter, which holds the entries that are fingerprints
    alone, but for those of the numbers in `late`: they were listed after it was made.
    """

    columns: Columns
    whole: bool
    filter_data: bytes = b""
    late: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Stored:
    """The list's generation after it, and whether that is a new base."""

    generation: int
    rebuilt: bool


async def store(
    register: Register,
    feed: Feed,
    content: Content,
    change: Difference,
    key: bytes,
    by: By,
    now_s: int,
    move: Move | None = None,
) -> Stored:
    """Make the register's list say of this feed what `content` says; nothing else is touched.

    `move`: the list is of that circle from then on, and what others say of it is hashed anew.

    Up to `CHANGES_MAX` edits are written as changes, each atomic by itself and live at once: what
    is written is in proportion to the difference. An owner's filter goes live as a new base, since
    nobody else can make it. Raises ChangeConflict and the register's Faults;
    what was done by then stays, and doing it again changes nothing.
    """
    name = feed.list_name
    head = await quick_head(register, name)
    if move is not None:
        return await _moved(register, feed, content, move, by, now_s)
    theirs = content.filter_data and (change.changes or head.changes)
    if not change.changes and not theirs:
        return Stored(head.generation, rebuilt=False)
    if change.changes <= CHANGES_MAX and not theirs:
        generation = await _edit(register, name, change, by)
        return Stored(generation, rebuilt=False)
    for _ in range(TRIES):
        try:
            generation = await _rebase(register, feed, content, change, key, by, now_s)
        except ChangeConflict:
            continue
        return Stored(generation, rebuilt=True)
    raise ChangeConflict(
        f"{name}: somebody else published a new base {TRIES} times while feed {feed.name} made one"
    )


async def _moved(
    register: Register, feed: Feed, content: Content, move: Move, by: By, now_s: int
) -> Stored:
    """A new base, hashed with the other key, with the list's new circle.

    Raises SnapshotUnreadable where others' entries here are fingerprints alone.
    """
    name, new = feed.list_name, content.columns
    for _ in range(TRIES):
        reservation = await register.reserve(name, by)
        state = await register.state(name)
        if state.head.base != reservation.old_base:
            continue
        base = await columns_in(register, name, reservation.old_base, move.key_before)
        old = await asyncio.to_thread(with_changes, base, [one.change for one in state.changes])
        if bare := unknown_rows(old, feed.owns):
            await register.discard(reservation)
            text = f"{name}: of {bare:,} entries of other sources only fingerprints are known, and"
            raise SnapshotUnreadable(f"{text} they can not be hashed with the key of {move.circle}")
        old = await asyncio.to_thread(rehashed, old, move.key)
        said = rows_of(new, new.category != np.uint8(REMOVED))
        late = (said.number == 0) & np.isin(
            said.fingerprint, np.array(sorted(content.late), np.uint64)
        )
        whole = await asyncio.to_thread(replaced, old, rows_of(said, ~late), feed.owns)
        origin = Origin(REKEY, by, filter_data=content.filter_data, moves=True)
        try:
            generation, _ = await publish_whole(
                register, reservation, move.circle, move.key, whole, now_s, origin
            )
        except ChangeConflict:
            continue
        await register.sweep(name)
        if late.any():
            entries = [said.entry(row) for row in np.flatnonzero(late).tolist()]
            generation = (await register.add(name, entries, by)).generation
        return Stored(generation, rebuilt=True)
    raise ChangeConflict(f"{name}: others changed it each time while it was hashed anew")


async def _edit(register: Register, name: str, change: Difference, by: By) -> int:
    written, retracted = change.written, change.retracted
    entries = [written.entry(row) for row in range(len(written))]
    gone = [retracted.entry(row) for row in range(len(retracted))]
    generation = 0
    if entries:
        generation = (await register.add(name, entries, by)).generation
    if gone:
        back = [Retraction(one.fingerprint, one.number, one.source) for one in gone]
        generation = max(generation, (await register.retract(name, back, by)).generation)
    return generation


async def _rebase(
    register: Register,
    feed: Feed,
    content: Content,
    change: Difference,
    key: bytes,
    by: By,
    now_s: int,
) -> int:
    name, new = feed.list_name, content.columns
    reservation = await register.reserve(name, by)
    state = await register.state(name)
    if state.head.base != reservation.old_base:
        raise ChangeConflict(name)
    base = await columns_in(register, name, reservation.old_base, key)
    before = [c.change for c in state.changes if c.generation <= reservation.generation]
    old = await asyncio.to_thread(with_changes, base, before)
    said = rows_of(new, new.category != np.uint8(REMOVED))
    if content.late:
        said = await _over_it(register, name, said, content.late, by)
    if content.whole:
        whole = await asyncio.to_thread(replaced, old, said, feed.owns)
    else:
        left = await asyncio.to_thread(without, old, change.retracted)
        whole = await asyncio.to_thread(merged, left, said)
    origin = Origin("import", by, filter_data=content.filter_data)
    generation, _ = await publish_whole(
        register, reservation, state.head.circle, key, whole, now_s, origin
    )
    await register.sweep(name)
    return generation


async def _over_it(
    register: Register, name: str, said: Columns, late: frozenset[int], by: By
) -> Columns:
    """Write entries that the owner's filter does not hold as changes over the base to come.

    They are there before it is, so at no moment they are missing. Gives the other rows.
    """
    only = (said.number == 0) & np.isin(said.fingerprint, np.array(sorted(late), np.uint64))
    entries = [said.entry(row) for row in np.flatnonzero(only).tolist()]
    if entries:
        await register.add(name, entries, by)
    return rows_of(said, ~only)
