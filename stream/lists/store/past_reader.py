"""Read and pack the past in the list store: bases, the steps between them, and the audit.

The change stream, its archive and the audit are shared by all lists. They are read in pieces of
`_PIECE` items, about 10 ms of Redis' time each, so that no reader holds up the writers.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cramjam
import msgspec
from redis.asyncio import Redis

from stream.core.model.errors import UNREADABLE, SnapshotUnreadable
from stream.lists.store import redis_keys
from stream.lists.store.audit_entries import AuditEntry, AuditHead
from stream.lists.store.bases import decompress
from stream.lists.store.heads import ListHead
from stream.lists.store.redis_client import renamed
from stream.lists.store.store_codec import (
    HEAD_FIELDS,
    Followed,
    Op,
    Step,
    chain_after,
    followed,
    hex_of,
    id_place,
    list_head,
)
from stream.ops.skipped_records import Skipped, StoredKind, skip

CHUNK = 500
"""Steps packed at once, 20 to 25 bytes each. Of 5,000, as before, a process that stays gave 3.4 MB
of Python's objects hardly back."""
CHUNKS_MAX = 4000
"""Two million steps, about 50 MB."""
_BYTES_MAX = 64 << 20
"""A piece is some 15 KB unpacked. More is damage, and must not fill the memory."""
_ZSTD_LEVEL = 9
"""Packed once and kept for weeks: a slow level pays, unlike for bases."""
_SIZE = struct.Struct("<I")


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """Steps in columns; `chains` is "" where a step follows the one of its list before it."""

    names: list[str]
    places: list[int]
    ids: list[str]
    generations: list[int]
    ops: list[str]
    payloads: list[bytes]
    chains: list[str]


def packed(steps: Sequence[Step]) -> bytes:
    """Pack steps of any lists, in the stream's order, as one piece."""
    names = sorted({step.name for step in steps})
    places = {name: place for place, name in enumerate(names)}
    last: dict[str, str] = {}
    chains = []
    # A chain is 40 random characters, most of a step's bytes. It is kept only where it cannot be
    # computed from the step before: at a list's first step in the piece, and at a break.
    for step in steps:
        before = last.get(step.name)
        chains.append("" if before is not None and step.follows(before) else step.chain)
        last[step.name] = step.chain
    columns = _Columns(
        names,
        [places[step.name] for step in steps],
        [step.id for step in steps],
        [step.generation for step in steps],
        [step.op for step in steps],
        [step.payload for step in steps],
        chains,
    )
    raw = msgspec.msgpack.encode(columns)
    return _SIZE.pack(len(raw)) + bytes(cramjam.zstd.compress(raw, level=_ZSTD_LEVEL))


def unpacked(piece: bytes, name: str | None = None) -> Iterator[Step]:
    """Yield the steps of one list in a piece; None: of all. Raises SnapshotUnreadable."""
    try:
        size = min(_SIZE.unpack_from(piece)[0], _BYTES_MAX)
        raw = decompress(piece[_SIZE.size :], size, "a piece of the archive")
        columns = msgspec.msgpack.decode(raw, type=_Columns)
    except (*UNREADABLE, struct.error) as error:
        raise SnapshotUnreadable(f"a piece of the archive: {error}") from error
    if name is not None and name not in columns.names:
        return
    chains = [""] * len(columns.names)
    for row, place in enumerate(columns.places):
        if name is None or columns.names[place] == name:
            generation, op = columns.generations[row], columns.ops[row]
            payload = columns.payloads[row]
            chain = columns.chains[row] or chain_after(chains[place], generation, op, payload)
            chains[place] = chain
            yield Step(columns.ids[row], columns.names[place], generation, op, payload, chain)


_PIECE = 5000
"""About 10 ms of Redis' time, in which no other client is served."""
_PACKED = 50
"""Packed pieces read at once: less than a megabyte, or five where earlier versions packed them."""
_CHANGES = {Op.ADD, Op.REMOVE}
_NO_HEAD = (b"0", b"", b"")


@dataclass(frozen=True, slots=True)
class KeptBase:
    """A base that is still there: it is the list's from generation `published` on.

    It holds all changes up to `generation`, whose step has the id `reserved_id`. `published_id` is
    that of its publication, and begins with the milliseconds since the epoch.
    """

    generation: int
    published: int
    reserved_id: str
    published_id: str
    count: int


class PastReader:
    """Reads the past of the lists. Every method may raise ListStoreDown."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def bases(self, name: str) -> tuple[KeptBase, ...]:
        """Return a list's bases, newest first."""
        names = ("published", "reserved_id", "published_id", "count")
        with renamed(f"looking for the bases of {name}"):
            listed: Any = await self._redis.lrange(redis_keys.bases(name), 0, -1)
            generations = [int(one) for one in listed if one.isdigit()]
            async with self._redis.pipeline(transaction=False) as pipe:
                for generation in generations:
                    pipe.hmget(redis_keys.base(name, generation), list(names))
                records = await pipe.execute()
        if len(generations) < len(listed):
            skip(Skipped(StoredKind.HEAD, redis_keys.bases(name), "an item is no generation", name))
        found = []
        for generation, known in zip(generations, records, strict=True):
            if None in known:  # dropped in between
                continue
            published, reserved_id, published_id, count = (_told(value) for value in known)
            if not (published.isdigit() and count.isdigit() and _is_id(published_id)):
                where = redis_keys.base(name, generation)
                skip(Skipped(StoredKind.HEAD, where, "it does not say when it was published", name))
                continue
            numbers = generation, int(published)
            found.append(KeptBase(*numbers, reserved_id, published_id, int(count)))
        return tuple(found)

    async def head(self, name: str) -> ListHead | None:
        """Return one list's head, without its changes; None: there is no such list.

        Raises SnapshotUnreadable for a head that cannot be read.
        """
        with renamed(f"reading the head of {name}"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(redis_keys.head(name), list(HEAD_FIELDS))
                pipe.hlen(redis_keys.changed(name))
                fields, changes = await pipe.execute()
        if fields[0] is None:
            return None
        head = list_head(name.encode(), fields, changes)
        if isinstance(head, Skipped):
            raise SnapshotUnreadable(f"{head.where}: {head.why}")
        return head

    async def published(self, heads: Sequence[ListHead]) -> dict[str, int]:
        """Return when bases were published, in seconds since the epoch, in one round trip."""
        based = [head for head in heads if head.base]
        with renamed("reading when bases were published"):
            async with self._redis.pipeline(transaction=False) as pipe:
                for head in based:
                    pipe.hget(redis_keys.base(head.name, head.base), "published_id")
                found = await pipe.execute()
        return {
            head.name: int(identity.partition(b"-")[0]) // 1000
            for head, identity in zip(based, found, strict=True)
            if identity is not None and _is_id(_told(identity))
        }

    async def steps(self, name: str, after: str = "0-0") -> list[Step]:
        """Return a list's steps from the id `after` on that are still kept, in order.

        Raises SnapshotUnreadable where a piece of the archive cannot be read.
        """
        found: list[Step] = []
        async for piece in self._pieces(name, after):
            found += piece
        return found

    async def steps_about(self, wanted: Mapping[str, Collection[int]]) -> dict[str, list[Step]]:
        """Return all steps of the lists in `wanted`, without content about other fingerprints.

        Those stand as steps that change nothing, so that a missing one is still noticed; they take
        a third of the memory. One pass for all lists.
        """
        thin = {name: _Thin(fingerprints) for name, fingerprints in wanted.items()}
        async for piece in self._pieces(None, "0-0"):
            for one in piece:
                if one.name in thin:
                    thin[one.name].take(one)
        return {name: found.steps for name, found in thin.items()}

    async def _pieces(self, name: str | None, after: str) -> AsyncIterator[list[Step]]:
        """Yield kept steps of one list (None: of all) from the id `after` on, piece by piece."""
        # The archive's end is read first: a step that is archived meanwhile is then read twice at
        # worst, and never missed. Readers pass over a generation that they have already.
        with renamed("reading the archive of changes"):
            upto: Any = await self._redis.get(redis_keys.PAST_UPTO)
        # An item's id is that of its last step.
        async for _, fields in self._items(redis_keys.PAST, after, "+", _PACKED):
            held = await asyncio.to_thread(_in_piece, fields.get(b"steps", b""), name)
            yield [one for one in held if id_place(one.id) >= id_place(after)]
        if upto is not None and id_place(upto.decode()) >= id_place(after):
            after = f"({upto.decode()}"
        wanted = None if name is None else name.encode()
        items = self._items(redis_keys.CHANGES, after, "+")
        async for item in items:
            if wanted is None or item[1].get(b"list") == wanted:
                yield list(followed([item], item[0].decode()).steps)

    async def chunk(self) -> tuple[str, Followed | None]:
        """Return the id of the last archived step, and the next CHUNK items; None: so far fewer."""
        with renamed("reading what the archive lacks"):
            known: Any = await self._redis.get(redis_keys.PAST_UPTO)
            upto = known.decode() if known else "0-0"
            items: Any = await self._redis.xrange(redis_keys.CHANGES, f"({upto}", "+", count=CHUNK)
        return upto, followed(items, upto) if len(items) == CHUNK else None

    async def audit(self, since_ms: int = 0, before: str = "") -> AsyncIterator[AuditEntry]:
        """Yield the audit's entries from `since_ms` on, before the id `before`, newest first."""
        newest = f"({before}" if before else "+"
        while True:
            with renamed("reading the audit"):
                items: Any = await self._redis.xrevrange(
                    redis_keys.AUDIT, newest, str(since_ms), count=_PIECE
                )
            for identity, fields in items:
                yield AuditEntry.of(identity.decode(), fields)
            if len(items) < _PIECE:
                return
            newest = f"({items[-1][0].decode()}"

    async def audit_head(self) -> AuditHead:
        """Return the head of the audit and its last entry's id, of one moment."""
        with renamed("reading the audit's head"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(redis_keys.AUDIT_HEAD, ["count", "hash", "id"])
                pipe.xrevrange(redis_keys.AUDIT, count=1)
                known, last = await pipe.execute()
        count, hashed, identity = (v or n for v, n in zip(known, _NO_HEAD, strict=True))
        last_id = last[0][0].decode() if last else ""
        return AuditHead(int(count), hashed.decode(), identity.decode(), last_id)

    async def audit_items(self, until: str) -> AsyncIterator[tuple[str, dict[bytes, bytes]]]:
        """Yield the audit as it was written, oldest first, up to the id `until`."""
        async for identity, fields in self._items(redis_keys.AUDIT, "-", until):
            yield identity.decode(), fields

    async def _items(
        self, key: str, after: str, until: str, piece: int = _PIECE
    ) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
        """Yield all items, reading `piece` at once."""
        while True:
            with renamed(f"reading {key}"):
                items: Any = await self._redis.xrange(key, after, until, count=piece)
            for item in items:
                yield item
            if len(items) < piece:
                return
            after = f"({items[-1][0].decode()}"


class _Thin:
    """The steps of one list, those about other fingerprints as steps that change nothing."""

    def __init__(self, fingerprints: Collection[int]) -> None:
        self.steps: list[Step] = []
        self._wanted = [hex_of(fingerprint).encode() for fingerprint in fingerprints]
        self._chain = ""

    def take(self, one: Step) -> None:
        follows = one.follows(self._chain)
        self._chain = one.chain
        about = any(fingerprint in one.payload for fingerprint in self._wanted)
        op, payload = one.op, one.payload
        if not about and op in _CHANGES:
            op, payload = Op.RESERVE, b""
        before = self.steps[-1].chain if self.steps else ""
        chain = chain_after(before, one.generation, op, payload) if follows else one.chain
        self.steps.append(Step(one.id, one.name, one.generation, op, payload, chain))


def _told(value: bytes) -> str:
    return value.decode(errors="replace")


def _is_id(text: str) -> bool:
    millis, _, count = text.partition("-")
    return millis.isdigit() and (not count or count.isdigit())


def _in_piece(piece: bytes, name: str | None) -> list[Step]:
    return list(unpacked(piece, name))
