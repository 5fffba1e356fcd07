"""Imports into a real register: all of a file, and nothing of what others did lost."""

import asyncio
import random

import msgspec
import pytest
import redis

from stream.core.filters.snapshot import MANIFEST_PART, read_snapshot
from stream.core.model.errors import SnapshotUnreadable
from stream.feeds.import_file import import_file
from stream.lists.store import rewrite
from stream.lists.store.heads import EditOutcome
from stream.lists.store.list_store import ListStore
from tests.support.builders import NOW_S, entry
from tests.support.lists import (
    BY,
    NAME,
    chained,
    held_numbers,
    numbers,
    opened,
    removal,
    request,
    write,
)


async def test_an_import_becomes_a_base_and_changes_lie_over_it(register, tmp_path):
    """After a large import, adds, updates and removals of its numbers count as what they are."""
    listed = numbers(7000)
    report = await import_file(register, request(write(tmp_path / "a", listed)), NOW_S)
    assert (report.added, report.count, report.rejected) == (7000, 7000, {})
    update = await register.add(NAME, [entry(listed[0]), entry("+66899999999")], BY)
    assert update.outcomes == (EditOutcome.UPDATED, EditOutcome.ADDED)
    gone = await register.remove(NAME, [removal(listed[1]), removal("+66800000000")], BY)
    assert gone.outcomes == (EditOutcome.REMOVED, EditOutcome.ABSENT)
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

    async def change_all_the_time(other: ListStore) -> None:
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
    built = rewrite._built

    def built_slowly(*args):
        parts = built(*args)
        asyncio.run_coroutine_threadsafe(
            register.remove(NAME, [removal(listed[0])], BY), loop
        ).result()
        return parts

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(rewrite, "_built", built_slowly)
    report = await import_file(register, request(write(tmp_path / "a", listed)), NOW_S)
    assert report.count == 5999
    assert await held_numbers(register) == set(listed[1:])


async def test_two_imports_at_once_keep_both(register, redis_url, tmp_path):
    """The import that publishes second is merged again with what the first brought."""
    first, second = numbers(6000, 1), numbers(6000, 2)
    one, two = write(tmp_path / "a", first), write(tmp_path / "b", second)
    async with opened(redis_url) as other:
        await asyncio.gather(
            import_file(register, request(one), NOW_S), import_file(other, request(two), NOW_S)
        )
    assert await held_numbers(register) == {*first, *second}
    await chained(register)


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


async def test_memory_per_entry(register, raw, tmp_path, measured):
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
    measured(f"{used / count:.1f} bytes of Redis an entry, of {count:,}")
    assert used / count <= 32


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
