"""A worker's lists follow the register, and stay good when the register is not."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from stream.core.allowlist import AllowEntry
from stream.core.faults import RegisterUnsafe
from stream.embedded import best_redis
from stream.lists import ingest, shelf
from stream.lists.connection import RegisterSettings
from stream.lists.events import Event, EventKind
from stream.lists.ingest import ImportRequest, import_file
from stream.lists.parse import Defaults
from stream.lists.refresh import Refresher, RefreshSettings
from stream.lists.store import Register
from stream.lists.words import By, Removal
from stream.ops.tasks import cancelled
from tests.builders import NOW_S, entry, numbers_of

NAME = "TH/national"
BY = By("somchai", "a test")
ONE, TWO, THREE = "+66812345671", "+66812345672", "+66812345673"
BASE = [f"+668{n:08d}" for n in random.Random(1).sample(range(10**8), 6000)]


class Worker:
    """A refresher, what it told, and what its lists say."""

    def __init__(self, url: str, state_dir: Path, **fields) -> None:
        self.events: list[Event] = []
        self.state_dir = state_dir
        settings = {"keys": {"plain": b""}, "changes_block_ms": 50, "reconcile_s": 0.2, **fields}
        register = RegisterSettings(url, timeout_s=0.5)
        self.refresher = Refresher(
            RefreshSettings(register, state_dir, **settings), self.events.append
        )

    def lists(self, number: str) -> set[str]:
        current = self.refresher.current
        found = current.match(numbers_of([number]), NOW_S).get(0, [])
        return {current.names[match.list] for match in found if match.confirmed}

    def listed(self, number: str) -> bool:
        return NAME in self.lists(number)

    def told(self, kind: EventKind) -> list[str]:
        return [event.detail for event in self.events if event.kind is kind]


@asynccontextmanager
async def running(worker: Worker, *, loaded: bool = True) -> AsyncIterator[Worker]:
    worker.refresher.load_last_good()
    task = asyncio.create_task(worker.refresher.run())
    try:
        if loaded:
            await asyncio.wait_for(worker.refresher.wait_loaded(), 10)
        yield worker
    finally:
        await cancelled(task)


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until something is true; fail if it does not become so."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.0005)


async def enforced(worker: Worker, number: str, *, listed: bool = True) -> None:
    await until(lambda: worker.listed(number) is listed)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Register]:
    async with await Register.connect(RegisterSettings(url)) as register:
        yield register


@pytest.fixture
async def register(redis_url: str) -> AsyncIterator[Register]:
    """A register with one list of 6,000 numbers."""
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        yield register


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The same Redis, as somebody with redis-cli has it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Awaitable[object]]:
    """Imports numbers as a new base."""

    async def load(register: Register, numbers: list[str], name: str = NAME, **fields) -> object:
        path = tmp_path / "numbers.txt"
        path.write_text("\n".join(numbers))
        held = {
            "name": name,
            "path": path,
            "kind": "text",
            "names": None,
            "defaults": Defaults("numbers", NOW_S),
            "rejects": tmp_path / "rejects",
            "replace": True,
            "key": b"",
            "by": BY,
        }
        return await import_file(register, ImportRequest(**{**held, **fields}), NOW_S)

    return load


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Worker:
    return Worker(redis_url, tmp_path / "state")


async def add(register: Register, *numbers: str) -> None:
    await register.add(NAME, [entry(number) for number in numbers], BY)


async def remove(register: Register, *numbers: str) -> None:
    removals = [Removal(entry(number).fingerprint, number) for number in numbers]
    await register.remove(NAME, removals, BY)


def show(capsys: pytest.CaptureFixture[str], figure: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n  measured: {figure}\n")


async def test_an_empty_register_counts_as_loaded(redis_url, tmp_path):
    """With no list anywhere a worker starts; a list that is made later is there by itself."""
    async with running(Worker(redis_url, tmp_path)) as worker, opened(redis_url) as register:
        assert worker.refresher.current.names == ()
        await register.create(NAME, "plain", BY)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))


async def test_changes_are_enforced_at_once(register, worker, load, capsys):
    """An add or a removal is enforced 100 ms after it was made, at p99."""
    await load(register, BASE)
    waits: list[float] = []
    async with running(worker):
        for i in range(150):
            number = f"+66899{i:06d}"
            for change, listed in ((add, True), (remove, False)):
                began = time.perf_counter()
                await change(register, number)
                await enforced(worker, number, listed=listed)
                waits.append(time.perf_counter() - began)
    p50, p99 = (1000 * float(np.percentile(waits, q)) for q in (50, 99))
    show(capsys, f"change made to change enforced, in ms: p50 {p50:.1f}, p99 {p99:.1f}")
    assert p99 < 100
    assert not worker.told(EventKind.GAP)
    assert not worker.told(EventKind.CHECKSUM)


async def test_a_new_base_takes_the_place_of_the_old_one(register, worker, load):
    """A new base is enforced by itself; what was removed since the last stays removed over it."""
    await load(register, BASE)
    async with running(worker):
        assert worker.listed(BASE[0])
        await remove(register, BASE[0])
        await until(lambda: not worker.listed(BASE[0]))
        await load(register, [*BASE[1:], ONE])
        await remove(register, BASE[1])
        await until(lambda: worker.listed(ONE) and not worker.listed(BASE[1]))
        assert worker.listed(BASE[2])
        assert not worker.listed(BASE[0])
    assert not worker.told(EventKind.GAP)


async def test_changes_count_while_a_base_is_loaded(register, worker, load, monkeypatch):
    """An unblock made while a new base is on its way is enforced before and after the swap."""
    slow = shelf.write_snapshot

    def slowly(*args, **fields):
        time.sleep(0.5)
        return slow(*args, **fields)

    await load(register, BASE)
    async with running(worker):
        monkeypatch.setattr(shelf, "write_snapshot", slowly)
        await load(register, [*BASE, ONE])
        await remove(register, BASE[0])
        await until(lambda: not worker.listed(BASE[0]), 0.4)
        await until(lambda: worker.listed(ONE))
        assert not worker.listed(BASE[0])
        assert worker.listed(BASE[1])


async def test_the_loop_does_not_stop_for_a_swap(register, worker, load, capsys):
    """While a base of 100,000 numbers is loaded, the worker's loop is never held up for long."""
    rng = random.Random(2)
    numbers = [f"+669{n:08d}" for n in rng.sample(range(10**8), 100_000)]
    await load(register, numbers)
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    async with running(worker):
        await until(lambda: worker.listed(numbers[0]))
    watching.cancel()
    show(capsys, f"longest stop of the loop while 100,000 numbers went live: {max(stalls):.3f} s")
    assert max(stalls) < 0.25  # other tests' load included; 20 ms is the aim on a quiet machine


async def test_the_allowlist_is_followed(register, worker):
    """Allow entries are enforced and withdrawn as they are made and removed."""
    async with running(worker):
        await register.allow_add([AllowEntry("+662123*", "hospital", "a", NOW_S)], BY)
        find = lambda: worker.refresher.current.allow.find("+6621234567", NOW_S)  # noqa: E731
        await until(lambda: find() is not None)
        await register.allow_remove(["+662123*"], BY)
        await until(lambda: find() is None)


async def test_a_gap_leads_to_a_reload(register, worker, raw, load):
    """Steps that never came are noticed at the next comparison, and the list is read anew."""
    await load(register, BASE)
    async with running(worker):
        # Changes whose steps are gone from the stream before anybody read them.
        raw.rename("rf:changes", "kept")
        await add(register, ONE)
        raw.delete("rf:changes")
        raw.rename("kept", "rf:changes")
        await until(lambda: worker.listed(ONE))
        await add(register, TWO)
        await until(lambda: worker.listed(TWO))


async def test_a_step_out_of_order_leads_to_a_reload(register, worker, raw, load):
    """A step whose generation is not the next one is a gap; the list comes right by itself."""
    await load(register, BASE)
    async with running(worker):
        head = raw.hget(f"rf:list:{{{NAME}}}", "generation")
        step = {"list": NAME, "generation": int(head) + 5, "op": "reserve", "payload": "x"}
        raw.xadd("rf:changes", {**step, "chain": "0"})
        await until(lambda: bool(worker.told(EventKind.GAP)))
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))


async def test_a_chain_that_differs_leads_to_a_reload(register, worker, raw, load):
    """A step that was altered on its way is noticed, and the list is read anew from its entries."""
    await load(register, BASE)
    async with running(worker):
        raw.hset(f"rf:list:{{{NAME}}}", "chain", "0" * 40)
        await add(register, ONE)
        await until(lambda: bool(worker.told(EventKind.CHECKSUM)))
        await add(register, TWO)
        await until(lambda: worker.listed(ONE) and worker.listed(TWO))


async def test_emptied_redis_changes_nothing(register, worker, raw, load, redis_url):
    """After a FLUSH all lists stay enforced, with one alarm; a new register is not taken."""
    await load(register, BASE)
    async with running(worker):
        raw.flushdb()
        await until(lambda: bool(worker.told(EventKind.REGISTER_LOST)))
        await register.create(NAME, "plain", BY)
        await add(register, ONE)
        await asyncio.sleep(0.5)
        assert worker.listed(BASE[0])
        assert not worker.listed(ONE)
        assert NAME in worker.refresher.lost
        assert len(worker.told(EventKind.REGISTER_LOST)) == 1
    again = Worker(redis_url, worker.state_dir)
    async with running(again):
        assert again.listed(BASE[0])
        await until(lambda: bool(again.told(EventKind.REGISTER_LOST)))


async def test_a_generation_that_went_back_changes_nothing_until_passed(
    register, worker, raw, load
):
    """A register that lost its last second is noticed; once it is ahead again, it is followed."""
    await load(register, BASE)
    key = f"rf:list:{{{NAME}}}"
    before = raw.hgetall(key)
    async with running(worker):
        await add(register, ONE, TWO)
        await until(lambda: worker.listed(TWO))
        raw.hset(key, mapping=before)
        raw.hdel(f"{key}:changed", *raw.hkeys(f"{key}:changed"))
        await until(lambda: worker.refresher.lost == (NAME,))
        assert worker.listed(ONE)
        assert worker.told(EventKind.REGISTER_LOST)
        await add(register, THREE)
        await asyncio.sleep(0.4)
        assert worker.listed(ONE)
        await add(register, BASE[5], THREE, BASE[6])
        await until(lambda: worker.listed(THREE) and not worker.listed(ONE))
        assert worker.refresher.lost == ()


async def test_a_damaged_base_keeps_the_old_one(register, worker, raw, load, monkeypatch):
    """A base that was damaged in Redis is refused; the last good one stays and changes go on."""
    publish = ingest._publish

    async def damage_and_publish(register, reservation, *rest):
        raw.setrange(f"rf:list:{{{NAME}}}:base:{reservation.generation}:1", 1000, "damage")
        return await publish(register, reservation, *rest)

    await load(register, BASE)
    async with running(worker):
        monkeypatch.setattr(ingest, "_publish", damage_and_publish)
        await load(register, [*BASE[1:], TWO])
        await until(lambda: bool(worker.told(EventKind.SNAPSHOT_REFUSED)))
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert worker.listed(BASE[0])
        assert not worker.listed(TWO)
        monkeypatch.setattr(ingest, "_publish", publish)
        await load(register, [*BASE[1:], THREE])
        await until(lambda: worker.listed(THREE) and not worker.listed(BASE[0]))


async def test_a_list_of_an_unknown_circle_can_not_be_asked(register, worker):
    """A list whose key this machine has not is there, is told, and is not taken for empty."""
    await register.create("KH/scam", "asean", BY)
    async with running(worker):
        current = worker.refresher.current
        assert [current.names[i] for i in current.unusable] == ["KH/scam"]
        assert "circles.asean" in worker.told(EventKind.SNAPSHOT_REFUSED)[0]


async def test_a_keyed_list(register, redis_url, tmp_path, load):
    """A list of a circle is enforced with the circle's key."""
    key = bytes(range(32))
    await register.create("KH/scam", "asean", BY)
    await load(register, BASE, name="KH/scam", key=key)
    worker = Worker(redis_url, tmp_path / "state", keys={"plain": b"", "asean": key})
    async with running(worker):
        assert worker.lists(BASE[0]) == {"KH/scam"}
        await register.add("KH/scam", [entry(ONE, key)], BY)
        await until(lambda: worker.lists(ONE) == {"KH/scam"})


async def test_a_start_without_redis_knows_the_last_unblock(register, worker, load):
    """From its state directory alone a worker enforces lists, changes and the allowlist."""
    await load(register, BASE)
    async with running(worker):
        await add(register, ONE)
        await remove(register, BASE[0])
        await register.allow_add([AllowEntry(TWO, "appeal", "a", NOW_S)], BY)
        await until(lambda: worker.listed(ONE) and not worker.listed(BASE[0]))
        journal = worker.state_dir / "lists" / NAME / "changes.jsonl"
        await until(lambda: journal.exists() and b"remove" in journal.read_bytes())
        await until(lambda: TWO.encode() in (worker.state_dir / "register.json").read_bytes())
    alone = Worker("redis://127.0.0.1:1/0", worker.state_dir)
    async with running(alone):
        assert alone.listed(ONE)
        assert alone.listed(BASE[1])
        assert not alone.listed(BASE[0])
        assert alone.refresher.current.allow.find(TWO, NOW_S) is not None
        await until(lambda: bool(alone.told(EventKind.REGISTER_DOWN)))


async def test_without_redis_and_without_a_shelf_nothing_is_decided(tmp_path):
    """A worker that has no list at all does not begin."""
    worker = Worker("redis://127.0.0.1:1/0", tmp_path)
    async with running(worker, loaded=False):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.refresher.wait_loaded(), 0.6)


async def test_what_changed_while_a_worker_was_away(register, worker, load, redis_url):
    """A worker that starts from its shelf takes over what happened meanwhile, unblocks too."""
    await load(register, BASE)
    async with running(worker):
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
    await remove(register, ONE, BASE[0])
    await load(register, [*BASE[2:], TWO])
    await add(register, THREE)
    again = Worker(redis_url, worker.state_dir)
    async with running(again):
        assert {n for n in (ONE, TWO, THREE, *BASE[:3]) if again.listed(n)} == {TWO, THREE, BASE[2]}


async def test_an_unsafe_redis_is_refused_at_the_start(redis_url, raw, tmp_path):
    """A worker does not start on a Redis that may evict entries."""
    raw.config_set("maxmemory-policy", "allkeys-lru")
    try:
        worker = Worker(redis_url, tmp_path)
        worker.refresher.load_last_good()
        with pytest.raises(RegisterUnsafe):
            await asyncio.wait_for(worker.refresher.run(), 5)
    finally:
        raw.config_set("maxmemory-policy", "noeviction")


async def test_two_workers_of_one_machine(register, worker, load, redis_url):
    """Workers share a state directory; both follow, and either can start from it."""
    await load(register, BASE)
    other = Worker(redis_url, worker.state_dir)
    async with running(worker), running(other):
        for i in range(40):
            await add(register, f"+66877{i:06d}")
        await load(register, [*BASE, ONE])
        await remove(register, BASE[0])
        for each in (worker, other):
            await enforced(each, ONE)
            await enforced(each, BASE[0], listed=False)
        await asyncio.sleep(0.3)
    alone = Worker("redis://127.0.0.1:1/0", worker.state_dir)
    alone.refresher.load_last_good()
    assert alone.listed(ONE)
    assert not alone.listed(BASE[0])
    assert not alone.told(EventKind.SNAPSHOT_REFUSED)


async def test_redis_dies_and_comes_back_in_mid_run(tmp_path, load):
    """Calls go on being decided while Redis is gone; after its restart changes come again."""
    with best_redis() as server:
        worker = Worker(server.url(0), tmp_path / "state")
        async with opened(server.url(0)) as register:
            await register.create(NAME, "plain", BY)
            await load(register, BASE)
            await add(register, ONE)
        async with running(worker):
            await until(lambda: worker.listed(ONE))
            await asyncio.sleep(1.2)  # the append-only file is synced once a second
            await asyncio.to_thread(server.kill)
            await until(lambda: bool(worker.told(EventKind.REGISTER_DOWN)))
            assert worker.listed(BASE[0])
            assert worker.listed(ONE)
            await asyncio.to_thread(server.start)
            async with opened(server.url(0)) as register:
                await add(register, TWO)
                await until(lambda: worker.listed(TWO), 15)
            assert worker.listed(ONE)
            assert not worker.told(EventKind.REGISTER_LOST)
