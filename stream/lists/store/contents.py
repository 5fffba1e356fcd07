"""What a list in the list store holds now: its head and its entries."""

import asyncio

from stream.core.filters.snapshot import read_snapshot
from stream.core.model.entry import Columns
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.snapshot.build import with_changes
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.heads import ListHead
from stream.lists.store.list_store import Register

CHANGES_MAX = 5_000
"""Up to so many changes over a base are cheap for every worker; more are built into a new base."""


async def head_of(register: Register, name: str) -> ListHead:
    """The list's head; raises ListUnknown."""
    return (await register.state(name)).head


async def columns_in(register: Register, name: str, generation: int, key: bytes) -> Columns:
    """The entries of the base of `generation`; 0: none.

    Raises SnapshotUnreadable for a bare filter too, whose entries nobody knows: it must not be
    taken for an empty list.
    """
    if not generation:
        return empty_columns()
    parts = await register.read_base(name, generation)
    held = (await asyncio.to_thread(read_snapshot, parts, key=key)).columns
    if held is None:
        raise SnapshotUnreadable(
            f"{name} is a bare filter: its entries are not known, and none can be added to it; "
            "`lists import --replace` puts a list in its place"
        )
    return held


async def entries_of(register: Register, name: str, key: bytes) -> tuple[ListHead, Columns]:
    """All entries of a list as the register has them now."""
    state = await register.state(name)
    old = await columns_in(register, name, state.head.base, key)
    return state.head, with_changes(old, [numbered.change for numbered in state.changes])
