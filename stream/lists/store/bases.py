"""Read and write the bases of lists in Redis: parts cut into blocks of rows, shuffled, compressed.

Pure. A base's column parts (as in a snapshot's directory: little-endian arrays, sorted by
fingerprint) are cut into blocks of `BLOCK_ROWS` rows. A block holds those rows of every column. So
one number is found by reading one block of a few hundred KB, not the list. All other parts (the
filter) are cut into pieces of `PIECE_BYTES`.

In a block each column is split into planes: the first bytes of all rows, the second bytes, and so
on. Fingerprints are differences to the row before. Sorted 64-bit fingerprints of 1M numbers then
need 5.9 bytes instead of 8, and columns that hardly vary almost nothing.
"""

import asyncio
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cramjam
import msgspec
import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from stream.core.filters.snapshot import COLUMNS, MANIFEST_PART, decode_manifest
from stream.core.model.entry import Columns, Entry
from stream.core.model.errors import UNREADABLE, ListStoreLost, SnapshotUnreadable
from stream.lists.store import redis_keys
from stream.lists.store.heads import Progress
from stream.lists.store.redis_client import renamed

BLOCK_ROWS = 1 << 16
"""One number is found by reading one block. Smaller blocks compress worse, larger ones are read
slower."""
PIECE_BYTES = 4 << 20
"""Redis serves no other client while it answers: a few ms for so many bytes."""
ANSWER_BYTES = 512 << 10
"""Most bytes of a blob asked for at once. An answer must be there within `timeout_s`. 200 followers
that read at once through 1 Gbit/s get 0.6 MB/s each, and a whole blob would time out again and
again. Redis holds as much for each of them until it is sent: 100 MB, not 800."""
ZSTD_LEVEL = 3
"""Entropy, not repetition: level 9 saves less than 1 % (measured on 1M entries)."""

FINGERPRINT = COLUMNS[0].name
"""First in a block: whether it holds a number is read without the rest of it."""
TYPES = {column.name: column.dtype for column in COLUMNS}

_SECTION = struct.Struct("<I")


class BaseLayout(msgspec.Struct, frozen=True):
    """The place of a base's parts: blobs `0 .. len(firsts) - 1` are blocks, then the pieces.

    `firsts` are the first fingerprints (hex) of the blocks. `pieces` are the other parts' names,
    each with its number of blobs; `sizes` the bytes of every part, unpacked.
    """

    rows: int
    block_rows: int
    firsts: tuple[str, ...]
    pieces: tuple[tuple[str, int], ...]
    sizes: dict[str, int]

    @property
    def blobs(self) -> int:
        """The number of blobs."""
        return len(self.firsts) + sum(count for _, count in self.pieces)

    def blocks_of(self, fingerprint: int) -> range:
        """Return the blocks that may hold `fingerprint`: one, or two that part its reports."""
        wanted = f"{fingerprint:016x}"  # as they are written, texts are in the numbers' order
        return range(
            max(bisect_left(self.firsts, wanted) - 1, 0), bisect_right(self.firsts, wanted)
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """A base as it is written: its layout, and its blobs one at a time, to bound memory."""

    layout: BaseLayout
    parts: Mapping[str, bytes]

    def blobs(self) -> Iterator[bytes]:
        """Yield the blobs in their order; each is compressed when it is asked for."""
        step = self.layout.block_rows
        if self.layout.firsts:
            arrays = _arrays(self.parts)
            for start in range(0, self.layout.rows, step):
                yield pack_block({name: a[start : start + step] for name, a in arrays.items()})
        for name, count in self.layout.pieces:
            view = memoryview(self.parts[name])
            for i in range(count):
                yield _compress(view[i * PIECE_BYTES : (i + 1) * PIECE_BYTES])


def pack(parts: Mapping[str, bytes], block_rows: int = BLOCK_ROWS) -> Packed:
    """Lay out `parts` of a snapshot for the list store; the manifest lies elsewhere."""
    fingerprints = np.frombuffer(parts.get(FINGERPRINT, b""), "<u8")
    rest = sorted(name for name in parts if name not in TYPES and name != MANIFEST_PART)
    layout = BaseLayout(
        rows=len(fingerprints),
        block_rows=block_rows,
        firsts=tuple(f"{int(first):016x}" for first in fingerprints[::block_rows]),
        pieces=tuple((name, -(-len(parts[name]) // PIECE_BYTES)) for name in rest),
        sizes={name: len(part) for name, part in parts.items() if name != MANIFEST_PART},
    )
    return Packed(layout, parts)


class Unpacking:
    """Puts a base's parts together from its blobs, given in order.

    Raises SnapshotUnreadable when a blob is not what the layout says.
    """

    def __init__(self, layout: BaseLayout) -> None:
        self._layout = layout
        # Sizes come from the list store: nothing may be larger than a list can be.
        if any(not 0 <= size <= 16 << 30 for size in layout.sizes.values()):
            raise SnapshotUnreadable("the layout's part sizes are impossible")
        self._parts = {name: BytesIO() for name in layout.sizes}
        self._targets = ["" for _ in layout.firsts] + [
            name for name, count in layout.pieces for _ in range(count)
        ]
        self._taken = 0

    def take(self, blob: bytes) -> None:
        """Take the next blob."""
        if self._taken >= len(self._targets):
            raise SnapshotUnreadable("more blobs than the layout names")
        name = self._targets[self._taken]
        if name:
            self._parts[name].write(decompress(blob, PIECE_BYTES, f"blob {self._taken}"))
        else:
            for column, values in unpack_block(blob, self._layout.block_rows).items():
                self._parts[column].write(values.tobytes())
        self._taken += 1

    def parts(self) -> dict[str, bytes]:
        """Return the parts, after the last blob."""
        # BytesIO gives its buffer away without a copy, which would hold all threads up.
        parts = {name: part.getvalue() for name, part in self._parts.items()}
        for name, size in self._layout.sizes.items():
            if len(parts[name]) != size:
                raise SnapshotUnreadable(
                    f"part {name} has {len(parts[name])} bytes, the layout says {size}"
                )
        return parts


def pack_block(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a block: for each of `COLUMNS` its compressed length (u32) and compressed planes."""
    sections = []
    for name, dtype in TYPES.items():
        values = columns[name]
        if name == FINGERPRINT:
            values = np.diff(values, prepend=np.zeros(1, values.dtype))
        # Rows of bytes, turned: a plane holds the same byte of all rows, and zstd finds the high
        # ones nearly constant.
        planes = np.ascontiguousarray(values, dtype).view(np.uint8)
        planes = planes.reshape(len(values), dtype.itemsize).T
        body = _compress(np.ascontiguousarray(planes).tobytes())
        sections += [_SECTION.pack(len(body)), body]
    return b"".join(sections)


def first_bytes(block_rows: int) -> int:
    """Return the bytes of a block that surely hold its fingerprints: zstd adds 1 in 256 at most."""
    size = block_rows * TYPES[FINGERPRINT].itemsize
    return _SECTION.size + size + size // 256 + 64


def unpack_block(
    blob: bytes, rows_max: int, names: Sequence[str] = tuple(TYPES)
) -> dict[str, NDArray[Any]]:
    """Return the columns `names` of a block, the first of `COLUMNS`. Raises SnapshotUnreadable."""
    found: dict[str, NDArray[Any]] = {}
    at, rows = 0, -1
    for name in names:
        width = TYPES[name].itemsize
        if len(blob) < at + _SECTION.size:
            raise SnapshotUnreadable(f"a block ends before its column {name}")
        (length,) = _SECTION.unpack_from(blob, at)
        at += _SECTION.size
        planes = decompress(blob[at : at + length], rows_max * width, f"column {name}")
        at += length
        if len(planes) % width or rows not in {-1, len(planes) // width}:
            raise SnapshotUnreadable(f"column {name} of a block has {len(planes)} bytes")
        rows = len(planes) // width
        octets = np.frombuffer(planes, np.uint8).reshape(width, rows)
        values = np.ascontiguousarray(octets.T).view(TYPES[name])[:, 0]
        found[name] = np.cumsum(values, dtype="<u8") if name == FINGERPRINT else values
    return found


def _arrays(parts: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    return {name: np.frombuffer(parts[name], dtype) for name, dtype in TYPES.items()}


def _compress(data: bytes | memoryview) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=ZSTD_LEVEL))


def decompress(blob: bytes, size_max: int, what: str) -> bytes:
    """Return the bytes in `blob`, at most `size_max`; SnapshotUnreadable otherwise."""
    # Into a buffer of a known size: a blob in Redis may claim to unpack to any number of gigabytes.
    out = bytearray(size_max)
    try:
        size = cramjam.zstd.decompress_into(blob, out)
    except (cramjam.DecompressionError, ValueError) as error:
        raise SnapshotUnreadable(f"{what}: not zstd of at most {size_max} bytes") from error
    return bytes(memoryview(out)[:size])


UNPUBLISHED_TTL_S = 3600
"""Building and writing the largest list takes minutes. What a dead writer left expires by
itself."""


async def read(redis: Redis, name: str, generation: int) -> dict[str, bytes]:
    """Return a base's parts, its manifest among them; not yet checked against each other.

    Raises SnapshotUnreadable if it is not there (any more) or not whole.
    """
    key = redis_keys.base(name, generation)
    manifest, layout = await _head(redis, name, generation)
    unpacking = Unpacking(layout)
    for i in range(layout.blobs):
        with renamed(f"reading the base of {name}"):
            blob = await _blob(redis, f"{key}:{i}")
        if not blob:
            raise SnapshotUnreadable(f"{name}: blob {i} of base {generation} is gone")
        await asyncio.to_thread(unpacking.take, blob)  # a few ms each, not the loop's
    return {MANIFEST_PART: manifest, **(await asyncio.to_thread(unpacking.parts))}


async def reports(
    redis: Redis, name: str, generation: int, fingerprints: Sequence[int]
) -> dict[int, tuple[Entry, ...]]:
    """Return the reports of those of `fingerprints` that the base of `generation` (0: none) holds.

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
        # GETRANGE of a key that is gone is empty, not nil.
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
    """Return a base's manifest; raises SnapshotUnreadable if the base is not there (any more)."""
    return (await _head(redis, name, generation))[0]


async def size(redis: Redis, name: str, generation: int) -> int:
    """Return the bytes of Redis' memory that the base of `generation` (0: none) takes."""
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

    Raises ListStoreLost if it reads back otherwise.
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
            # Expiring until PUBLISH persists it: a writer that is killed leaves nothing for ever.
            await redis.set(f"{key}:{i}", blob, ex=UNPUBLISHED_TTL_S)
            if await redis.get(f"{key}:{i}") != blob:
                raise ListStoreLost(f"{key}:{i} reads back otherwise than it was written")
            progress(i + 1, blobs)
        if await redis.hmget(key, ["manifest", "layout"]) != [manifest, layout]:
            raise ListStoreLost(f"{key} reads back otherwise than it was written")


async def _blob(redis: Redis, key: str) -> bytes:
    """Return a blob, empty if it is gone. One that goes meanwhile is cut, and does not unpack."""
    parts: list[bytes] = []
    while True:
        start = len(parts) * ANSWER_BYTES
        # GETRANGE of a key that is gone is empty, not nil.
        part: Any = await redis.getrange(key, start, start + ANSWER_BYTES - 1)
        parts.append(part)
        if len(part) < ANSWER_BYTES:
            return b"".join(parts)


async def _head(redis: Redis, name: str, generation: int) -> tuple[bytes, BaseLayout]:
    with renamed(f"reading the base of {name}"):
        fields: list[Any] = await redis.hmget(
            redis_keys.base(name, generation), ["manifest", "layout"]
        )
    manifest, layout = fields
    if manifest is None or layout is None:
        raise SnapshotUnreadable(f"{name}: base {generation} is not in the list store")
    try:
        return manifest, msgspec.json.decode(layout, type=BaseLayout)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{name}: layout of base {generation}: {error}") from error
