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
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from stream.core.model import names
from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import Entry
from stream.core.model.errors import (
    ChangeConflict,
    ListStoreDown,
    ListUnknown,
    NameRefused,
    SnapshotUnreadable,
)
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
    Restatement,
    Retraction,
    no_progress,
    unknown,
)
from stream.lists.store.past_reader import CHUNK, CHUNKS_MAX, PastReader, packed
from stream.lists.store.redis_client import (
    FORMAT,
    Replicas,
    alone,
    check_format,
    check_primary,
    check_safe,
    client,
    clock_ahead_s,
    renamed,
)
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import (
    BaseRecord,
    Followed,
    Op,
    Step,
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
_ACKNOWLEDGED = frozenset(
    {list_lua.CREATE, list_lua.DELETE, list_lua.PUBLISH, list_lua.ALLOW, list_lua.ALLOW_PASS}
)
"""Changes that are reported as done: they wait for replicas. So do edits of numbers."""
_NOT_RESERVED, _ALIKE = -3, -4
"""Answers of PUBLISH and CREATE."""


class ListStore:
    """The list store at one Redis. Use `async with ListStore.connect(settings) as store`.

    Every method may raise ListStoreDown. Methods that name a list raise ListUnknown. Those that
    change something raise ChangeUnsafe, after the change, if too few replicas have it.
    """

    def __init__(self, redis: Redis, following: Redis, settings: ListStoreSettings) -> None:
        self._redis = redis
        self.past = PastReader(redis)
        self._following = following
        self._retention = (settings.bases_kept, int(settings.bases_kept_days * 86_400))
        self._scripts: dict[str, AsyncScript] = {}
        change = redis.register_script(list_lua.CHANGE)
        self._settings = settings
        self._replicas = Replicas(settings)
        self._editor = Editor(redis, change, (CHANGES_MAX, AUDIT_MAX), self._replicas)

    @classmethod
    async def connect(cls, settings: ListStoreSettings, block_ms: int = 1000) -> Self:
        """Connect and check how Redis is set up; `block_ms` bounds one wait of `follow`.

        Raises ListStoreDown, ListStoreUnsafe, of it FormatNewer.
        """
        # Two clients: a blocking XREAD holds its connection, and needs a longer time-out.
        redis, following = client(settings), client(settings, block_ms / 1000)
        store = cls(redis, following, settings)
        try:
            await check_safe(redis, settings)
            await check_format(redis)
        except BaseException:  # a cancellation too: the connections are ours to close
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Let go of the connections: of both, if closing the one fails or is cancelled."""
        try:
            await self._redis.aclose()
        finally:
            await self._following.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check_primary(self) -> None:
        """Raise ListStoreDown where a connection leads to a primary that was demoted.

        Also where two lead to different ones: a sentinel may name the old one for a moment more.
        """
        one = await check_primary(self._redis, self._settings)
        if one != await check_primary(self._following, self._settings):
            raise ListStoreDown("two connections lead to different primaries: both are made again")

    async def clock_ahead_s(self, clock: Callable[[], float]) -> float:
        """Return how far the list store's clock is ahead of `clock`. Raises ListStoreDown."""
        return await clock_ahead_s(self._redis, clock)

    async def heads(self) -> Heads:
        """Return all lists' heads, of one moment."""
        identity, last_id, allow, lists, gone = await self._run(
            "reading the heads of the lists", list_lua.HEADS, [redis_keys.LISTS]
        )
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
        keys = [redis_keys.head(name), redis_keys.changed(name)]
        fields, changed = await self._run(f"reading the changes of {name}", list_lua.STATE, keys)
        if fields is None or changed is None:
            raise SnapshotUnreadable(f"{', '.join(keys)}: one is no hash")
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
            # BLOCK 0 would wait for ever, so 0 is no BLOCK at all.
            answer: Any = await self._following.xread(
                {redis_keys.CHANGES: last_id}, count=5000, block=block_ms or None
            )
        return followed([item for _, items in answer or () for item in items], last_id)

    async def last_steps(self, count: int) -> tuple[Step, ...]:
        """Return the last `count` steps of all lists, in order; those that can be read."""
        with renamed("reading the last changes"):
            items: Any = await self._redis.xrevrange(redis_keys.CHANGES, count=count)
        return followed(items[::-1], FIRST_ID).steps

    def putting_back(self) -> AbstractAsyncContextManager[None]:
        """Let no other process put lost changes back meanwhile."""
        return alone(self._redis, redis_keys.PUT_BACK, "putting changes back")

    async def allow_all(self) -> tuple[AllowHead, tuple[AllowEntry, ...]]:
        """Return the allowlist and where it stands, of one moment.

        An entry that cannot be read goes on sparing its number, which its key names. Raises
        SnapshotUnreadable for a head that cannot be read.
        """
        keys = [redis_keys.ALLOW_HEAD, redis_keys.ALLOW]
        fields, flat = await self._run("reading the allowlist", list_lua.ALLOW_STATE, keys)
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
        args = (name, uuid.uuid4().hex, circle, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX)
        status, *more = await self._run(
            f"creating {name}",
            list_lua.CREATE,
            [redis_keys.head(name)],
            [*args, "again" if again else ""],
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
        keys = (redis_keys.head, redis_keys.changed, redis_keys.bases, redis_keys.writing)
        answer = await self._run(
            f"deleting {name}",
            list_lua.DELETE,
            [key(name) for key in keys],
            [name, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX],
        )
        return int(answer[2])

    async def adopt(self, identity: str, instead_of: str | None = None) -> None:
        """Become the list store `identity` again, if this one holds nothing yet.

        Or if it is `instead_of`: one that was begun in the place of the one that was lost.
        """
        with renamed("naming the list store"):
            if (
                instead_of
                and await self._redis.hget(redis_keys.IDENTITY, "id") == instead_of.encode()
            ):
                await self._redis.hset(redis_keys.IDENTITY, "id", identity)
            elif await self._redis.hsetnx(redis_keys.IDENTITY, "id", identity):
                made_at_s, _ = await self._redis.time()
                await self._redis.hset(redis_keys.IDENTITY, "created_at_s", int(made_at_s))
                await self._redis.hset(redis_keys.IDENTITY, "format", FORMAT)

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

    async def restate(self, name: str, edits: Sequence[Restatement], by: By) -> EditResult:
        """Make numbers' reports what they were; one that is so already changes nothing."""
        return await self._editor.edit(name, edits, by)

    async def set_scope(self, name: str, scope: bytes, by: By) -> None:
        """Write the scope of a list's feed, as a step has it."""
        args = [name, scope, by.actor, by.reason, CHANGES_MAX, AUDIT_MAX]
        doing = f"writing down what {name} may name"
        await self._run(doing, list_lua.SCOPE, [redis_keys.head(name)], args)

    async def reserve(self, name: str, by: By) -> Reservation:
        """Return a generation for a new base: what was changed before it belongs into that base."""
        keys = [redis_keys.head(name), redis_keys.writing(name)]
        args = [name, by.actor, CHANGES_MAX]
        answer = await self._run(f"reserving a generation of {name}", list_lua.RESERVE, keys, args)
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
        replaces, or was deleted since.
        """
        name = reservation.name
        if seen.base != reservation.old_base:
            raise ChangeConflict(f"{name}: somebody else published a new base in between")
        base = redis_keys.base(name, reservation.generation)
        answer = await self._run(
            f"publishing a base of {name}",
            list_lua.PUBLISH,
            [redis_keys.head(name), base, redis_keys.bases(name), redis_keys.writing(name)],
            [
                *(name, reservation.generation, seen.generation, seen.base, count),
                *(msgspec.json.encode(record), by.actor, by.reason, floor),
                *(*self._retention, CHANGES_MAX, AUDIT_MAX, circle),
            ],
        )
        if answer[0] == _NOT_RESERVED:
            raise ChangeConflict(f"{name}: it was deleted in between, and created again")
        return answer[1] if answer[0] == 1 else None

    async def is_reserved(self, reservation: Reservation) -> bool:
        """Return whether its base can be published: no other was, nor was the list deleted."""
        key = redis_keys.writing(reservation.name)
        doing = f"looking for a reserved generation of {reservation.name}"
        with renamed(doing):
            return bool(await self._redis.hexists(key, str(reservation.generation)))

    async def discard(self, reservation: Reservation) -> None:
        """Forget what was written for a base that will not be published."""
        keys = [redis_keys.head(reservation.name), redis_keys.writing(reservation.name)]
        doing = f"discarding a base of {reservation.name}"
        await self._run(doing, list_lua.DISCARD, keys, [reservation.generation])

    async def retain(self, name: str) -> int:
        """Let go of bases that are kept for longer than wanted; how many."""
        keys = [redis_keys.head(name), redis_keys.bases(name)]
        doing = f"letting go of old bases of {name}"
        return int(await self._run(doing, list_lua.RETAIN, keys, self._retention))

    async def archive(self) -> int:
        """Pack steps that will leave the change stream one day; how many. Safe to do at once."""
        done = 0
        while True:
            upto, read = await self.past.chunk()
            if read is None:
                return done
            piece = await asyncio.to_thread(packed, read.steps)
            keys = [redis_keys.PAST, redis_keys.PAST_UPTO]
            args = [upto, read.last_id, piece, CHUNKS_MAX, self._retention[1]]
            done += CHUNK * await self._run("archiving changes", list_lua.ARCHIVE, keys, args)

    async def sweep(self, name: str) -> int:
        """Forget changes that the list's base holds; how many. Followers never see a difference."""
        swept, doing = 0, f"sweeping the changes of {name}"
        keys = [redis_keys.head(name), redis_keys.changed(name)]
        with renamed(doing):
            async for fingerprints in _chunks(self._redis.hscan_iter(keys[1], count=500)):
                swept += await self._run(doing, list_lua.SWEEP, keys, fingerprints)
        return swept

    async def note(self, op: str, detail: str, by: By) -> None:
        """Write into the audit what concerns no list: what was handed out, to whom, and why."""
        args = [by.actor, by.reason, op, detail, AUDIT_MAX]
        await self._run("writing into the audit", list_lua.NOTE, [], args)

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
        args = [generation, by.actor, by.reason, AUDIT_MAX]
        doing = "repairing the allowlist"
        return int(await self._run(doing, list_lua.ALLOW_PASS, [redis_keys.ALLOW_HEAD], args))

    async def _allow_step(self, text: str, op: Op, payload: bytes, by: By) -> tuple[bool, int]:
        args = (text, op, payload, by.actor, by.reason, masked(text), CHANGES_MAX, AUDIT_MAX)
        status, *generation = await self._run(
            "changing the allowlist",
            list_lua.ALLOW,
            [redis_keys.ALLOW_HEAD],
            [*args, uuid.uuid4().hex],
        )
        return status == 1, generation[0] if generation else 0

    async def _run(
        self, doing: str, lua: str, keys: Sequence[str], args: Sequence[Any] = ()
    ) -> Any:
        """Run a script and return its answer. Raises ListUnknown where there is no such list."""
        # Kept: registering hashes the text of a script, which is a kilobyte or two.
        if lua not in self._scripts:
            self._scripts[lua] = self._redis.register_script(lua)
        script = self._scripts[lua]
        with renamed(doing):
            if lua in _ACKNOWLEDGED:
                answer = await self._replicas.run(self._redis, script, keys, args, doing)
            else:
                answer = await script(keys=keys, args=args)
        if isinstance(answer, list) and answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(args[0]))  # its name comes first, in every script
        return answer


async def _chunks(scanned: AsyncIterator[tuple[bytes, bytes]]) -> AsyncIterator[list[bytes]]:
    chunk: list[bytes] = []
    async for field, _ in scanned:
        chunk.append(field)
        if len(chunk) == _SWEPT:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
