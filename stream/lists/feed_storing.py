"""Writing what a feed changes into its list: as changes where they are few, else as a new base."""

import asyncio
from dataclasses import dataclass

import numpy as np

from stream.core.entry import Columns
from stream.core.faults import ChangeConflict
from stream.lists.build import with_changes
from stream.lists.feed import Feed
from stream.lists.feed_assess import quick_head
from stream.lists.feed_diff import REMOVED, Difference, rows_of, without
from stream.lists.ingest import CHANGES_MAX, TRIES, columns_in
from stream.lists.merge import merged, replaced
from stream.lists.rebase import Origin, publish_whole
from stream.lists.store import Register
from stream.lists.words import By, Retraction


@dataclass(frozen=True, slots=True)
class Stored:
    """The list's generation after it, and whether that is a new base."""

    generation: int
    rebuilt: bool


async def store(
    register: Register,
    feed: Feed,
    new: Columns,
    change: Difference,
    whole: bool,
    key: bytes,
    by: By,
    now_s: int,
) -> Stored:
    """Make the register's list say of this feed what `new` says; nothing else is touched.

    Up to `CHANGES_MAX` edits are written as changes, each atomic by itself and live at once: what
    is written is in proportion to the difference. Raises ChangeConflict and the register's Faults;
    what was done by then stays, and doing it again changes nothing.
    """
    name = feed.list_name
    if not change.changes:
        return Stored((await quick_head(register, name)).generation, rebuilt=False)
    if change.changes <= CHANGES_MAX:
        generation = await _edit(register, name, change, by)
        return Stored(generation, rebuilt=False)
    for _ in range(TRIES):
        try:
            generation = await _rebase(register, feed, new, change, whole, key, by, now_s)
        except ChangeConflict:
            continue
        return Stored(generation, rebuilt=True)
    raise ChangeConflict(
        f"{name}: somebody else published a new base {TRIES} times while feed {feed.name} made one"
    )


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
    new: Columns,
    change: Difference,
    whole: bool,
    key: bytes,
    by: By,
    now_s: int,
) -> int:
    name = feed.list_name
    reservation = await register.reserve(name, by)
    state = await register.state(name)
    if state.head.base != reservation.old_base:
        raise ChangeConflict(name)
    base = await columns_in(register, name, reservation.old_base, key)
    before = [c.change for c in state.changes if c.generation <= reservation.generation]
    old = await asyncio.to_thread(with_changes, base, before)
    said = rows_of(new, new.category != np.uint8(REMOVED))
    if whole:
        content = await asyncio.to_thread(replaced, old, said, feed.owns)
    else:
        left = await asyncio.to_thread(without, old, change.retracted)
        content = await asyncio.to_thread(merged, left, said)
    generation, _ = await publish_whole(
        register, reservation, state.head.circle, key, content, now_s, Origin("import", by)
    )
    await register.sweep(name)
    return generation
