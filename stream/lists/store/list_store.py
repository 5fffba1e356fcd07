"""The list store: all lists in Redis, each as one immutable base and the changes since.

The keys begin with `rf:` (`redis_keys.py`). One change is one script (`list_lua.py`), so entry,
generation, chain, change stream and audit agree at every moment. A bulk change writes a new base
beside the old one and moves the list's pointer by compare-and-set. A write whose answer was lost is
never tried again.

A base of generation G holds every change up to G; changes above it lie over the base. So changes
made while a new base is being written are neither lost nor a reason to begin again.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from stream.core.model import names
from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import Entry
from stream.core.model.errors import ChangeConflict, ListUnknown, NameRefused, SnapshotUnreadable
from stream.core.numbers.number import masked
from stream.lists.store import bases, list_lua, redis_keys
from stream.lists.store.edits import Editor
from stream.lists.store.heads import (
    AllowHead,
    By,
    EditResult,
    Heads,
    ListHead,
    ListState,
    Progress,
    Removal,
    Reservation,
    Retraction,
    no_progress,
    unknown,
)
from stream.lists.store.past_reader import CHUNK, CHUNKS_MAX, PastReader, packed
from stream.lists.store.redis_client import check_safe, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import (
    BaseRecord,
    Followed,
    Op,
    allow_entry,
    allow_head,
    allow_json,
    deleted_of,
    followed,
    list_head,
    numbered_of,
)
from stream.ops.skipped_records import Skipped, StoredKind, kept, skip

CHANGES_MAX = 200_000
"""Steps kept for followers, about 80 MB: a worker away for longer reads its lists again."""
AUDIT_MAX = 2_000_000
"""Audit entries kept, about 400 MB."""
_SWEPT = 500
"""Changes per script: Redis serves no other client while a script runs."""
FIRST_ID = "0-0"
"""Before the first step of a change stream."""
_ALIKE = -4
"""Answer of CREATE."""


class ListStore:
    """The list store at one Redis. Use `async with ListStore.connect(settings) as store`.

    Every method may raise ListStoreDown; methods that name a list raise ListUnknown.
    """

    def __init__(self, redis: Redis, following: Redis, settings: ListStoreSettings) -> None:
        self._redis = redis
        self._following = following
        self._retention = (settings.bases_kept, int(settings.bases_kept_days * 86_400))
        self._heads = redis.register_script(list_lua.HEADS)
        self._state = redis.register_script(list_lua.STATE)
        self._allow_state = redis.register_script(list_lua.ALLOW_STATE)
        self._create = redis.register_script(list_lua.CREATE)
        change = redis.register_script(list_lua.CHANGE)
        self._editor = Editor(redis, change, (CHANGES_MAX, AUDIT_MAX))
        self._delete = redis.register_script(list_lua.DELETE)
        self._reserve = redis.register_script(list_lua.RESERVE)
        self._publish = redis.register_script(list_lua.PUBLISH)
        self._allow_pass = redis.register_script(list_lua.ALLOW_PASS)
        self._discard = redis.register_script(list_lua.DISCARD)
        self._retain = redis.register_script(list_lua.RETAIN)
        self._archive = redis.register_script(list_lua.ARCHIVE)
        self._sweep = redis.register_script(list_lua.SWEEP)
        self._allow = redis.register_script(list_lua.ALLOW)
        self._note = redis.register_script(list_lua.NOTE)

    @classmethod
    async def connect(cls, settings: ListStoreSettings, block_ms: int = 1000) -> Self:
        """Connect and check how Redis is set up; `block_ms` bounds one wait of `follow`.

        Raises ListStoreDown, ListStoreUnsafe.
        """
        redis, following = client(settings), client(settings, block_ms / 1000)
        store = cls(redis, following, settings)
        try:
            await check_safe(redis, settings)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()
        await self._following.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def past(self) -> PastReader:
        """The reader of the past."""
        return PastReader(self._redis)

    async def heads(self) -> Heads:
        """Return all lists' heads, of one moment."""
        with renamed("reading the heads of the lists"):
            identity, last_id, allow, lists, gone = await self._heads(keys=[redis_keys.LISTS])
        found = [kept(list_head(name, fields, changes)) for name, fields, changes in sorted(lists)]
        return Heads(
            identity=identity.decode(errors="replace") if identity else None,
            last_id=last_id.decode(),
            allow=kept(allow_head(allow)) or AllowHead(0, ""),
            lists={head.name: head for head in found if head is not None},
            deleted=deleted_of(gone),
        )

    async def manifest(self, name: str, generation: int) -> bytes:
        """Return the manifest of a base. Raises SnapshotUnreadable if it is not there any more."""
        return await bases.manifest(self._redis, name, generation)

    async def state(self, name: str) -> ListState:
        """Return one list's head and its changes since its base, of one moment.

        A change that cannot be read is skipped. Raises SnapshotUnreadable for such a head.
        """
        with renamed(f"reading the changes of {name}"):
            fields, changed = await self._state(
                keys=[redis_keys.head(name), redis_keys.changed(name)]
            )
        if fields is None or changed is None:
            raise SnapshotUnreadable(
                f"{redis_keys.head(name)}, {redis_keys.changed(name)}: one is no hash"
            )
        if fields[0] is None:
            raise ListUnknown(unknown(name))
        head = list_head(name.encode(), fields, len(changed) // 2)
        if isinstance(head, Skipped):
            raise SnapshotUnreadable(f"{head.where}: {head.why}")
        changes = []
        for field, value in zip(changed[::2], changed[1::2], strict=True):
            numbered = numbered_of(value)
            if numbered is None:
                where = f"{redis_keys.changed(name)} {field.decode(errors='replace')[:16]}"
                skip(Skipped(StoredKind.CHANGED, where, "it is no change", name))
                continue
            # What the base holds already is about to be swept.
            if numbered.generation > head.base:
                changes.append(numbered)
        return ListState(head, tuple(sorted(changes, key=lambda c: c.generation)))

    async def read_base(self, name: str, generation: int) -> dict[str, bytes]:
        """Return a base's parts, its manifest among them.

        Raises SnapshotUnreadable if it is not there (any more) or not whole.
        """
        return await bases.read(self._redis, name, generation)

    async def reports_in_base(
        self, name: str, generation: int, fingerprints: Sequence[int]
    ) -> dict[int, tuple[Entry, ...]]:
        """Return the reports of `fingerprints` that the base of `generation` (0: none) holds."""
        return await bases.reports(self._redis, name, generation, fingerprints)

    async def size(self, head: ListHead) -> int:
        """Return the bytes of Redis' memory that a list takes now."""
        with renamed(f"measuring {head.name}"):
            changes = await self._redis.memory_usage(redis_keys.changed(head.name), samples=0)
        return int(changes or 0) + await bases.size(self._redis, head.name, head.base)

    async def follow(self, last_id: str, block_ms: int) -> Followed:
        """Return at most 5,000 steps after `last_id`; wait at most `block_ms` (0: not at all)."""
        with renamed("following the changes"):
            answer: Any = await self._following.xread(
                {redis_keys.CHANGES: last_id}, count=5000, block=block_ms or None
            )
        return followed([item for _, items in answer or () for item in items], last_id)

    async def allow_all(self) -> tuple[AllowHead, tuple[AllowEntry, ...]]:
        """Return the allowlist and where it stands, of one moment.

        An entry that cannot be read goes on sparing its number, which its key names. Raises
        SnapshotUnreadable for a head that cannot be read.
        """
        with renamed("reading the allowlist"):
            fields, flat = await self._allow_state(keys=[redis_keys.ALLOW_HEAD, redis_keys.ALLOW])
        head = allow_head(fields)
        if isinstance(head, Skipped):
            raise SnapshotUnreadable(f"{head.where}: {head.why}")
        if flat is None:
            raise SnapshotUnreadable(f"{redis_keys.ALLOW} is no hash")
        found = map(allow_entry, flat[::2], flat[1::2])
        return head, tuple(entry for entry in found if entry is not None)

    async def create(self, name: str, circle: str, by: By, *, again: bool = False) -> bool:
        """Make an empty list; False: it is there already, and nothing was changed.

        `again`: it was there once and comes back, whatever it is called. Raises NameRefused.
        """
        wrong = None if again else names.wrong(names.NameKind.LIST, name)
        if wrong is not None:
            there = await self.past.head(name)
            if there is not None:
                return False  # from before this rule: it stays, and `ringfence doctor` names it
            raise NameRefused(f'"{name}" {wrong}')
        with renamed(f"creating {name}"):
            status, *more = await self._create(
                keys=[redis_keys.head(name)],
                args=[
                    *(name, uuid.uuid4().hex, circle, by.actor, by.reason),
                    *(CHANGES_MAX, AUDIT_MAX, "again" if again else ""),
                ],
            )
        if status == _ALIKE and not again:
            other = more[0].decode()
            text = f"{name} would differ from {other} by its capitals alone: use {other}"
            raise NameRefused(text)
        return bool(status == 1)

    async def delete(self, name: str, by: By) -> int:
        """Delete a list and its past; return how many numbers it had. The audit keeps the fact.

        Raises ListUnknown.
        """
        keys = [
            redis_keys.head(name),
            redis_keys.changed(name),
            redis_keys.bases(name),
            redis_keys.writing(name),
        ]
        with renamed(f"deleting {name}"):
            answer = await self._delete(
                keys=keys, args=[name, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX]
            )
        if answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(name))
        return int(answer[2])

    async def adopt(self, identity: str) -> None:
        """Become the list store `identity` again, if this one holds nothing yet."""
        with renamed("naming the list store"):
            if await self._redis.hsetnx(redis_keys.REGISTER, "id", identity):
                made_at_s, _ = await self._redis.time()
                await self._redis.hset(redis_keys.REGISTER, "created_at_s", int(made_at_s))
                await self._redis.hset(redis_keys.REGISTER, "format", "1")

    async def add(self, name: str, entries: Sequence[Entry], by: By) -> EditResult:
        """Put reports on the list, in order; a source's new one replaces its old one.

        Raises ChangeConflict after a part, where others change the same numbers without a pause.
        """
        return await self._editor.edit(name, entries, by)

    async def reports(self, name: str, fingerprints: Sequence[int]) -> dict[int, tuple[Entry, ...]]:
        """Return all reports of some numbers and prefixes as they are now; (): there are none."""
        return await self._editor.reports(name, fingerprints)

    async def retract(self, name: str, retractions: Sequence[Retraction], by: By) -> EditResult:
        """Take sources' reports back, in order; a number's last one takes it off the list.

        One that is not there changes nothing. Raises ChangeConflict as `add` does.
        """
        return await self._editor.edit(name, retractions, by)

    async def remove(self, name: str, removals: Sequence[Removal], by: By) -> EditResult:
        """Take numbers off the list with all reports; one that is not there changes nothing."""
        return await self._editor.edit(name, removals, by)

    async def reserve(self, name: str, by: By) -> Reservation:
        """Return a generation for a new base: what was changed before it belongs into that base."""
        with renamed(f"reserving a generation of {name}"):
            answer = await self._reserve(
                keys=[redis_keys.head(name), redis_keys.writing(name)],
                args=[name, by.actor, CHANGES_MAX],
            )
        if answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(name))
        return Reservation(name, answer[1], answer[2])

    async def write_base(
        self, reservation: Reservation, parts: Mapping[str, bytes], progress: Progress = no_progress
    ) -> None:
        """Write a base beside the list's own, and read every byte of it back.

        No reader sees it before `publish_base`. Raises ListStoreLost if it reads back otherwise.
        """
        name, generation = reservation.name, reservation.generation
        await bases.write(self._redis, name, generation, parts, progress)

    async def publish_base(
        self,
        reservation: Reservation,
        record: BaseRecord,
        seen: ListHead,
        count: int,
        by: By,
        floor: int = 0,
        circle: str = "",
    ) -> int | None:
        """Move the list to the written base; return the generation after it, above `floor`.

        `seen` is the head that the caller knows, `count` the numbers on the list from then on, and
        `circle` its new circle ("": as before). None: the list was changed since `seen`, and
        nothing was done. Raises ChangeConflict if the list has another base than the reservation
        replaces.
        """
        name = reservation.name
        if seen.base != reservation.old_base:
            raise ChangeConflict(f"{name}: somebody else published a new base in between")
        base = redis_keys.base(name, reservation.generation)
        with renamed(f"publishing a base of {name}"):
            answer = await self._publish(
                keys=[
                    redis_keys.head(name),
                    base,
                    redis_keys.bases(name),
                    redis_keys.writing(name),
                ],
                args=[
                    *(name, reservation.generation, seen.generation, seen.base, count),
                    *(msgspec.json.encode(record), by.actor, by.reason, floor),
                    *(*self._retention, CHANGES_MAX, AUDIT_MAX, circle),
                ],
            )
        if answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(name))
        return answer[1] if answer[0] == 1 else None

    async def discard(self, reservation: Reservation) -> None:
        """Forget what was written for a base that will not be published."""
        name = reservation.name
        with renamed(f"discarding a base of {name}"):
            await self._discard(
                keys=[redis_keys.head(name), redis_keys.writing(name)],
                args=[reservation.generation],
            )

    async def retain(self, name: str) -> int:
        """Let go of bases that are kept for longer than wanted; how many."""
        with renamed(f"letting go of old bases of {name}"):
            args = self._retention
            return int(
                await self._retain(keys=[redis_keys.head(name), redis_keys.bases(name)], args=args)
            )

    async def archive(self) -> int:
        """Pack steps that will leave the change stream one day; how many. Safe to do at once."""
        done = 0
        while True:
            upto, items = await self.past.chunk()
            if len(items) < CHUNK:
                return done
            read = followed(items, upto)
            piece = await asyncio.to_thread(packed, read.steps)
            with renamed("putting changes away"):
                done += CHUNK * await self._archive(
                    keys=[redis_keys.PAST, redis_keys.PAST_UPTO],
                    args=[upto, read.last_id, piece, CHUNKS_MAX, self._retention[1]],
                )

    async def sweep(self, name: str) -> int:
        """Forget changes that the list's base holds; how many. Followers never see a difference."""
        swept = 0
        with renamed(f"sweeping the changes of {name}"):
            async for fingerprints in _chunks(
                self._redis.hscan_iter(redis_keys.changed(name), count=500)
            ):
                swept += await self._sweep(
                    keys=[redis_keys.head(name), redis_keys.changed(name)], args=fingerprints
                )
        return swept

    async def note(self, op: str, detail: str, by: By) -> None:
        """Write into the audit what concerns no list: what was handed out, to whom, and why."""
        with renamed("writing into the audit"):
            await self._note(keys=[], args=[by.actor, by.reason, op, detail, AUDIT_MAX])

    async def allow_add(self, entries: Iterable[AllowEntry], by: By) -> int:
        """Put entries on the allowlist, replacing those of the same text; its generation after."""
        generation = 0
        for entry in entries:
            _, generation = await self._allow_step(entry.text, Op.ALLOW, allow_json(entry), by)
        return generation

    async def allow_remove(self, texts: Iterable[str], by: By) -> tuple[bool, ...]:
        """Take entries off the allowlist; for each whether it was there."""
        return tuple([(await self._allow_step(t, Op.DISALLOW, t.encode(), by))[0] for t in texts])

    async def allow_pass(self, generation: int, by: By) -> int:
        """Take the allowlist's generation above one that was lost; what it is then."""
        with renamed("repairing the allowlist"):
            return int(
                await self._allow_pass(
                    keys=[redis_keys.ALLOW_HEAD], args=[generation, by.actor, by.reason, AUDIT_MAX]
                )
            )

    async def _allow_step(self, text: str, op: Op, payload: bytes, by: By) -> tuple[bool, int]:
        with renamed("changing the allowlist"):
            status, *generation = await self._allow(
                keys=[redis_keys.ALLOW_HEAD],
                args=[
                    *(text, op, payload, by.actor, by.reason, masked(text)),
                    *(CHANGES_MAX, AUDIT_MAX, uuid.uuid4().hex),
                ],
            )
        return status == 1, generation[0] if generation else 0


async def _chunks(scanned: AsyncIterator[tuple[bytes, bytes]]) -> AsyncIterator[list[bytes]]:
    chunk: list[bytes] = []
    async for field, _ in scanned:
        chunk.append(field)
        if len(chunk) == _SWEPT:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
