"""Copy the list store while it changes, as it was at one moment.

One script shows one moment (`cut.lua`): all heads, the ends of the streams, and the keys that are
known to change. Everything else is copied before, in pieces, and is brought to that moment:

- a list: its changes were copied at some generation; the steps from there to its head come from the
  change stream, each checked by the chain. So do all changes of a base that is newer than the copy,
  and of a list that was created since. Only the base itself is read, which never changes;
- a stream only grows, so it is copied up to where it ended at that moment;
- any other key is read a second time. If it is still what was copied, it was that at the moment.
  If not, it is one that changes: a new moment is taken, and the script gives it too.

So nothing waits: a script holds Redis for some milliseconds, and no writer is stopped.
"""

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis

from stream.core.model.errors import ChangeConflict
from stream.lists.backup.backup_records import BackupList, BackupSummary, GoneKey, KeyPiece, pieces
from stream.lists.store import list_lua, redis_keys
from stream.lists.store.heads import Progress, no_progress
from stream.lists.store.redis_client import renamed
from stream.lists.store.store_codec import OPS, Op, Step, change_of, followed, hex_of, id_place

LEFT_OUT: Final[Mapping[str, str]] = {
    "rf:session:": "people sign in again",
    "rf:once": "answers to requests of the last day, kept for their repetition",
    "rf:decided:": "a copy of the decisions topic, which is the record",
}
"""Keys that no backup has, by how they begin, and why. Bases that are being written are left out
too: their writer finds that they are gone, and begins again."""
_PASSING: Final = (b"rf:restoring:", redis_keys.PUT_BACK.encode())
"""Keys that a restore was writing, and a lock."""
_STREAMS: Final = (redis_keys.CHANGES, redis_keys.PAST, redis_keys.AUDIT)
_ALWAYS: Final = (
    redis_keys.IDENTITY,
    redis_keys.LISTS,
    redis_keys.PAST_UPTO,
    redis_keys.AUDIT_HEAD,
    redis_keys.ALLOW_HEAD,
    redis_keys.TRIALS_HEAD,
)
"""Small, and part of the moment: the streams are copied up to what they say."""
_HOT_BYTES_MAX: Final = 64 << 20
"""Of all keys that one script gives: Redis answers nobody else for about 100 ms then."""
_ROUNDS: Final = 30
"""Moments that are tried: each finds the keys that changed since the one before."""
_TOGETHER: Final = 100
"""Keys that one script reads, of `_ITEMS_MAX` items each at most: a few ms."""
_ITEMS_MAX: Final = 1000
_STREAM_PIECE: Final = 2000
_PAST_PIECE: Final = 20
"""Items of `rf:past` hold 500 steps each, or 5,000 where earlier versions packed them."""

Emit = Callable[[KeyPiece | GoneKey], None]


@dataclass(frozen=True, slots=True)
class _CopiedList:
    """The position up to which a list was copied, and its keys."""

    generation: int
    chain: str
    base: bytes
    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class _CopiedKey:
    """The content of a key when it was copied, by its hash, and about how many bytes it has."""

    digest: int
    size: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """One moment. `keys`: kind, expiry and items; None: not there."""

    moment_ms: int
    changes_end: str
    audit_end: str
    heads: Mapping[str, list[bytes]]
    keys: Mapping[bytes, tuple[str, int, list[bytes]] | None]


@dataclass(slots=True)
class StoreCopy:
    """A copy of the list store at `redis`; each record goes to `emit` at once.

    `progress` is called with how many keys of how many are copied.
    """

    redis: Redis
    emit: Emit
    progress: Progress = no_progress
    _lists: dict[str, _CopiedList] = field(init=False, default_factory=dict)
    _bases: dict[bytes, set[bytes]] = field(init=False, default_factory=dict)
    _others: dict[bytes, _CopiedKey] = field(init=False, default_factory=dict)
    _hot: set[bytes] = field(init=False, default_factory=set)
    _emitted: set[bytes] = field(init=False, default_factory=set)
    _begun: str = field(init=False, default="0-0")

    async def run(self) -> BackupSummary:
        """Copy it. Raises ListStoreDown; ChangeConflict where it changes too fast to be copied."""
        self._hot = {key.encode() for key in _ALWAYS}
        cut = await self._cut()
        self._begun = cut.changes_end
        for name in sorted(cut.heads):
            await self._copy_list(name)
        await self._copy_others(await self._other_keys())
        why = ""
        for _ in range(_ROUNDS):
            cut = await self._cut()
            fresh, stale = await self._caught_up(cut)
            if stale:
                why = f"lists whose bases go before they are copied: {', '.join(stale[:5])}"
                continue
            changed = await self._changed_keys()
            if not changed:
                return await self._finish(cut, fresh)
            why = f"keys that change: {_named(changed)}"
            self._make_hot(changed)
        raise ChangeConflict(f"no moment of the list store could be copied, for {why}. Try again")

    # Lists

    async def _copy_list(self, name: str) -> None:
        """Copy a list as it is now; skip one that is gone, or whose base was removed meanwhile.

        The next moment sees to it.
        """
        self._lists.pop(name, None)
        keys = [redis_keys.head(name), redis_keys.changed(name), redis_keys.bases(name)]
        head, changed, bases = await self._run(f"copying {name}", list_lua.COPY_LIST, keys)
        if head:
            await self._copied(name, _fields(head), bases, changed)

    async def _copied(
        self,
        name: str,
        head: Mapping[bytes, bytes],
        bases: Sequence[bytes],
        changed: Sequence[bytes],
    ) -> bool:
        """Copy the bases of a list, and write its changes; False: its own base is gone."""
        place, base = redis_keys.head(name), head.get(b"base", b"0")
        key, order = redis_keys.changed(name).encode(), redis_keys.bases(name).encode()
        owned, kept = {place.encode(), key, order}, []
        for one in bases:
            # An older base may go while it is copied.
            if found := await self._copy_base(name, one):
                kept.append(one)
                owned |= found
        if base != b"0" and base not in kept:
            return False
        self._put_anew(key, "hash", changed)
        self._put_anew(order, "list", kept)
        generation, chain = _position(head)
        self._lists[name] = _CopiedList(generation, chain, base, frozenset(owned))
        return True

    async def _copy_base(self, name: str, generation: bytes) -> set[bytes]:
        """Copy a base, once, and return its keys; none of them where it is not there any more."""
        key = redis_keys.base(name, int(generation)).encode()
        if key in self._bases:
            return self._bases[key]
        with renamed(f"copying a base of {name}"):
            fields: Any = await self.redis.hgetall(key.decode())
        if b"blobs" not in fields:
            return set()
        found = {key}
        self._put(pieces(key, "hash", [word for pair in fields.items() for word in pair]))
        for place in range(int(fields[b"blobs"])):
            blob_key = b"%b:%d" % (key, place)
            with renamed(f"copying a base of {name}"):
                blob: Any = await self.redis.get(blob_key.decode())
            if blob is None:
                return set()
            self._put(pieces(blob_key, "string", [blob]))
            found.add(blob_key)
        self._bases[key] = found
        return found

    async def _caught_up(self, cut: _Cut) -> tuple[dict[str, list[Step]], list[str]]:
        """Return for each list the steps from its copy to `cut`, and the lists without a copy.

        Those were copied again, for the next moment.
        """
        steps: dict[str, list[Step]] = defaultdict(list)
        async for items in self._stream(redis_keys.CHANGES, self._begun, cut.changes_end):
            for step in followed(items, self._begun).steps:
                steps[step.name].append(step)
        found, stale = {}, []
        for name, fields in cut.heads.items():
            head, copied = _fields(fields), self._lists.get(name)
            if copied is not None and copied.base == head.get(b"base"):
                fresh = [one for one in steps[name] if one.generation > copied.generation]
                if _leads_to((copied.generation, copied.chain), fresh) == _position(head):
                    found[name] = fresh
                    continue
            if await self._copy_by_steps(name, head, steps[name]):
                found[name] = []
                continue
            await self._copy_list(name)
            stale.append(name)
        return found, stale

    async def _copy_by_steps(
        self, name: str, head: Mapping[bytes, bytes], steps: Sequence[Step]
    ) -> bool:
        """Copy a list at a moment that is past, whose base or itself is newer than the backup.

        False: the steps do not lead from its base to `head`, or the base is gone.
        """
        base = head.get(b"base", b"0")
        places = [
            place
            for place, one in enumerate(steps)
            if (one.op == Op.CREATE if base == b"0" else str(one.generation).encode() == base)
        ]
        if not places:
            return False
        first, since = steps[places[-1]], steps[places[-1] + 1 :]
        if _leads_to((first.generation, first.chain), since) != _position(head):
            return False
        with renamed(f"copying {name}"):
            bases: Any = await self.redis.lrange(redis_keys.bases(name), 0, -1)
        # Those before it in the order were published after that moment.
        kept = bases[bases.index(base) :] if base in bases else []
        changed = dict(_changes(since))  # the last of each number counts
        return await self._copied(name, head, kept, [w for pair in changed.items() for w in pair])

    # Other keys

    async def _other_keys(self) -> set[bytes]:
        """Return all keys that are no list's, no stream, and not left out."""
        apart = (b"rf:list:{", *_PASSING, *(one.encode() for one in LEFT_OUT))
        streams = {one.encode() for one in _STREAMS}
        found = set()
        with renamed("looking for the keys of the list store"):
            async for key in self.redis.scan_iter(match="rf:*", count=1000):
                if not key.startswith(apart) and key not in streams:
                    found.add(key)
        return found - self._hot

    async def _copy_others(self, keys: set[bytes]) -> None:
        self._others = await self._read_others(sorted(keys), self._put)

    async def _changed_keys(self) -> set[bytes]:
        """Return the keys that are not what was copied any more, new ones too."""
        keys = await self._other_keys()
        now = await self._read_others(sorted(keys), lambda _: None)
        known = self._others
        return {
            key
            for key in keys | known.keys()
            if key not in self._hot and _digest(now, key) != _digest(known, key)
        }

    def _make_hot(self, keys: set[bytes]) -> None:
        """Make the next moment give `keys` whole. Raises ChangeConflict if that is too much."""
        self._hot |= keys
        sizes = {key: self._others[key].size for key in self._hot if key in self._others}
        if sum(sizes.values()) > _HOT_BYTES_MAX:
            most = max(sizes, key=lambda key: sizes[key])
            raise ChangeConflict(
                f"{most.decode(errors='replace')} changes while it is copied, and is too large to "
                "be read at once. Try again when less is written there"
            )

    async def _read_others(
        self, keys: Sequence[bytes], put: Callable[[Iterator[KeyPiece]], None]
    ) -> dict[bytes, _CopiedKey]:
        found: dict[bytes, _CopiedKey] = {}
        for start in range(0, len(keys), _TOGETHER):
            some = keys[start : start + _TOGETHER]
            now_ms, values = await self._run("copying keys", list_lua.READ_KEYS, some, [_ITEMS_MAX])
            for key, value in zip(some, values, strict=True):
                if value is None:
                    continue
                kind, left, items = value
                if kind == b"stream":
                    continue  # none of ours: another program's, or of a newer version
                expires_at_ms = now_ms + left if left >= 0 else 0
                told = _Hashed(kind.decode())
                if items is not None:
                    told.add(items)
                    put(pieces(key, kind.decode(), items, expires_at_ms))
                else:
                    first = True
                    async for piece in self._scanned(key, kind.decode()):
                        told.add(piece)
                        put(pieces(key, kind.decode(), piece, expires_at_ms, first=first))
                        first = False
                found[key] = _CopiedKey(told.digest, told.size)
            self.progress(min(start + _TOGETHER, len(keys)), len(keys))
        return found

    async def _scanned(self, key: bytes, kind: str) -> AsyncIterator[list[bytes]]:
        """Yield a large key's items in pieces; a change meanwhile is found by the second look."""
        name, at, size = key.decode(errors="surrogateescape"), 0, _ITEMS_MAX
        cursor: Any = None
        with renamed(f"copying {name}"):
            while cursor != 0 if kind in {"hash", "set"} else True:
                found: Any
                if kind == "hash":
                    answer: Any = await self.redis.hscan(name, cursor or 0, count=size)
                    cursor, pairs = answer
                    found = [word for pair in pairs.items() for word in pair]
                elif kind == "set":
                    cursor, members = await self.redis.sscan(name, cursor or 0, count=size)
                    found = list(members)
                elif kind == "zset":
                    found = await self.redis.execute_command(  # type: ignore[no-untyped-call]
                        "ZRANGE", name, at, at + size - 1, "WITHSCORES"
                    )
                    found = _flat(found)
                else:
                    found = await self.redis.lrange(name, at, at + size - 1)
                if found:
                    yield found
                elif kind not in {"hash", "set"}:
                    return
                at += size

    # The end

    async def _finish(self, cut: _Cut, steps: Mapping[str, list[Step]]) -> BackupSummary:
        """Write what the moment showed, and the streams up to it."""
        alive: set[bytes] = set()
        lists = {}
        for name, head in sorted(cut.heads.items()):
            key, changed = redis_keys.head(name).encode(), redis_keys.changed(name).encode()
            self._put(pieces(key, "hash", head))
            fields = _fields(head)
            lists[name] = BackupList(_position(fields)[0], int(fields.get(b"count", 0)))
            for told in _changes(steps[name]):
                self._put(pieces(changed, "hash", told, first=changed not in self._emitted))
            alive |= self._lists[name].keys
        for hot, held in cut.keys.items():
            if held is not None:
                kind, expires_at_ms, items = held
                self._put(pieces(hot, kind, items, expires_at_ms))
                alive.add(hot)
        alive |= self._others.keys() - self._hot
        for stream, end, piece in (
            (redis_keys.CHANGES, cut.changes_end, _STREAM_PIECE),
            (redis_keys.AUDIT, cut.audit_end, _STREAM_PIECE),
            (redis_keys.PAST, _string(cut, redis_keys.PAST_UPTO) or "0-0", _PAST_PIECE),
        ):
            await self._copy_stream(stream, end, piece)
            alive.add(stream.encode())
        for key in sorted(self._emitted - alive):
            self.emit(GoneKey(key))
        about = _hash(cut, redis_keys.IDENTITY)
        audit = _hash(cut, redis_keys.AUDIT_HEAD)
        return BackupSummary(
            list_store=about.get("id", ""),
            moment_ms=cut.moment_ms,
            lists=lists,
            allow_generation=_whole(_hash(cut, redis_keys.ALLOW_HEAD), "generation"),
            trials_generation=_whole(_hash(cut, redis_keys.TRIALS_HEAD), "generation"),
            audit_count=_whole(audit, "count"),
            audit_hash=audit.get("hash", ""),
            keys=len(self._emitted & alive),
            format=about.get("format", ""),
        )

    async def _copy_stream(self, name: str, end: str, piece: int) -> None:
        if end == "0-0":
            return
        first = True
        async for items in self._stream(name, "0-0", end, piece):
            told = [
                [identity, *(word for pair in fields.items() for word in pair)]
                for identity, fields in items
            ]
            self._put(pieces(name.encode(), "stream", told, first=first))
            first = False

    async def _stream(
        self, name: str, after: str, end: str, piece: int = _STREAM_PIECE
    ) -> AsyncIterator[list[tuple[bytes, Mapping[bytes, bytes]]]]:
        """Yield the items of a stream after one id up to another, in pieces."""
        while id_place(after) < id_place(end):
            with renamed(f"copying {name}"):
                items: Any = await self.redis.xrange(name, f"({after}", end, count=piece)
            if not items:
                return
            yield items
            after = items[-1][0].decode()

    async def _cut(self) -> _Cut:
        hot = sorted(self._hot)
        moment_ms, changes_end, audit_end, heads, values = await self._run(
            "looking at one moment of the list store", list_lua.CUT, hot
        )
        keys: dict[bytes, tuple[str, int, list[bytes]] | None] = {}
        for key, value in zip(hot, values, strict=True):
            keys[key] = None
            if value is not None and value[2] is not None:
                expires_at_ms = moment_ms + value[1] if value[1] >= 0 else 0
                keys[key] = (value[0].decode(), expires_at_ms, value[2])
        return _Cut(
            moment_ms,
            changes_end.decode(),
            audit_end.decode(),
            {name.decode(errors="replace"): head for name, head in heads if head},
            keys,
        )

    def _put(self, made: Iterator[KeyPiece]) -> None:
        for piece in made:
            self._emitted.add(piece.key)
            self.emit(piece)

    def _put_anew(self, key: bytes, kind: str, items: Sequence[bytes]) -> None:
        """Write a key that an earlier copy of its list may have written; it may be empty now."""
        if key in self._emitted:
            self.emit(GoneKey(key))
            self._emitted.discard(key)
        self._put(pieces(key, kind, items))

    async def _run(
        self, doing: str, lua: str, keys: Sequence[Any], args: Sequence[Any] = ()
    ) -> Any:
        with renamed(doing):
            # EVAL_RO: a user who may only read is enough, and no script here can write.
            return await self.redis.eval_ro(lua, len(keys), *keys, *args)


class _Hashed:
    """The hash of a key's items, whatever their order where they have none; and their bytes."""

    def __init__(self, kind: str) -> None:
        self._step = 2 if kind in {"hash", "zset"} else 1
        self._ordered = kind in {"string", "list"}
        self._seen: set[int] = set()
        self._place = 0
        self.digest = 0
        self.size = 0

    def add(self, items: Sequence[bytes]) -> None:
        """Take some of the key's items; one that is given twice counts once, as a scan may do."""
        for at in range(0, len(items), self._step):
            unit = items[at : at + self._step]
            told = b"".join(b"%d:%b" % (len(word), word) for word in unit)
            if self._ordered:
                told = b"%d %b" % (self._place, told)
                self._place += 1
            one = int.from_bytes(hashlib.blake2b(told, digest_size=16).digest())
            if one in self._seen:
                continue
            self._seen.add(one)
            self.digest = (self.digest + one) % (1 << 128)
            self.size += len(told)


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _position(head: Mapping[bytes, bytes]) -> tuple[int, str]:
    """Return generation and chain of a list's head."""
    generation = head.get(b"generation", b"")
    chain = head.get(b"chain", b"").decode(errors="replace")
    return int(generation) if generation.isdigit() else -1, chain


def _changes(steps: Sequence[Step]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the field and value of each change, as `change.lua` writes them."""
    for step in steps:
        change = change_of(step.op, step.payload)
        if change is not None:
            value = f"{step.generation} {step.op} ".encode() + step.payload
            yield hex_of(change.fingerprint).encode(), value


def _leads_to(position: tuple[int, str], steps: Sequence[Step]) -> tuple[int, str]:
    """Return generation and chain after those of `steps` that follow one another."""
    generation, chain = position
    for step in steps:
        # A deleted list that came back goes on with its chain, and has other entries. What another
        # version changed by an operation of its own is not known here.
        lost = step.op == Op.DELETE or step.op not in OPS
        if step.op in {Op.ADD, Op.REMOVE}:
            lost = change_of(step.op, step.payload) is None
        if lost or not step.follows(chain):
            break
        generation, chain = step.generation, step.chain
    return generation, chain


def _digest(known: Mapping[bytes, _CopiedKey], key: bytes) -> int | None:
    return known[key].digest if key in known else None


def _flat(found: Sequence[Any]) -> list[bytes]:
    """Return members and scores one after the other, as RESP2 and RESP3 give them."""
    flat: list[Any] = []
    for one in found:
        flat += one if isinstance(one, list | tuple) else [one]
    return [word if isinstance(word, bytes) else repr(word).encode() for word in flat]


def _string(cut: _Cut, key: str) -> str:
    value = cut.keys.get(key.encode())
    return value[2][0].decode() if value is not None and value[2] else ""


def _hash(cut: _Cut, key: str) -> dict[str, str]:
    value = cut.keys.get(key.encode())
    words = [word.decode(errors="replace") for word in value[2]] if value is not None else []
    return dict(zip(words[::2], words[1::2], strict=True))


def _whole(fields: Mapping[str, str], name: str) -> int:
    return int(fields[name]) if fields.get(name, "").isdigit() else 0


def _named(keys: set[bytes]) -> str:
    return ", ".join(key.decode(errors="replace") for key in sorted(keys)[:5])
