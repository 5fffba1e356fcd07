"""A feed of bare Bloom filters: each version is the whole list, and nothing confirms it."""

import asyncio
from hashlib import sha256

import numpy as np

from stream.core.filters.snapshot import MANIFEST_PART, decode_manifest
from stream.core.model.errors import ChangeConflict, ConfigInvalid
from stream.feeds.feed import Feed
from stream.feeds.store import Stored
from stream.lists.snapshot.build import Version, bare_snapshot, verify_parts
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.store.contents import TRIES
from stream.lists.store.entry_codec import REKEY, BaseRecord
from stream.lists.store.heads import By
from stream.lists.store.list_store import Register


async def store_bare(
    register: Register,
    feed: Feed,
    data: bytes,
    count: int,
    key: bytes,
    by: By,
    now_s: int,
    circle: str = "",
) -> Stored:
    """Make the filter in `data`, which says that it holds `count` numbers, the feed's list.

    With `circle` the list is of that one from then on.

    Raises ConfigInvalid for a list that others report to: their entries could not be kept; and the
    register's Faults.
    """
    name = feed.list_name
    for _ in range(TRIES):
        reservation = await register.reserve(name, by)
        state = await register.state(name)
        if state.head.base != reservation.old_base:
            continue
        if state.changes or await _has_entries(register, name, reservation.old_base):
            text = "holds entries; a bare filter is a whole list: give the feed a list of its own"
            raise ConfigInvalid((f"feed {feed.name}: list {name} {text}",))
        owner, _, short = name.partition("/")
        named = circle or state.head.circle
        version = Version(owner, short, reservation.generation, named, key, key_id(key))
        samples = np.array([text.encode() for text in feed.samples], "S16")
        parts = await asyncio.to_thread(
            bare_snapshot, version, data, now_s, samples if len(samples) else None
        )
        await asyncio.to_thread(verify_parts, parts, key)
        await register.write_base(reservation, parts)
        digest = sha256(parts[MANIFEST_PART]).hexdigest()
        what = REKEY if circle else "import"
        record = BaseRecord(reservation.generation, count, digest, what)
        head = (await register.state(name)).head
        generation = await register.publish_base(reservation, record, head, count, by, 0, circle)
        if generation is not None:
            return Stored(generation, rebuilt=True)
    raise ChangeConflict(f"{name} is changed by somebody else again and again: try again")


async def _has_entries(register: Register, name: str, base: int) -> bool:
    if not base:
        return False
    manifest = decode_manifest(await register.manifest(name, base))
    return manifest.has_entries and manifest.count > 0
