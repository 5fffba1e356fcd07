"""Reading and writing the bases of lists in Redis; `packing.py` says how one lies there.

A base is written once and never changed. One that was written and not published (the writer died)
expires by itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from redis.asyncio import Redis

from stream.core.filters.snapshot import MANIFEST_PART, decode_manifest
from stream.core.model.entry import Columns, Entry
from stream.core.model.errors import UNREADABLE, RegisterLost, SnapshotUnreadable
from stream.lists.store import redis_keys
from stream.lists.store.heads import Progress
from stream.lists.store.packing import (
    FINGERPRINT,
    Layout,
    Unpacking,
    first_bytes,
    pack,
    unpack_block,
)
from stream.lists.store.redis_client import renamed

UNPUBLISHED_TTL_S = 3600


async def read(redis: Redis, name: str, generation: int, progress: Progress) -> dict[str, bytes]:
    """A base's parts, its manifest among them; not yet checked against each other.

    Raises SnapshotUnreadable if it is not there (any more) or not whole.
    """
    key = redis_keys.base(name, generation)
    manifest, layout = await _head(redis, name, generation)
    unpacking = Unpacking(layout)
    for i in range(layout.blobs):
        with renamed(f"reading the base of {name}"):
            blob: Any = await redis.get(f"{key}:{i}")
        if blob is None:
            raise SnapshotUnreadable(f"{name}: blob {i} of base {generation} is gone")
        await asyncio.to_thread(unpacking.take, blob)  # a few ms each, not the loop's
        progress(i + 1, layout.blobs)
    return {MANIFEST_PART: manifest, **(await asyncio.to_thread(unpacking.parts))}


async def reports(
    redis: Redis, name: str, generation: int, fingerprints: Sequence[int]
) -> dict[int, tuple[Entry, ...]]:
    """The reports of those of `fingerprints` that the base of `generation` (0: none) holds.

    Raises SnapshotUnreadable as `read` does.
    """
    if not generation or not fingerprints:
        return {}
    manifest, layout = await _head(redis, name, generation)
    wanted: dict[int, set[int]] = {}
    for fingerprint in fingerprints:
        for block in layout.blocks_of(fingerprint):
            wanted.setdefault(block, set()).add(fingerprint)
    found: dict[int, tuple[Entry, ...]] = {}
    for block in sorted(wanted):
        key, most = f"{redis_keys.base(name, generation)}:{block}", first_bytes(layout.block_rows)
        with renamed(f"looking into the base of {name}"):
            blob: Any = await redis.getrange(key, 0, most - 1)  # a third of the block
        if not blob:
            raise SnapshotUnreadable(f"{name}: block {block} of base {generation} is gone")
        held = unpack_block(blob, layout.block_rows, (FINGERPRINT,))[FINGERPRINT]
        asked = np.array(sorted(wanted[block]), np.uint64)
        at = np.minimum(np.searchsorted(held, asked), len(held) - 1)
        listed = asked[held[at] == asked].tolist()
        if listed:  # the other columns of a block cost several times its fingerprints
            with renamed(f"looking into the base of {name}"):
                blob = await redis.get(key)
            if blob is None:
                raise SnapshotUnreadable(f"{name}: block {block} of base {generation} is gone")
            columns = Columns(
                **unpack_block(blob, layout.block_rows), sources=decode_manifest(manifest).sources
            )
            for one in listed:
                rows = columns.span(one)
                found[one] = found.get(one, ()) + tuple(map(columns.entry, rows))
    return found


async def manifest(redis: Redis, name: str, generation: int) -> bytes:
    """A base's manifest; raises SnapshotUnreadable if the base is not there (any more)."""
    return (await _head(redis, name, generation))[0]


async def size(redis: Redis, name: str, generation: int) -> int:
    """Bytes of Redis' memory that the base of `generation` (0: none) takes."""
    if not generation:
        return 0
    key = redis_keys.base(name, generation)
    _, layout = await _head(redis, name, generation)
    with renamed(f"measuring the base of {name}"):
        async with redis.pipeline(transaction=False) as pipe:
            for one in (key, *(f"{key}:{i}" for i in range(layout.blobs))):
                pipe.memory_usage(one, samples=0)
            return sum(int(used or 0) for used in await pipe.execute())


async def write(
    redis: Redis, name: str, generation: int, parts: Mapping[str, bytes], progress: Progress
) -> None:
    """Write a base that no list points to yet, and read every byte of it back.

    Raises RegisterLost if it reads back otherwise.
    """
    packed, manifest = pack(parts), parts[MANIFEST_PART]
    key = redis_keys.base(name, generation)
    layout = msgspec.json.encode(packed.layout)
    blobs = packed.layout.blobs
    with renamed(f"writing a base of {name}"):
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={"manifest": manifest, "layout": layout, "blobs": blobs})
            pipe.expire(key, UNPUBLISHED_TTL_S)
            await pipe.execute()
        for i, blob in enumerate(packed.blobs()):
            await redis.set(f"{key}:{i}", blob, ex=UNPUBLISHED_TTL_S)
            if await redis.get(f"{key}:{i}") != blob:
                raise RegisterLost(f"{key}:{i} reads back otherwise than it was written")
            progress(i + 1, blobs)
        if await redis.hmget(key, ["manifest", "layout"]) != [manifest, layout]:
            raise RegisterLost(f"{key} reads back otherwise than it was written")


async def _head(redis: Redis, name: str, generation: int) -> tuple[bytes, Layout]:
    with renamed(f"reading the base of {name}"):
        fields: list[Any] = await redis.hmget(
            redis_keys.base(name, generation), ["manifest", "layout"]
        )
    manifest, layout = fields
    if manifest is None or layout is None:
        raise SnapshotUnreadable(f"{name}: base {generation} is not in the register")
    try:
        return manifest, msgspec.json.decode(layout, type=Layout)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{name}: layout of base {generation}: {error}") from error
