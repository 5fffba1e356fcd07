"""Garbage in every key that is read back: a follower goes on, counts it, and names the place."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import SnapshotUnreadable
from stream.core.model.on_trial import Target, TrialKind, TrialStatus, Turned
from stream.lists.store import list_store
from stream.lists.store.promotions import TrialStore
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import Op, chain_after, entries_json
from stream.ops.skipped_records import StoredKind
from tests.support.builders import NOW_S, entry
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    ONE,
    THREE,
    TWO,
    Worker,
    add,
    counted,
    running,
    until,
)

HEAD, CHANGED = f"rf:list:{{{NAME}}}", f"rf:list:{{{NAME}}}:changed"
DEEP = b"[" * 100_000
GOOD = entries_json((entry(TWO),))


@pytest.fixture
def count():
    """Count the records of a place that this process has skipped since the test began."""
    return counted()


def step(**fields) -> dict[str, object]:
    """An entry of the change stream, as the register writes it, but for `fields`; None: absent."""
    whole = {"list": NAME, "generation": "99", "op": "add", "payload": GOOD, "chain": "0"} | fields
    return {name: value for name, value in whole.items() if value is not None}


def report(**fields) -> bytes:
    """The payload of an add, but for `fields`."""
    return json.dumps(json.loads(GOOD) | fields).encode()


STREAM = {
    "no field of ours": {"x": "y"},
    **{f"no {name}": step(**{name: None}) for name in step()},
    "no number": step(generation="ten"),
    "an empty number": step(generation=""),
    "a negative number": step(generation="-1"),
    "a number of other digits": step(generation="٣"),
    "a number with an exponent": step(generation="1e3"),
    "a number without end": step(generation="9" * 400),
    "a name that is no text": step(list=b"\xff\xfe"),
    "an operation that is no text": step(op=b"\xff"),
    "a chain that is no text": step(chain=b"\xff"),
}
"""Entries that are no steps at all."""
PAYLOADS = {
    "nothing": b"",
    "no text": b"\xff\xfe{}",
    "no object": b"[1]",
    "nested too deep": b'{"x":' + DEEP,
    "another shape": b'{"fingerprint":1}',
    "a fingerprint that is no hash": report(fingerprint="zz"),
    "a fingerprint beyond 64 bits": report(fingerprint="f" * 200),
    "a negative fingerprint": report(fingerprint="-000000000000001"),
    "a number that is none": report(number="DROP TABLE"),
    "a number without end": report(number="+" + "6" * 400),
    "confidence beyond all": report(confidence=10**30),
    "a time before all times": report(reported_at=-5),
    "a time beyond a column": report(expires_at=2**40),
    "a second report that is none": report(more=[{"category": 1}]),
}
"""Payloads of an add that are none."""


def next_step(raw: redis.Redis, payload: bytes, op: str = Op.ADD, **fields) -> dict[str, object]:
    """A step that follows the list's last one to the letter."""
    head: Any = raw.hgetall(HEAD)
    generation = int(head["generation"]) + 1
    chain = chain_after(head["chain"], generation, op, payload)
    raw.hset(HEAD, mapping={"generation": generation, "chain": chain})
    return step(generation=generation, op=op, payload=payload, chain=chain, **fields)


@pytest.mark.parametrize("fields", STREAM.values(), ids=STREAM.keys())
async def test_an_entry_of_the_change_stream_that_is_no_step(
    register, worker, raw, load, redis_url, tmp_path, count, caplog, fields
):
    """It is skipped, counted and named; the change behind it is enforced at once, also by who
    starts then.
    """
    await load(register, BASE[:50])
    async with running(worker):
        identity = raw.xadd("rf:changes", fields)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert count(StoredKind.CHANGES) == 1
        assert f"rf:changes {identity}: skipped, " in caplog.text
        assert worker.listed(BASE[0])
    fresh = Worker(redis_url, tmp_path / "another machine")
    async with running(fresh):
        await add(register, THREE)
        await until(lambda: fresh.listed(THREE) and fresh.listed(ONE))


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_a_change_that_is_none(register, worker, raw, load, count, payload):
    """A step whose payload cannot be read is skipped: in the stream and in the list's changes, so
    that the list is read all the same, by who follows and by who starts from the disk.
    """
    await load(register, BASE[:50])
    async with running(worker):
        raw.hset(CHANGED, "00", b"99 add " + payload)
        raw.xadd("rf:changes", next_step(raw, payload))
        await until(lambda: count(StoredKind.CHANGES) == 1)
        await until(lambda: count(StoredKind.CHANGED) >= 1)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert not worker.refresher.current.unusable
        journal = worker.state_dir / "lists" / NAME / "changes.jsonl"
        fingerprint = f"{entry(ONE).fingerprint:016x}".encode()
        await until(lambda: journal.exists() and fingerprint in journal.read_bytes())
    alone = Worker("redis://127.0.0.1:1/0", worker.state_dir)
    async with running(alone):
        assert alone.listed(ONE)
        assert alone.listed(BASE[0])


async def test_an_entry_of_a_newer_version_names_it(register, worker, raw, load, caplog, count):
    """The log names the version that wrote an entry which this version does not know."""
    await load(register, BASE[:50])
    async with running(worker):
        raw.xadd("rf:changes", next_step(raw, b"{}", "teleport", version="99.1.0"))
        raw.xadd("rf:changes", next_step(raw, b"\xff", version="99.2.0"))
        raw.xadd("rf:changes", step(generation="x", version="99.3.0"))
        raw.xadd("rf:changes", step(generation="y", version="0.0.1"))
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        await until(lambda: count(StoredKind.CHANGES) == 4)
    assert "operation 'teleport' is not known here. Ringfence 99.1.0 wrote it" in caplog.text
    assert "its payload cannot be read. Ringfence 99.2.0 wrote it" in caplog.text
    assert "field generation is no whole number. Ringfence 99.3.0 wrote it" in caplog.text
    assert "0.0.1" not in caplog.text


async def test_garbage_without_end_is_passed(register, worker, raw, load, count):
    """Thousands of such entries are read past, and logged once each at most."""
    await load(register, BASE[:50])
    async with running(worker):
        pipe = raw.pipeline(transaction=False)
        for _ in range(12_000):
            pipe.xadd("rf:changes", {"x": "y"})
        await asyncio.to_thread(pipe.execute)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
    assert count(StoredKind.CHANGES) == 12_000


HEADS: dict[str, Callable[[redis.Redis], object]] = {
    "a generation that is none": lambda raw: raw.hset(HEAD, "generation", "x"),
    "no chain": lambda raw: raw.hdel(HEAD, "chain"),
    "a circle that is no text": lambda raw: raw.hset(HEAD, "circle", b"\xff"),
    "a base that is none": lambda raw: raw.hset(HEAD, "base", "-"),
    "no head": lambda raw: raw.delete(HEAD),
    "a head of another type": lambda raw: (raw.delete(HEAD), raw.set(HEAD, "x")),
    "changes of another type": lambda raw: (raw.delete(CHANGED), raw.set(CHANGED, "x")),
    "a name that is no text": lambda raw: raw.sadd("rf:lists", b"\xff"),
    "a name without a list": lambda raw: raw.sadd("rf:lists", "XX/none"),
}


@pytest.mark.parametrize("spoil", HEADS.values(), ids=HEADS.keys())
async def test_a_head_that_is_none_hides_no_other_list(
    register, worker, raw, load, redis_url, tmp_path, spoil
):
    """Other lists are followed, and loaded by who starts; what was live of that one stays."""
    await load(register, BASE[:50])
    await register.create("KH/scam", "plain", BY)
    async with running(worker):
        spoil(raw)
        await register.add("KH/scam", [entry(ONE)], BY)
        await until(lambda: worker.lists(ONE) == {"KH/scam"})
        await until(lambda: bool(worker.refresher.lost) or worker.listed(BASE[0]))
        assert worker.listed(BASE[0])
    fresh = Worker(redis_url, tmp_path / "another machine")
    async with running(fresh):
        assert fresh.lists(ONE) == {"KH/scam"}


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[1]", b'{"x":' + DEEP, b'{"text":"+66899999999","reason":1}']
)
async def test_an_allow_entry_that_cannot_be_read_still_spares(
    register, worker, raw, load, redis_url, tmp_path, count, value
):
    """Its key says whom it spares: a damaged record is no reason to block a hospital."""
    await load(register, BASE[:50])
    async with running(worker):
        raw.hset("rf:allow", BASE[0], value)
        raw.hset("rf:allow", "no number", value)
        await register.allow_add([allowed(TWO)], BY)
        await until(lambda: worker.refresher.current.allow.find(TWO, NOW_S) is not None)
        held = worker.refresher.current.allow.find(BASE[0], NOW_S)
        assert held is not None
        assert held.reason == "its record cannot be read"
        assert count(StoredKind.ALLOW) == 2
    fresh = Worker(redis_url, tmp_path / "another machine")
    async with running(fresh):
        assert len(fresh.refresher.current.allow) == 2


def allowed(text: str) -> AllowEntry:
    return AllowEntry(text, "appeal", "a", NOW_S)


async def test_a_head_of_the_allowlist_that_is_none(register, worker, raw, load, count):
    """The allowlist stays as it was, and lists are followed."""
    await load(register, BASE[:50])
    await register.allow_add([allowed(TWO)], BY)
    async with running(worker):
        await until(lambda: worker.refresher.current.allow.find(TWO, NOW_S) is not None)
        raw.hset("rf:allow:head", "generation", "many")
        await until(lambda: count(StoredKind.HEAD) >= 1)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert worker.refresher.current.allow.find(TWO, NOW_S) is not None


async def test_a_promotion_that_cannot_be_read_changes_nothing(
    register, worker, raw, load, redis_url, tmp_path, count
):
    """Its last known state stays; without one it is on trial and blocks nobody. The others
    are followed, and an operator may set it again.
    """
    await load(register, BASE[:50])
    one, two, three = (Target(TrialKind.LIST, name) for name in (NAME, "KH/scam", "MM/scam"))
    force = Turned(standing=TrialStatus.FORCE, at_s=1, actor="malee", reason="why")
    async with TrialStore.open(ListStoreSettings(redis_url)) as book:
        await book.turn(one, None, force, BY, "promote", "")
        async with running(worker):
            await until(lambda: one in worker.refresher.current.trials.turned)
            raw.hset("rf:trials", mapping={str(one): b"\xff", str(two): b"{}", "nothing": b"x"})
            await book.turn(three, None, force, BY, "promote", "")
            await until(lambda: three in worker.refresher.current.trials.turned)
            turned = worker.refresher.current.trials.turned
            assert turned[one] == turned[three] == force
            assert turned[two].standing is TrialStatus.TRIAL
            assert count(StoredKind.TRIALS) >= 2
        fresh = Worker(redis_url, tmp_path / "another machine")
        async with running(fresh):
            turned = fresh.refresher.current.trials.turned
            assert [turned[name].standing for name in (one, two)] == [TrialStatus.TRIAL] * 2
        booked = await book.read()
        await book.turn(one, None, force, BY, "promote", "", booked.unread[one])
        assert (await book.read()).trials.turned[one] == force
        raw.hset("rf:trials:head", "generation", "x")
        with pytest.raises(SnapshotUnreadable, match="rf:trials:head"):
            await book.read()


async def test_the_past_is_put_away_around_garbage(register, raw, load, monkeypatch, count):
    """An unreadable step is left out of the archive; the steps around it are in it, in order."""
    monkeypatch.setattr(list_store, "CHUNK", 6)
    monkeypatch.setattr("stream.lists.store.past_reader.CHUNK", 6)
    await add(register, ONE)
    raw.xadd("rf:changes", {"x": "y"})
    await add(register, TWO, THREE)
    raw.xadd("rf:changes", step(generation="x"))
    assert await register.archive() == 6
    raw.xtrim("rf:changes", maxlen=0, approximate=False)
    steps = await register.past.steps(NAME)
    assert [one.generation for one in steps] == [1, 2, 3, 4]
    assert count(StoredKind.CHANGES) == 2
    raw.rpush(f"{HEAD}:bases", "x", "7")
    raw.hset(f"{HEAD}:base:7", mapping={"published": "x", "reserved_id": "1-0",
                                        "published_id": "1-0", "count": "3"})  # fmt: skip
    assert await register.past.bases(NAME) == ()
    assert count(StoredKind.HEAD) == 2
