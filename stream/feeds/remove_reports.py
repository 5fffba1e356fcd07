"""Taking a feed's reports off a list that it does not fill any more; what others report stays."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from stream.core.model.errors import ChangeConflict, ConfigInvalid, SnapshotUnreadable
from stream.feeds.diff import Clock, difference, owned_by
from stream.feeds.feed import Feed, VersionRecord
from stream.feeds.store import Content, store
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.contents import TRIES, entries_of
from stream.lists.store.heads import By, ListHead
from stream.lists.store.list_store import Register
from stream.lists.store.publish_base import Origin, publish_whole


def lists_to_leave(last: VersionRecord | None, list_name: str) -> tuple[str, ...]:
    """The lists other than `list_name` that may have reports of the feed whose last one it was."""
    if last is None:
        return ()
    filled = dict.fromkeys((*last.to_leave, last.list_name))
    return tuple(name for name in filled if name not in {"", list_name})


async def leave(
    register: Register, feed: Feed, name: str, keys: Mapping[str, bytes], by: By, now_s: int
) -> int:
    """Take all that the feed reports off list `name`; how many reports. Doing it again is nothing.

    A bare filter is one feed's alone, so the list is emptied: the caller knows that it was this
    feed's. Raises ConfigInvalid without the key of the list's circle, ChangeConflict, and the
    register's Faults.
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
        return await _emptied(register, head, key, by, now_s)
    held = await asyncio.to_thread(owned_by, columns, feed.owns)
    if not len(held):
        return 0
    none = empty_columns()
    change = difference(held, none, own=feed.name, whole=True, clock=Clock(now_s, 0))
    there = replace(feed, list_name=name)
    await store(register, there, Content(none, whole=True), change, key, by, now_s)
    return len(held)


async def _emptied(register: Register, head: ListHead, key: bytes, by: By, now_s: int) -> int:
    name = head.name
    for _ in range(TRIES):
        reservation = await register.reserve(name, by)
        if (await register.state(name)).head.base != reservation.old_base:
            continue
        origin = Origin("import", by)
        try:
            await publish_whole(
                register, reservation, head.circle, key, empty_columns(), now_s, origin
            )
        except ChangeConflict:
            continue
        await register.sweep(name)
        return head.count
    raise ChangeConflict(f"{name} is changed by somebody else again and again: try again")
