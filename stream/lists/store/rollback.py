"""A list's versions put in the place of each other: rebuilt, rolled back, repaired.

Each of them makes a new base for a generation reserved at the very beginning, so whatever others
change from that moment on lies over it and stays. If somebody else publishes a base in between,
nothing is changed and it is told what he did: a rollback must not undo what its operator never saw.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stream.core.filters.snapshot import FILTER_PART, decode_manifest
from stream.core.model.entry import Columns
from stream.core.model.errors import ChangeConflict, VersionGone
from stream.lists.snapshot.build import with_changes
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.contents import columns_in
from stream.lists.store.entry_codec import REBUILD, Op, base_of
from stream.lists.store.heads import By, ListState
from stream.lists.store.list_at_time import content, is_bare, past_of
from stream.lists.store.list_store import Register
from stream.lists.store.publish_base import Origin, Stage, publish_whole, silent


@dataclass(frozen=True, slots=True)
class Rebased:
    """What a new base did: the generation of before and after, and the numbers on the list."""

    before: int
    generation: int
    count: int
    folded: int = 0


async def rebuild(
    register: Register, name: str, key: bytes, by: By, now_s: int, stage: Stage = silent
) -> Rebased:
    """Fold the changes since the list's base into a new base; its content stays what it is.

    Raises ListUnknown, ChangeConflict, RegisterDown, RegisterLost, SnapshotUnreadable.
    """

    async def folded(state: ListState, generation: int) -> Columns:
        if (
            state.head.base
            and not decode_manifest(await register.manifest(name, state.head.base)).has_entries
        ):
            raise ChangeConflict(
                f"{name}: nothing was changed: its base is a bare filter, to which nothing can be "
                "added; its changes stay in front of it"
            )
        base = await columns_in(register, name, state.head.base, key)
        before = [c.change for c in state.changes if c.generation <= generation]
        return await asyncio.to_thread(with_changes, base, before)

    return await replaced(register, name, key, Origin(REBUILD, by), folded, now_s, stage)


async def rollback(
    register: Register,
    name: str,
    generation: int,
    key: bytes,
    by: By,
    now_s: int,
    stage: Stage = silent,
) -> Rebased:
    """Make the list what it was at `generation`, as a new generation.

    Raises VersionGone, ListUnknown, ChangeConflict, RegisterDown, RegisterLost,
    SnapshotUnreadable; in each case nothing was changed.
    """
    (await past_of(register, name)).stretch_of(generation)  # before a generation is taken for it

    async def as_it_was(_state: ListState, _generation: int) -> Columns | bytes:
        past = await past_of(register, name)
        stretch = past.stretch_of(generation)
        if not await is_bare(register, past, stretch):
            return await content(register, past, generation, key)
        if any(past.changes(stretch, generation)):
            raise VersionGone(
                f"{name}: generation {generation} is a bare filter with changes in front of it, "
                f"which can not be put back as one; {stretch.base.published} can"
            )
        return (await register.read_base(name, stretch.base.generation))[FILTER_PART]

    origin = Origin("rollback", by, of=generation)
    return await replaced(register, name, key, origin, as_it_was, now_s, stage)


async def replaced(
    register: Register,
    name: str,
    key: bytes,
    origin: Origin,
    whole: Callable[[ListState, int], Awaitable[Columns | bytes]],
    now_s: int,
    stage: Stage = silent,
) -> Rebased:
    """Put what `whole` gives for the reserved generation (bytes: a bare filter) in its place."""
    before = (await register.state(name)).head.generation
    reservation = await register.reserve(name, origin.by)
    state = await register.state(name)
    if state.head.base != reservation.old_base:
        raise ChangeConflict(await _told(register, name, origin))
    made = await whole(state, reservation.generation)
    bare = made if isinstance(made, bytes) else None
    columns = empty_columns() if isinstance(made, bytes) else made
    circle = state.head.circle
    try:
        generation, count = await publish_whole(
            register, reservation, circle, key, columns, now_s, origin, stage, bare
        )
    except ChangeConflict as conflict:
        raise ChangeConflict(await _told(register, name, origin)) from conflict
    await register.sweep(name)
    return Rebased(before, generation, count, len(state.changes))


async def _told(register: Register, name: str, origin: Origin) -> str:
    """What the one did who came first."""
    async for entry in register.annals.audit():
        if entry.list_name == name and entry.op == Op.BASE:
            record = base_of(entry.detail.encode())
            what = record.what if record else "new base"
            why = f": {entry.reason}" if entry.reason else ""
            return (
                f"{name}: {entry.actor} was first: {what}, generation {entry.generation}{why}. "
                f"This {origin.what} changed nothing; look at `ringfence lists history {name}`"
            )
    return f"{name}: somebody else published a new base; this {origin.what} changed nothing"
