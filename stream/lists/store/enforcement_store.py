"""Enforcement in Redis, beside the lists: counts, documents, sightings; each write is atomic.

The position in the decisions is kept with the counts, and moves with them in one transaction. So a
record that is counted again, after a crash too, changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date
from typing import Any, Final, Self

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from stream.core.model.enforcement_document import CallOutcome, Counts, Enforcement, Sighting
from stream.core.model.errors import UNREADABLE, ChangeConflict, ListStoreLost
from stream.lists.store import list_lua, redis_keys
from stream.lists.store.enforcement_counts import (
    COUNTS_S,
    DAY_NUMBERS_S,
    DAY_S,
    EXACT_MAX,
    MONTH_NUMBERS_S,
    SEEN,
    Cell,
    CountPosition,
    DayCounts,
    DecisionCounts,
    day_of,
    note_delays,
    note_peak,
)
from stream.lists.store.heads import By
from stream.lists.store.list_store import AUDIT_MAX
from stream.lists.store.redis_client import Closing, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import hex_of
from stream.ops.skipped_records import Skipped, StoredKind, skip

ID_BYTES: Final = 8
"""Ids are hashes. Among the 65,536 kept, two equal prefixes of 8 bytes are not expected."""
_TRIES: Final = 50
"""Each lost race (WATCH) costs one round trip of some milliseconds."""
_DIGITS_MAX: Final = 18
"""Any 64-bit count; `int` of a megabyte of digits takes seconds."""
_REFUSED_MAX: Final = 200
"""Bounds Redis' memory: a partner can send any number of broken documents."""


class EnforcementStore(Closing):
    """Use `async with EnforcementStore.open(...) as store`. Methods may raise ListStoreDown."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._write = redis.register_script(list_lua.FEED)

    @classmethod
    def open(cls, settings: ListStoreSettings) -> Self:
        """Open the store at the list store's Redis."""
        return cls(client(settings))

    async def progress(self, partition: str) -> tuple[CountPosition, list[bytes]]:
        """Return the position in a partition of decisions, and the ids counted last.

        Raises ListStoreLost where that cannot be read.
        """
        with renamed(f"reading how far {partition} is counted"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(redis_keys.enforced_at(partition), ["offset", "place"])
                pipe.get(redis_keys.enforced_seen(partition))
                held, ids = await pipe.execute()
        ids = ids or b""
        return (
            _progress(held, partition),
            [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)],
        )

    async def count(
        self, partition: str, before: CountPosition, offset: int, batch: DecisionCounts
    ) -> CountPosition | None:
        """Count a batch that ends before `offset`; how far it is counted now.

        None: nothing was counted, since another process went on from `before`. Raises
        ChangeConflict where the lists change without a pause.
        """
        place = (before.place + len(batch.ids)) % SEEN
        # Counts and position move together (decision 0085): a crash between two writes would count
        # a batch twice, or never.
        with renamed(f"counting decisions of {partition}"):
            async with self._redis.pipeline(transaction=True) as pipe:
                for _ in range(_TRIES):
                    try:
                        if not await self._counted(pipe, partition, before, (offset, place), batch):
                            return None
                    except WatchError:
                        continue
                    return CountPosition(offset, place)
        raise ChangeConflict(f"{partition}: counts are changed by others without a pause")

    async def _counted(
        self,
        pipe: Pipeline,
        partition: str,
        before: CountPosition,
        after: tuple[int, int],
        batch: DecisionCounts,
    ) -> bool:
        at = redis_keys.enforced_at(partition)
        fresh = sorted({redis_keys.enforced_fresh(name) for name, _ in batch.stopped})
        # Optimistic lock: Redis refuses the transaction if a key changed after it was read here.
        await pipe.watch(at, *fresh)
        if _progress(await pipe.hmget(at, ["offset", "place"]), partition) != before:
            return False
        published = await _published(pipe, batch)
        room = await _room(pipe, batch)
        pipe.multi()  # type: ignore[no-untyped-call]
        for (cell, outcome), many in batch.calls.items():
            day = redis_keys.enforced_day(cell.list, cell.day)
            pipe.hincrby(day, f"calls:{cell.category}:{outcome}", many)
            pipe.expire(day, COUNTS_S)
        for cell, fingerprints in batch.numbers.items():
            _note_numbers(pipe, cell, fingerprints, room)
        _note_first(pipe, batch, published)
        for start, piece in _ring(before.place, batch.ids):
            pipe.setrange(redis_keys.enforced_seen(partition), start * ID_BYTES, b"".join(piece))
        pipe.hset(at, mapping={"offset": after[0], "place": after[1]})
        await pipe.execute()
        return True

    async def begin(self, partitions: Sequence[str]) -> None:
        """Note the partitions that are counted from now on, empty ones too."""
        with renamed("beginning to count decisions"):
            await self._redis.sadd(redis_keys.ENFORCED_COUNTED, *partitions)

    async def begin_again(self, partition: str) -> None:
        """Forget the position in a topic that was made again: its offsets begin at 0."""
        with renamed(f"beginning {partition} again"):
            await self._redis.delete(redis_keys.enforced_at(partition))

    async def figures(self, list_name: str, day: date) -> DayCounts:
        """Return the counts of a list on a day."""
        key = redis_keys.enforced_day(list_name, day)
        with renamed(f"reading what {list_name} did"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(key)
                pipe.zrange(redis_keys.enforced_peaks(list_name, day), 0, -1, withscores=True)
                pipe.hexists(redis_keys.ENFORCED_FEEDS, list_name)
                pipe.exists(redis_keys.ENFORCED_COUNTED)
                counts, peaks, followed, counted = await pipe.execute()
            found: dict[str, dict[str, int]] = defaultdict(dict)
            for name, value in counts.items():
                kind, _, rest = name.decode(errors="replace").partition(":")
                if (many := _whole(value)) is None:
                    _unread(key, rest, "it is no count", list_name)
                else:
                    found[kind][rest] = many
            calls: dict[str, dict[str, int]] = defaultdict(dict)
            for name, many in found["calls"].items():
                category, _, outcome = name.rpartition(":")
                if outcome in frozenset(CallOutcome):
                    calls[category][outcome] = many
                else:
                    _unread(key, name, "it is no outcome", list_name)
            by_category = {
                category: Counts(
                    entries=await self._distinct(list_name, day.isoformat(), category),
                    entries_month=await self._distinct(list_name, f"{day:%Y-%m}", category),
                    **outcomes,
                )
                for category, outcomes in sorted(calls.items())
            }
        return DayCounts(
            by_category=by_category,
            in_force_steps=_steps(found["in_force"]),
            first_steps=_steps(found["first"]),
            peaks={name.decode(errors="replace"): int(value) for name, value in peaks},
            verdicts=found["versions"],
            followed=bool(followed),
            counted=bool(counted),
        )

    async def _distinct(self, list_name: str, period: str, category: str) -> int | None:
        """Count the different numbers; None where calls were counted without their circle's key."""
        key = redis_keys.enforced_numbers(list_name, period, category)
        exact = int(await self._redis.scard(key))
        if exact < EXACT_MAX:
            return exact or None
        return int(await self._redis.pfcount(f"{key}:all"))

    async def feeds(self) -> dict[str, str]:
        """Return the feed that fills each list."""
        held = await self._held(redis_keys.ENFORCED_FEEDS, "which feeds bring lists")
        return {name: feed.decode(errors="replace") for name, feed in held.items()}

    async def stale(self, list_name: str, day: date, age_s: int) -> None:
        """Note for how long the list's owner has been silent."""
        with renamed(f"noting the age of {list_name}"):
            async with self._redis.pipeline(transaction=True) as pipe:
                note_peak(pipe, list_name, day, "stale", age_s)
                await pipe.execute()

    async def sighted(self, list_name: str, sighting: Sighting, by: By) -> None:
        """Note that a number on a partner's list is no scammer's, for the day's document."""
        day = sighting.seen_at.astimezone(UTC).date().isoformat()
        field = f"{day} {sighting.fingerprint}"
        await self._told(
            redis_keys.enforced_sightings(list_name),
            list_name,
            "sighted",
            by,
            field,
            msgspec.json.encode(sighting),
        )

    async def sightings(self, list_name: str, day: date) -> tuple[Sighting, ...]:
        """Return the sightings of a list on a day, and delete those older than the documents."""
        key = redis_keys.enforced_sightings(list_name)
        held = await self._held(key, f"sightings of {list_name}")
        found = [(name[:10], name, value) for name, value in held.items()]
        horizon = date.fromordinal(day.toordinal() - COUNTS_S // DAY_S).isoformat()
        old = [name for seen, name, _ in found if seen < horizon]
        if old:
            with renamed(f"forgetting old sightings of {list_name}"):
                await self._redis.hdel(key, *old)
        of_day = [(name, value) for seen, name, value in sorted(found) if seen == day.isoformat()]
        read = []
        for name, value in of_day:
            try:
                read.append(msgspec.json.decode(value, type=Sighting))
            except UNREADABLE:
                _unread(key, name, "it is no sighting", list_name)
        return tuple(read)

    async def keep(
        self, document: Enforcement, data: bytes, by: By | None, what: str = "enforcement_read"
    ) -> None:
        """Keep a document, ours or a partner's; `by`: with an entry in the audit."""
        key = redis_keys.enforced_documents(document.list, document.country)
        await self._told(key, document.list, what, by, document.day.isoformat(), data)

    async def documents(
        self, list_name: str, country: str, first: date, last: date
    ) -> tuple[Enforcement, ...]:
        """Return the documents of `country` on the list for the days from `first` to `last`.

        A document that cannot be read is skipped: it is as if nothing had been said of that day.
        """
        key = redis_keys.enforced_documents(list_name, country)
        held = await self._held(key, f"what {country} says of {list_name}")
        found = []
        for name in sorted(held):
            try:
                if first <= date.fromisoformat(name) <= last:
                    found.append(msgspec.json.decode(held[name], type=Enforcement))
            except UNREADABLE:
                _unread(key, name, "it is no document of a day", list_name)
        return tuple(found)

    async def forget(self, list_name: str, country: str, before: date) -> int:
        """Let go of documents of days before `before`; how many."""
        key = redis_keys.enforced_documents(list_name, country)
        held = await self._held(key, f"what {country} says of {list_name}")
        old = [name for name in held if name < before.isoformat()]
        with renamed(f"forgetting what {country} said of {list_name}"):
            return int(await self._redis.hdel(key, *old)) if old else 0

    async def looked_at(self, country: str) -> Mapping[str, str]:
        """Return the files of a country that were looked at, by name: their SHA-256.

        Of a file to be read again, its SHA-256 and the reason.
        """
        held = await self._held(redis_keys.enforced_read(country), f"what is known of {country}")
        return {name: mark.decode(errors="replace") for name, mark in held.items()}

    async def look(self, country: str, files: Mapping[str, str]) -> None:
        """Replace the files of a country that were looked at."""
        with renamed(f"noting what is known of {country}"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(redis_keys.enforced_read(country))
                if files:
                    words: list[Any] = [word for pair in files.items() for word in pair]
                    pipe.hset(redis_keys.enforced_read(country), items=words)
                await pipe.execute()

    async def refuse(self, country: str, list_name: str, target: str, why: str, by: By) -> None:
        """Write down why a document was not taken; the last ones are kept to be read."""
        key = redis_keys.enforced_refused(country)
        with renamed(f"noting what {country} said"):
            if await self._redis.hlen(key) >= _REFUSED_MAX:
                await self._redis.delete(key)
        await self._told(key, list_name, "enforcement_refused", by, target, why.encode()[:500])

    async def refused(self, country: str) -> dict[str, str]:
        """Return the documents of a country that were not taken, and why."""
        held = await self._held(redis_keys.enforced_refused(country), f"what {country} said")
        return {name: why.decode(errors="replace") for name, why in held.items()}

    async def accept_again(self, country: str, target: str) -> None:
        """Forget the refusal of a document that was taken in its new form."""
        with renamed(f"noting what {country} said"):
            await self._redis.hdel(redis_keys.enforced_refused(country), target)

    async def taken(self, list_name: str, sightings: Sequence[str]) -> list[bool]:
        """Mark the partners' sightings that were taken over already."""
        if not sightings:
            return []
        with renamed(f"reading sightings of {list_name}"):
            found: Any = await self._redis.hmget(
                redis_keys.enforced_sighted(list_name), list(sightings)
            )
        return [value is not None for value in found]

    async def take(self, list_name: str, sighting: str, at_s: int) -> None:
        """Note a partner's sighting that was taken over."""
        with renamed(f"noting a sighting of {list_name}"):
            await self._redis.hset(redis_keys.enforced_sighted(list_name), sighting, at_s)

    async def forget_taken(self, list_name: str, before_s: int) -> None:
        """Forget the sightings that were taken over before then."""
        held = await self._held(redis_keys.enforced_sighted(list_name), f"sightings of {list_name}")
        old = [mark for mark, at_s in held.items() if (_whole(at_s) or 0) < before_s]
        if old:
            with renamed(f"forgetting sightings of {list_name}"):
                await self._redis.hdel(redis_keys.enforced_sighted(list_name), *old)

    async def _held(self, key: str, what: str) -> dict[str, bytes]:
        with renamed(f"reading {what}"):
            held: Any = await self._redis.hgetall(key)
        return {name.decode(errors="replace"): value for name, value in held.items()}

    async def _told(
        self, key: str, list_name: str, op: str, by: By | None, field: str, value: bytes
    ) -> None:
        """Write a field and its audit entry, which names the field and no number."""
        actor, reason = (by.actor, by.reason) if by is not None else ("", "")
        args: list[Any] = [list_name, actor, reason, op if by is not None else "", 0, field]
        with renamed(f"writing down {op} of {list_name}"):
            await self._write(keys=[key], args=[*args, AUDIT_MAX, field, value])


def _progress(held: Any, partition: str) -> CountPosition:
    """Decode the position. Raises ListStoreLost: a guess would count decisions twice."""
    offset, place = (None if value is None else _whole(value) for value in held)
    if held != [None, None] and (offset is None or place is None or place >= SEEN):
        key = redis_keys.enforced_at(partition)
        text = f"{key}: how far decisions are counted cannot be read. `redis-cli DEL {key}`, and"
        raise ListStoreLost(f"{text} counting begins at the oldest decision that Kafka keeps")
    return CountPosition(offset, place or 0)


def _whole(value: bytes) -> int | None:
    """Return a count; None: it is none."""
    return int(value) if value.isdigit() and len(value) <= _DIGITS_MAX else None


def _steps(found: Mapping[str, int]) -> dict[int, int]:
    """Return the number of delays at each step."""
    return {int(step): many for step, many in found.items() if step.isdecimal()}


def _unread(key: str, field: str, why: str, list_name: str = "") -> None:
    skip(Skipped(StoredKind.ENFORCEMENT, f"{key} {field[:80]}", why, list_name))


async def _published(pipe: Pipeline, batch: DecisionCounts) -> dict[tuple[str, int], int]:
    """Return the publication times of numbers of which no call was stopped before."""
    by_list: dict[str, list[int]] = defaultdict(list)
    for name, fingerprint in batch.stopped:
        by_list[name].append(fingerprint)
    found = {}
    for name, fingerprints in by_list.items():
        members = [hex_of(fingerprint) for fingerprint in fingerprints]
        scores: Any = await pipe.zmscore(redis_keys.enforced_fresh(name), members)
        for fingerprint, score in zip(fingerprints, scores, strict=True):
            if score is not None:
                found[name, fingerprint] = int(score)
    return found


async def _room(pipe: Pipeline, batch: DecisionCounts) -> set[str]:
    """Return the keys of numbers that take more of them one by one."""
    found = set()
    for cell in batch.numbers:
        for key in _periods(cell):
            if int(await pipe.scard(key)) < EXACT_MAX:
                found.add(key)
    return found


def _periods(cell: Cell) -> dict[str, int]:
    return {
        redis_keys.enforced_numbers(cell.list, cell.day.isoformat(), cell.category): DAY_NUMBERS_S,
        redis_keys.enforced_numbers(cell.list, f"{cell.day:%Y-%m}", cell.category): MONTH_NUMBERS_S,
    }


def _note_numbers(pipe: Pipeline, cell: Cell, fingerprints: set[int], room: set[str]) -> None:
    members = [fingerprint.to_bytes(ID_BYTES, "big") for fingerprint in sorted(fingerprints)]
    for key, life_s in _periods(cell).items():
        if key in room:
            pipe.sadd(key, *members)
        pipe.pfadd(f"{key}:all", *members)
        pipe.expire(key, life_s)
        pipe.expire(f"{key}:all", life_s)


def _note_first(
    pipe: Pipeline, batch: DecisionCounts, published: Mapping[tuple[str, int], int]
) -> None:
    for (name, fingerprint), published_ms in published.items():
        stopped_ms = batch.stopped[name, fingerprint]
        note_delays(pipe, name, day_of(stopped_ms), "first", [stopped_ms - published_ms])
        pipe.zrem(redis_keys.enforced_fresh(name), hex_of(fingerprint))


def _ring(place: int, ids: Sequence[bytes]) -> list[tuple[int, Sequence[bytes]]]:
    """Cut ids for the ring of `SEEN` places, from `place` on, into pieces that do not wrap."""
    assert len(ids) <= SEEN, "a batch is smaller"
    cut = SEEN - place
    return [(start, piece) for start, piece in ((place, ids[:cut]), (0, ids[cut:])) if piece]
