"""The register on a real Redis: every change whole, in order, and nobody's lost."""

import asyncio
import os
import time

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from stream import __version__
from stream.core.filters.snapshot import MANIFEST_PART
from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import (
    ChangeConflict,
    ListStoreDown,
    ListStoreUnsafe,
    ListUnknown,
    SnapshotUnreadable,
)
from stream.lab.embedded import redis_program
from stream.lab.embedded.guarded_server import Server, answers_ping, free_ports, new_folder
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store import bases
from stream.lists.store.heads import EditOutcome, Reservation
from stream.lists.store.list_store import FIRST_ID, ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import BaseRecord, Followed, hex_of
from tests.support.builders import NOW_S, entry
from tests.support.lists import BY, NAME, chained, held_numbers, numbers, opened, removal


async def test_a_change_is_in_all_its_places(register, raw):
    """Entry, generation, count, chain, change stream and audit say the same after an add."""
    one = entry("+66812345678", confidence=70)
    changed = await register.add(NAME, [one], BY)
    assert changed.outcomes == (EditOutcome.ADDED,)
    state = await register.state(NAME)
    assert (state.head.generation, state.head.count, changed.generation) == (2, 1, 2)
    assert [numbered.change.entries for numbered in state.changes] == [(one,)]
    assert await chained(register) == 2
    audit = await anext(register.past.audit())
    assert (audit.actor, audit.reason, audit.op) == ("somchai", "a test", "add")
    assert (audit.detail, audit.count) == ("+6681***5678", 1)


async def test_adding_again_updates_and_removing_twice_says_so(register):
    """An add of a listed number updates it; a removal of one that is not there changes nothing."""
    number = "+66812345678"
    await register.add(NAME, [entry(number)], BY)
    again = await register.add(NAME, [entry(number, confidence=5)], BY)
    assert again.outcomes == (EditOutcome.UPDATED,)
    assert (await register.state(NAME)).changes[0].change.entries[0].confidence == 5
    assert (await register.remove(NAME, [removal(number)], BY)).outcomes == (EditOutcome.REMOVED,)
    before = await register.heads()
    absent = await register.remove(NAME, [removal(number)], BY)
    assert absent.outcomes == (EditOutcome.ABSENT,)
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


async def test_a_thousand_changes_take_few_round_trips(register, monkeypatch, measured):
    """A bulk change of 1,000 lines is a handful of requests."""
    entries = [entry(number) for number in numbers(1000)]
    asked, send = 0, AbstractConnection.send_packed_command

    async def counted(*words, **options):
        nonlocal asked
        asked += 1
        await send(*words, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    began = time.perf_counter()
    changed = await register.add(NAME, entries, BY)
    elapsed = time.perf_counter() - began
    monkeypatch.undo()
    assert changed.generation == 1001
    assert set(changed.outcomes) == {EditOutcome.ADDED}
    assert await chained(register) == 1001
    measured(f"1,000 adds in one call: {elapsed * 1000:.0f} ms, {asked} requests")
    assert 1 <= asked <= 10


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


def empty_parts(reservation: Reservation):
    version = Version("TH", "national", reservation.generation, "plain", b"", "")
    return build_snapshot(version, empty_columns(), NOW_S)


async def publish(register: ListStore, reservation: Reservation, seen=None) -> int | None:
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


async def test_a_base_is_read_in_answers_that_come_in_time(redis_url, monkeypatch):
    """No answer is longer than half a megabyte, whatever is stored: each has `timeout_s` to come.

    Where many followers share the network, a whole blob would never come, and be read from its
    start again and again.
    """
    longest = 0
    read = AbstractConnection.read_response

    async def watched(connection, *words, **options):
        nonlocal longest
        answer = await read(connection, *words, **options)
        longest = max(longest, len(answer) if isinstance(answer, bytes) else 0)
        return answer

    sizes = {"a": bases.PIECE_BYTES * 2 + 1, "b": bases.ANSWER_BYTES, "c": 0}
    parts = {MANIFEST_PART: b"{}", **{name: os.urandom(size) for name, size in sizes.items()}}
    async with Redis.from_url(redis_url) as redis:
        await bases.write(redis, NAME, 1, parts, lambda *_: None)
        monkeypatch.setattr(AbstractConnection, "read_response", watched)
        assert await bases.read(redis, NAME, 1) == parts
    assert longest == bases.ANSWER_BYTES


async def test_the_allowlist(register):
    """Allow entries come and go by number or prefix, and a removal says whether it was there."""
    entries = [AllowEntry("+6621234567", "x", "a", 1), AllowEntry("+662123*", "y", "b", 2, 9)]
    await register.allow_add(entries, BY)
    head, held = await register.allow_all()
    assert (head.generation, set(held)) == (2, set(entries))
    assert await register.allow_remove(["+662123*", "+662124*"], BY) == (True, False)
    head, held = await register.allow_all()
    assert (head.generation, held) == (3, (entries[0],))
    assert (await anext(register.past.audit())).op == "disallow"


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
        with pytest.raises(ListStoreUnsafe, match=says):
            await ListStore.connect(ListStoreSettings(redis_url))
    finally:
        raw.config_set(setting, good)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--cluster-enabled", "yes"], "Redis Cluster is not supported: .*cluster mode off"),
        (["--replicaof", "127.0.0.1", "1"], r"is a replica of 127.0.0.1:1 .*\[redis\] url"),
    ],
)
async def test_a_redis_that_takes_no_changes_of_ours_is_refused(words, says):
    """A cluster and a replica are no list store: one sentence says what to name instead."""
    path, title = redis_program.redis_program()
    # The bus of a cluster would be at `port` + 10,000, among the kernel's ports for connections.
    port, bus = map(str, free_ports(2))
    place = ["--port", port, "--cluster-port", bus, "--bind", "127.0.0.1"]
    command = [path, *place, "--appendonly", "yes", *words]
    with Server(title, int(port), new_folder("redis"), command, answers_ping) as server:
        server.start()
        with pytest.raises(ListStoreUnsafe, match=says):
            await ListStore.connect(ListStoreSettings(f"redis://127.0.0.1:{port}/0"))


async def test_a_redis_without_aof_can_be_accepted(redis_url, raw):
    """require_aof = false is the operator's own decision."""
    raw.config_set("appendonly", "no")
    try:
        settings = ListStoreSettings(redis_url, require_aof=False)
        await (await ListStore.connect(settings)).close()
    finally:
        raw.config_set("appendonly", "yes")


async def test_nobody_there():
    """No Redis is ListStoreDown within the time-out."""
    with pytest.raises(ListStoreDown):
        await ListStore.connect(ListStoreSettings("redis://127.0.0.1:1/0", timeout_s=0.5))


async def test_the_change_stream_is_read_on(register):
    """A follower gets each step once, from where it stands."""
    await register.add(NAME, [entry(n) for n in numbers(3)], BY)
    read = await register.follow(FIRST_ID, 0)
    steps = read.steps
    assert [step.op for step in steps] == ["create", "add", "add", "add"]
    assert {step.version for step in steps} == {__version__}
    assert read.last_id == steps[-1].id
    after = await register.follow(steps[1].id, 0)
    assert [step.generation for step in after.steps] == [3, 4]
    assert await register.follow(read.last_id, 50) == Followed((), frozenset(), read.last_id)


async def test_a_change_in_redis_that_can_not_be_read(register, raw, caplog):
    """A value that somebody else wrote into a list hides no other, is reported with its place, and
    stays where it is; an edit of that number takes its place.
    """
    one, two = entry("+66812345671"), entry("+66812345672")
    key, field = f"rf:list:{{{NAME}}}:changed", hex_of(two.fingerprint)
    await register.add(NAME, [one], BY)
    raw.hset(key, mapping={"00": "nonsense", field: "9 add {}"})
    state = await register.state(NAME)
    assert [numbered.change.entries for numbered in state.changes] == [(one,)]
    assert f"{key} 00: skipped, it is no change" in caplog.text
    assert await register.sweep(NAME) == 0
    assert await register.reports(NAME, [two.fingerprint]) == {two.fingerprint: ()}
    await register.add(NAME, [two], BY)
    state = await register.state(NAME)
    assert [numbered.change.entries for numbered in state.changes] == [(one,), (two,)]
    assert raw.hget(key, "00") == "nonsense"
