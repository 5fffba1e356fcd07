"""A worker's lists stay good when the register is not, and come right by themselves."""

import asyncio

import pytest

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ListStoreUnsafe
from stream.lab.embedded import best_redis
from stream.lists.follower.list_events import EventKind
from stream.lists.store import rewrite
from tests.support.builders import NOW_S
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    ONE,
    THREE,
    TWO,
    Worker,
    add,
    opened,
    remove,
    running,
    until,
)
from tests.support.waiting import HANGS_S


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
    publish = rewrite._publish

    async def damage_and_publish(register, reservation, *rest):
        raw.setrange(f"rf:list:{{{NAME}}}:base:{reservation.generation}:1", 1000, "damage")
        return await publish(register, reservation, *rest)

    await load(register, BASE)
    async with running(worker):
        monkeypatch.setattr(rewrite, "_publish", damage_and_publish)
        await load(register, [*BASE[1:], TWO])
        await until(lambda: bool(worker.told(EventKind.SNAPSHOT_REFUSED)))
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert worker.listed(BASE[0])
        assert not worker.listed(TWO)
        monkeypatch.setattr(rewrite, "_publish", publish)
        await load(register, [*BASE[1:], THREE])
        await until(lambda: worker.listed(THREE) and not worker.listed(BASE[0]))


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


async def test_an_unsafe_redis_is_refused_at_the_start(redis_url, raw, tmp_path):
    """A worker does not start on a Redis that may evict entries."""
    raw.config_set("maxmemory-policy", "allkeys-lru")
    try:
        worker = Worker(redis_url, tmp_path)
        worker.refresher.load_last_good()
        with pytest.raises(ListStoreUnsafe):
            await asyncio.wait_for(worker.refresher.run(), HANGS_S)
    finally:
        raw.config_set("maxmemory-policy", "noeviction")


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
                await until(lambda: worker.listed(TWO))
            assert worker.listed(ONE)
            assert not worker.told(EventKind.REGISTER_LOST)
