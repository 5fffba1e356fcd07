"""The register on a real Redis: every change whole, in order, and nobody's lost."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import redis

from stream.core.allowlist import AllowEntry
from stream.core.faults import (
    ChangeConflict,
    ListUnknown,
    RegisterDown,
    RegisterUnsafe,
    SnapshotUnreadable,
)
from stream.core.snapshot import MANIFEST_PART, read_snapshot
from stream.lists import bases, ingest
from stream.lists.build import Version, build_snapshot
from stream.lists.connection import RegisterSettings
from stream.lists.ingest import ImportRequest, entries_of, import_file
from stream.lists.merge import empty_columns
from stream.lists.parse import Defaults
from stream.lists.records import BaseRecord
from stream.lists.store import FIRST_ID, Register
from stream.lists.words import By, Outcome, Removal, Reservation
from tests.builders import NOW_S, entry

NAME = "TH/national"
BY = By("somchai", "a test")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Register]:
    async with await Register.connect(RegisterSettings(url)) as register:
        yield register


@pytest.fixture
async def register(redis_url: str) -> AsyncIterator[Register]:
    """A register with one empty list."""
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        yield register


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The same Redis, as an operator with redis-cli has it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def numbers(count: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return [f"+668{n:08d}" for n in rng.sample(range(10**8), count)]


def removal(number: str) -> Removal:
    return Removal(entry(number).fingerprint, number)


def request(path: Path, **fields) -> ImportRequest:
    held = {
        "name": NAME,
        "path": path,
        "kind": "text",
        "names": None,
        "defaults": Defaults(path.name, NOW_S),
        "rejects": path.with_suffix(".rejects"),
        "replace": False,
        "key": b"",
        "by": BY,
    }
    return ImportRequest(**{**held, **fields})


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(texts) + "\n")
    return path


async def held_numbers(register: Register) -> set[str]:
    _, columns = await entries_of(register, NAME, b"")
    return {f"+{digits}" for digits in columns.number.tolist()}


async def chained(register: Register) -> int:
    """Check that every step of the list follows the one before; its last generation."""
    chain, generation = "", 0
    for step in await register.follow(FIRST_ID, 0):
        if step.name == NAME:
            assert step.generation == generation + 1
            assert step.follows(chain)
            chain, generation = step.chain, step.generation
    head = (await register.heads()).lists[NAME]
    assert (head.chain, head.generation) == (chain, generation)
    return generation


def show(capsys: pytest.CaptureFixture[str], figure: str) -> None:
    """Print a measured figure, whatever pytest captures."""
    with capsys.disabled():
        sys.stdout.write(f"\n  measured: {figure}\n")


async def test_a_change_is_in_all_its_places(register, raw):
    """Entry, generation, count, chain, change stream and audit say the same after an add."""
    one = entry("+66812345678", confidence=70)
    changed = await register.add(NAME, [one], BY)
    assert changed.outcomes == (Outcome.ADDED,)
    state = await register.state(NAME)
    assert (state.head.generation, state.head.count, changed.generation) == (2, 1, 2)
    assert [numbered.change.entry for numbered in state.changes] == [one]
    assert await chained(register) == 2
    audit = (await register.audit(1))[0]
    assert (audit["actor"], audit["reason"], audit["op"]) == ("somchai", "a test", "add")
    assert audit["detail"] == "+6681***5678"


async def test_adding_again_updates_and_removing_twice_says_so(register):
    """An add of a listed number updates it; a removal of one that is not there changes nothing."""
    number = "+66812345678"
    await register.add(NAME, [entry(number)], BY)
    again = await register.add(NAME, [entry(number, confidence=5)], BY)
    assert again.outcomes == (Outcome.UPDATED,)
    assert (await register.state(NAME)).changes[0].change.entry.confidence == 5
    assert (await register.remove(NAME, [removal(number)], BY)).outcomes == (Outcome.REMOVED,)
    before = await register.heads()
    absent = await register.remove(NAME, [removal(number)], BY)
    assert absent.outcomes == (Outcome.ABSENT,)
    assert await register.heads() == before
    assert before.lists[NAME].count == 0


async def test_a_list_that_is_not_there(register):
    """Every command on an unknown list says how to make it; a list is made once."""
    for work in (
        register.add("XX/none", [entry("+66812345678")], BY),
        register.remove("XX/none", [removal("+66812345678")], BY),
        register.state("XX/none"),
        register.reserve("XX/none", BY),
    ):
        with pytest.raises(ListUnknown, match="lists create XX/none"):
            await work
    assert not await register.create(NAME, "plain", BY)


async def test_a_thousand_changes_take_few_round_trips(register, capsys):
    """A bulk change of 1,000 lines is live within a second, by a handful of requests."""
    entries = [entry(number) for number in numbers(1000)]
    began = time.perf_counter()
    changed = await register.add(NAME, entries, BY)
    elapsed = time.perf_counter() - began
    assert changed.generation == 1001
    assert set(changed.outcomes) == {Outcome.ADDED}
    assert await chained(register) == 1001
    assert elapsed < 1.0
    show(capsys, f"1,000 adds in one call: {elapsed * 1000:.0f} ms")


async def test_two_clients_change_one_list_at_once(register, redis_url):
    """Both clients' changes are there, in one order that everybody sees."""
    mine, theirs = numbers(300, 1), numbers(300, 2)
    async with opened(redis_url) as other:
        await asyncio.gather(
            *(register.add(NAME, [entry(n)], BY) for n in mine),
            *(other.add(NAME, [entry(n)], BY) for n in theirs),
        )
    assert await chained(register) == 601
    assert await held_numbers(register) == {*mine, *theirs}
    assert (await register.heads()).lists[NAME].count == len({*mine, *theirs})


async def test_an_import_becomes_a_base_and_changes_lie_over_it(register, tmp_path):
    """After a large import, adds, updates and removals of its numbers count as what they are."""
    listed = numbers(7000)
    report = await import_file(register, request(write(tmp_path / "a", listed)), NOW_S)
    assert (report.added, report.count, report.rejected) == (7000, 7000, {})
    update = await register.add(NAME, [entry(listed[0]), entry("+66899999999")], BY)
    assert update.outcomes == (Outcome.UPDATED, Outcome.ADDED)
    gone = await register.remove(NAME, [removal(listed[1]), removal("+66800000000")], BY)
    assert gone.outcomes == (Outcome.REMOVED, Outcome.ABSENT)
    assert (await register.heads()).lists[NAME].count == 7000
    assert await held_numbers(register) == {*listed, "+66899999999"} - {listed[1]}
    await chained(register)


async def test_what_is_read_is_what_was_built(register, tmp_path):
    """A base reads back as a snapshot that passes every check."""
    await import_file(register, request(write(tmp_path / "a", numbers(7000))), NOW_S)
    head = (await register.heads()).lists[NAME]
    snapshot = read_snapshot(await register.read_base(NAME, head.base), key=b"")
    assert (snapshot.manifest.generation, snapshot.manifest.count) == (head.base, 7000)


async def test_a_few_rows_are_changes(register, tmp_path):
    """A change file of some rows for a large list is applied, not rebuilt."""
    await import_file(register, request(write(tmp_path / "a", numbers(7000))), NOW_S)
    base = (await register.heads()).lists[NAME].base
    few = write(tmp_path / "b", ["+66899999999", *numbers(10)])
    report = await import_file(register, request(few), NOW_S)
    assert (report.added, report.updated, report.count) == (1, 10, 7001)
    assert (await register.heads()).lists[NAME].base == base


async def test_replace_makes_the_file_the_list(register, tmp_path):
    """With --replace what the file does not name is gone; without one good row nothing changes."""
    await import_file(register, request(write(tmp_path / "a", numbers(6000))), NOW_S)
    two = write(tmp_path / "b", [numbers(6000)[0], "+66899999999", "rubbish"])
    report = await import_file(register, request(two, replace=True), NOW_S)
    assert (report.added, report.updated, report.removed, report.count) == (1, 1, 5999, 2)
    assert await held_numbers(register) == {numbers(6000)[0], "+66899999999"}
    before = await register.heads()
    rubbish = write(tmp_path / "c", ["rubbish", "more"])
    report = await import_file(register, request(rubbish, replace=True), NOW_S)
    assert (report.rows, report.count, sum(report.rejected.values())) == (0, 2, 2)
    assert await register.heads() == before


async def test_an_import_races_with_adds_and_loses_neither(register, redis_url, tmp_path):
    """Numbers added and removed while an import builds are what they were said to be after it."""
    listed, added = numbers(20_000, 1), numbers(400, 2)
    taken_off = listed[:50]
    path = write(tmp_path / "a", listed)
    done = asyncio.Event()

    async def change_all_the_time(other: Register) -> None:
        at = 0
        while at < len(added) and not done.is_set():
            await other.add(NAME, [entry(added[at])], BY)
            at += 1
            await asyncio.sleep(0.002)
        for number in added[at:]:
            await other.add(NAME, [entry(number)], BY)

    async with opened(redis_url) as other:
        await register.add(NAME, [entry(n) for n in taken_off], BY)
        changing = asyncio.create_task(change_all_the_time(other))
        await import_file(register, request(path), NOW_S)
        done.set()
        await changing
    assert await held_numbers(register) == {*listed, *added}
    assert (await register.heads()).lists[NAME].count == len({*listed, *added})
    await chained(register)


async def test_a_removal_during_an_import_holds(register, tmp_path, monkeypatch):
    """A number that is taken off while a new base with it is being built stays off."""
    listed = numbers(6000)
    await register.add(NAME, [entry(listed[0])], BY)
    built = ingest._built

    def built_slowly(*args):
        parts = built(*args)
        asyncio.run_coroutine_threadsafe(
            register.remove(NAME, [removal(listed[0])], BY), loop
        ).result()
        return parts

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(ingest, "_built", built_slowly)
    report = await import_file(register, request(write(tmp_path / "a", listed)), NOW_S)
    assert report.count == 5999
    assert await held_numbers(register) == set(listed[1:])


async def test_two_imports_at_once_keep_both(register, redis_url, tmp_path):
    """The import that publishes second is merged anew with what the first brought."""
    first, second = numbers(6000, 1), numbers(6000, 2)
    one, two = write(tmp_path / "a", first), write(tmp_path / "b", second)
    async with opened(redis_url) as other:
        await asyncio.gather(
            import_file(register, request(one), NOW_S), import_file(other, request(two), NOW_S)
        )
    assert await held_numbers(register) == {*first, *second}
    await chained(register)


def empty_parts(reservation: Reservation):
    version = Version("TH", "national", reservation.generation, "plain", b"", "")
    return build_snapshot(version, empty_columns(), NOW_S)


async def publish(register: Register, reservation: Reservation, seen=None) -> int | None:
    seen = seen or (await register.state(NAME)).head
    record = BaseRecord(reservation.generation, 0, "0" * 64)
    return await register.publish_base(reservation, record, seen, 0, BY)


async def test_compare_and_set(register):
    """A base is published only over the base and generation that its writer saw."""
    old, reservation = (await register.state(NAME)).head, await register.reserve(NAME, BY)
    await register.write_base(reservation, empty_parts(reservation))
    assert await publish(register, reservation, old) is None
    late = await register.reserve(NAME, BY)
    await register.write_base(late, empty_parts(late))
    assert await publish(register, reservation) is not None
    with pytest.raises(ChangeConflict):
        await publish(register, late)
    await chained(register)


async def test_bases_nobody_published_go_and_the_last_three_stay(register, raw):
    """A writer that died leaves nothing behind for long; old bases stay for a rollback, three."""
    dead = await register.reserve(NAME, BY)
    await register.write_base(dead, empty_parts(dead))
    left = raw.keys(f"rf:list:{{{NAME}}}:base:{dead.generation}*")
    assert all(0 < raw.ttl(key) <= bases.UNPUBLISHED_TTL_S for key in left)
    published = []
    for _ in range(5):
        reservation = await register.reserve(NAME, BY)
        await register.write_base(reservation, empty_parts(reservation))
        await publish(register, reservation)
        published.append(reservation.generation)
    kept = {key.split(":base:")[1].split(":")[0] for key in raw.keys("rf:*:base:*")}
    assert kept - {str(dead.generation)} == {str(generation) for generation in published[-3:]}
    assert all(raw.ttl(key) == -1 for key in raw.keys(f"rf:*:base:{published[-1]}*"))
    with pytest.raises(SnapshotUnreadable):
        await register.read_base(NAME, published[0])


async def test_a_damaged_base_is_refused(register, raw, redis_url, tmp_path):
    """A byte changed in Redis is found before anybody uses it, wherever it lies."""
    await import_file(register, request(write(tmp_path / "a", numbers(6000))), NOW_S)
    head = (await register.heads()).lists[NAME]
    with redis.Redis.from_url(redis_url) as client:
        for key in sorted(client.keys(f"rf:*:base:{head.base}:*")):
            whole = client.get(key)
            for at in (0, len(whole) // 2, len(whole) - 1):
                client.set(key, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
                with pytest.raises(SnapshotUnreadable):
                    read_snapshot(await register.read_base(NAME, head.base), key=b"")
            client.set(key, whole)
    read_snapshot(await register.read_base(NAME, head.base), key=b"")
    raw.hset(f"rf:list:{{{NAME}}}:base:{head.base}", "layout", "{}")
    with pytest.raises(SnapshotUnreadable):
        await register.read_base(NAME, head.base)


async def test_memory_per_entry(register, raw, tmp_path, capsys):
    """An entry takes at most 32 bytes of Redis, filter and provenance included."""
    count = 100_000
    rng = random.Random(3)
    rows = [
        f"{n},spam,desk{rng.randrange(50)},{1_700_000_000 + rng.randrange(10**7)}"
        for n in numbers(count)
    ]
    path = write(tmp_path / "a.csv", ["number,category,source,reported_at", *rows])
    await import_file(register, request(path, kind="csv"), NOW_S)
    used = sum(raw.memory_usage(key, samples=0) for key in raw.keys("rf:*"))
    show(capsys, f"{used / count:.1f} bytes of Redis an entry, of {count:,}")
    assert used / count <= 32


async def test_the_allowlist(register):
    """Allow entries come and go by number or prefix, and a removal says whether it was there."""
    entries = [AllowEntry("+6621234567", "x", "a", 1), AllowEntry("+662123*", "y", "b", 2, 9)]
    await register.allow_add(entries, BY)
    head, held = await register.allow_all()
    assert (head.generation, set(held)) == (2, set(entries))
    assert await register.allow_remove(["+662123*", "+662124*"], BY) == (True, False)
    head, held = await register.allow_all()
    assert (head.generation, held) == (3, (entries[0],))
    assert (await register.audit(1))[0]["op"] == "disallow"


@pytest.mark.parametrize(
    ("setting", "bad", "good", "says"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction", "noeviction"),
        ("maxmemory-policy", "volatile-ttl", "noeviction", "noeviction"),
        ("appendonly", "no", "yes", "appendonly yes"),
    ],
)
async def test_an_unsafe_redis_is_refused(redis_url, raw, setting, bad, good, says):
    """A Redis that may evict entries or forget changes is refused, with what to set."""
    raw.config_set(setting, bad)
    try:
        with pytest.raises(RegisterUnsafe, match=says):
            await Register.connect(RegisterSettings(redis_url))
    finally:
        raw.config_set(setting, good)


async def test_a_redis_without_aof_can_be_accepted(redis_url, raw):
    """require_aof = false is the operator's own decision."""
    raw.config_set("appendonly", "no")
    try:
        settings = RegisterSettings(redis_url, require_aof=False)
        await (await Register.connect(settings)).close()
    finally:
        raw.config_set("appendonly", "yes")


async def test_nobody_there():
    """No Redis is RegisterDown within the time-out."""
    began = time.monotonic()
    with pytest.raises(RegisterDown):
        await Register.connect(RegisterSettings("redis://127.0.0.1:1/0", timeout_s=0.5))
    assert time.monotonic() - began < 2


async def test_the_change_stream_is_read_on(register):
    """A follower gets each step once, from where it stands."""
    await register.add(NAME, [entry(n) for n in numbers(3)], BY)
    steps = await register.follow(FIRST_ID, 0)
    assert [step.op for step in steps] == ["create", "add", "add", "add"]
    assert [s.generation for s in await register.follow(steps[1].id, 0)] == [3, 4]
    began = time.monotonic()
    assert await register.follow(steps[-1].id, 50) == []
    assert time.monotonic() - began < 1


async def test_a_change_in_redis_that_can_not_be_read(register, raw):
    """A value that somebody else wrote into a list is refused with its place, not passed over."""
    raw.hset(f"rf:list:{{{NAME}}}:changed", "00", "nonsense")
    with pytest.raises(SnapshotUnreadable, match=NAME):
        await register.state(NAME)


async def test_manifest_says_which_base(register, tmp_path):
    """The base's manifest names the list and the generation that the head points to."""
    await import_file(register, request(write(tmp_path / "a", numbers(6000))), NOW_S)
    head = (await register.heads()).lists[NAME]
    manifest = msgspec.json.decode((await register.read_base(NAME, head.base))[MANIFEST_PART])
    assert (manifest["owner"], manifest["name"], manifest["generation"]) == (
        "TH",
        "national",
        head.base,
    )
