"""A worker's lists follow the register."""

import asyncio
import random
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ListStoreUnsafe
from stream.lab.embedded import best_redis
from stream.lists.follower import change_log, local_state, snapshot_directory
from stream.lists.follower.installer import AT_ONCE
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.put_back import Recovery
from stream.lists.follower.sync_state import ListPosition
from stream.lists.store import rewrite
from stream.lists.store.heads import By
from stream.lists.store.list_content import content, past_of
from stream.lists.store.list_store import ListStore
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
    chained,
    enforced,
    opened,
    remove,
    running,
    until,
)
from tests.support.waiting import HANGS_S


async def test_an_empty_register_counts_as_loaded(redis_url, tmp_path):
    """With no list anywhere a worker starts; a list that is made later is there by itself."""
    async with running(Worker(redis_url, tmp_path)) as worker, opened(redis_url) as register:
        assert worker.refresher.current.names == ()
        await register.create(NAME, "plain", BY)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))


async def test_a_clock_that_is_an_hour_off_is_named(register, redis_url, tmp_path):
    """Once, with the difference; again after the two agreed."""
    ahead_s = 3600
    worker = Worker(redis_url, tmp_path, clock=lambda: time.time() + ahead_s)
    async with running(worker):
        await until(lambda: bool(worker.told(EventKind.CLOCK_DIFFERS)))
        (said,) = worker.told(EventKind.CLOCK_DIFFERS)
        assert re.match(r"the list store's clock is 3(599|600) s behind ours", said)
        ahead_s = 0
        await until(lambda: not worker.refresher.clock_differs)
        ahead_s = -3600
        await until(lambda: len(worker.told(EventKind.CLOCK_DIFFERS)) > 1)
    assert "s ahead of ours" in worker.told(EventKind.CLOCK_DIFFERS)[1]


@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_a_clock_that_jumps_makes_no_list_older_or_younger(
    register, load, redis_url, tmp_path, jump_s
):
    """By it `age_s_max` would pass over a list that was heard of just now, or keep a dead one."""
    await load(register, BASE)
    ahead_s = 0
    worker = Worker(redis_url, tmp_path, clock=lambda: time.time() + ahead_s, reconcile_s=3600)
    async with running(worker):
        await until(lambda: bool(worker.refresher.current.names))
        ahead_s = jump_s

        def age_s() -> float:
            (live,) = worker.refresher.current.lists
            return float(time.time() + ahead_s - live.synced_at_s)

        await until(lambda: 0 <= age_s() < 1800)


async def test_changes_are_enforced_at_once(register, load, redis_url, tmp_path, measured):
    """An add or a removal is enforced because the register tells it, not because we look again."""
    await load(register, BASE)
    waits: list[float] = []
    # With these nothing would be enforced within the hour, were it not for the waiting read.
    worker = Worker(redis_url, tmp_path / "state", reconcile_s=3600.0, changes_block_ms=3_600_000)
    async with running(worker):
        for i in range(150):
            number = f"+66899{i:06d}"
            for change, listed in ((add, True), (remove, False)):
                began = time.perf_counter()
                await change(register, number)
                await enforced(worker, number, listed=listed)
                waits.append(time.perf_counter() - began)
    p50, p99 = (1000 * float(np.percentile(waits, q)) for q in (50, 99))
    measured(f"change made to change enforced, in ms: p50 {p50:.1f}, p99 {p99:.1f}")
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
    slow, may_go_on = snapshot_directory.write_snapshot, threading.Event()

    def slowly(*args, **fields):
        assert may_go_on.wait(HANGS_S)
        return slow(*args, **fields)

    await load(register, BASE)
    async with running(worker):
        monkeypatch.setattr(snapshot_directory, "write_snapshot", slowly)
        await load(register, [*BASE, ONE])
        await remove(register, BASE[0])
        await until(lambda: not worker.listed(BASE[0]))
        assert not worker.listed(ONE), "the new base is still on its way"
        may_go_on.set()
        await until(lambda: worker.listed(ONE))
        assert not worker.listed(BASE[0])
        assert worker.listed(BASE[1])


async def test_the_loop_does_not_stop_for_a_swap(register, worker, load, measured):
    """While a base of 100,000 numbers is loaded, the worker's loop never works for long at a time.

    It is the processor's time of the loop's own thread, which other programs do not make longer.
    """
    rng = random.Random(2)
    numbers = [f"+669{n:08d}" for n in rng.sample(range(10**8), 100_000)]
    await load(register, numbers)
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            stalls.append(time.thread_time() - began)

    watching = asyncio.create_task(watch())
    async with running(worker):
        await until(lambda: worker.listed(numbers[0]))
    watching.cancel()
    measured(f"longest work of the loop while 100,000 numbers went live: {max(stalls):.3f} s")
    assert max(stalls) < 0.25  # 20 ms is the aim on a quiet machine


async def test_the_allowlist_is_followed(register, worker):
    """Allow entries are enforced and withdrawn as they are made and removed."""
    async with running(worker):
        await register.allow_add([AllowEntry("+662123*", "hospital", "a", NOW_S)], BY)
        find = lambda: worker.refresher.current.allow.find("+6621234567", NOW_S)  # noqa: E731
        await until(lambda: find() is not None)
        await register.allow_remove(["+662123*"], BY)
        await until(lambda: find() is None)


async def test_a_list_of_an_unknown_circle_can_not_be_asked(register, worker):
    """A list whose key this machine has not is there, is reported, and is not taken for empty."""
    await register.create("KH/scam", "asean", BY)
    async with running(worker):
        current = worker.refresher.current
        assert [current.names[i] for i in current.unusable] == ["KH/scam"]
        assert "circles.asean" in worker.told(EventKind.SNAPSHOT_REFUSED)[0]


async def test_lists_that_are_read_together_come_out_each_by_itself(register, worker, load):
    """One that cannot be used, and one with a base, take nothing from those that have none."""
    names = [f"KH/n{index}" for index in range(2 * AT_ONCE + 1)]
    for index, name in enumerate(names):
        await register.create(name, "plain", BY)
        await register.add(name, [entry(f"+4477009001{index:02d}")], BY)
    await register.create("KH/n3x", "asean", BY)
    await load(register, BASE)
    async with running(worker):
        current = worker.refresher.current
        assert [current.names[i] for i in current.unusable] == ["KH/n3x"]
        for index, name in enumerate(names):
            assert worker.lists(f"+4477009001{index:02d}") == {name}
        assert worker.listed(BASE[0])
        await register.delete(names[5], BY)
        await register.add(names[6], [entry(ONE)], BY)
        await until(lambda: worker.lists(ONE) == {names[6]})
        await until(lambda: worker.lists("+447700900105") == set())
        logs = worker.state_dir / "lists" / "KH"
        changed = logs / "n6/changes.jsonl"
        await until(lambda: changed.exists() and ONE in changed.read_text())
        await until(lambda: not (logs / "n5").exists())
    alone = Worker("redis://127.0.0.1:1/0", worker.state_dir)
    alone.refresher.load_last_good()
    assert alone.lists(ONE) == alone.lists("+447700900106") == {names[6]}
    assert alone.lists("+447700900105") == set()
    assert alone.listed(BASE[0])


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


async def deleted(url: str, by: By) -> int:
    async with opened(url) as register:
        return await register.delete(NAME, by)


async def test_a_machine_reads_a_base_once(register, load, redis_url, tmp_path, monkeypatch):
    """Of its workers one asks the list store for a new base, and the others find it on the disk."""
    reads: list[int] = []
    read_base = ListStore.read_base

    async def counted(store: ListStore, name: str, generation: int) -> dict[str, bytes]:
        parts = await read_base(store, name, generation)
        reads.append(generation)  # not of one that a busy Redis cut off
        return parts

    monkeypatch.setattr(ListStore, "read_base", counted)
    both = [Worker(redis_url, tmp_path / "state") for _ in range(2)]
    async with running(both[0]), running(both[1]):
        await load(register, BASE)
        await until(lambda: all(worker.listed(BASE[0]) for worker in both))
    assert len(reads) == 1


async def test_a_list_that_somebody_deletes_is_dropped(register, worker, load, redis_url):
    """Here, on the disk, and for a worker that was away; the others stay as they are."""
    other = "TH/other"
    await load(register, BASE)
    await register.create(other, "plain", BY)
    await register.add(other, [entry(ONE)], BY)
    away = Worker(redis_url, worker.state_dir.with_name("away"))
    async with running(away):
        await until(lambda: other in away.lists(ONE) and away.listed(BASE[0]))
    async with running(worker):
        await until(lambda: other in worker.lists(ONE) and worker.listed(BASE[0]))
        assert await deleted(redis_url, By("somchai", "a trial")) == len(BASE)
        await until(lambda: worker.refresher.current.names == (other,))
        assert other in worker.lists(ONE)
        assert worker.refresher.lost == ()
        await until(lambda: not snapshot_directory.list_folder(worker.state_dir, NAME).exists())
    back = Worker(redis_url, away.state_dir)
    async with running(back):
        await until(lambda: back.refresher.current.names == (other,))
        assert back.told(EventKind.DELETED)
        assert not back.told(EventKind.REGISTER_LOST)
    assert set((await register.heads()).lists) == {other}
    async with Redis.from_url(redis_url) as redis:
        assert [key async for key in redis.scan_iter(match=f"rf:list:{{{NAME}}}*")] == []
    told = [one async for one in register.past.audit()]
    gone = next(one for one in told if one.op == "delete")
    assert (gone.list_name, gone.actor, gone.reason) == (NAME, "somchai", "a trial")
    assert str(len(BASE)) in gone.detail


async def test_a_list_that_is_made_again_goes_on(register, worker, load, redis_url):
    """Its generations never go back, nothing of before is on it, and it is no lost list."""
    await load(register, BASE)
    away = Worker(redis_url, worker.state_dir.with_name("away"))
    async with running(away):
        await until(lambda: away.listed(BASE[0]))
    before = (await register.state(NAME)).head.generation
    async with running(worker):
        await until(lambda: worker.listed(BASE[0]))
        await deleted(redis_url, BY)
        assert await register.create(NAME, "plain", BY)
        await add(register, ONE)
        head = (await register.state(NAME)).head
        assert (head.generation, head.count) == (before + 3, 1)
        await until(lambda: worker.listed(ONE) and not worker.listed(BASE[0]))
        assert worker.refresher.lost == ()
    back = Worker(redis_url, away.state_dir)
    async with running(back):
        await until(lambda: back.listed(ONE) and not back.listed(BASE[0]))
        assert back.refresher.lost == ()
        await until(lambda: _kept_alone(away.state_dir))
    past = await past_of(register, NAME)
    assert past.holds(before + 3)
    assert not past.holds(before)
    columns = await content(register, past, before + 3, b"")
    assert [columns.entry(row).number for row in range(len(columns))] == [ONE]
    assert await chained(register) == before + 3


def _kept_alone(state_dir: Path) -> bool:
    """Check that a start without Redis enforces exactly the present list."""
    lists, _ = local_state.last_good(state_dir, {"plain": b""}, 0)
    if NAME not in lists:
        return False
    live = lists[NAME].live
    return live.snapshot is not None and live.snapshot.is_empty and len(live.overlay) == 1


async def test_a_list_that_is_lost_is_not_taken_for_deleted(register, worker, load, redis_url):
    """Without somebody's word what is known stays enforced, whatever became of Redis."""
    await load(register, BASE)
    async with running(worker):
        await until(lambda: worker.listed(BASE[0]))
        async with Redis.from_url(redis_url) as redis:
            await redis.srem("rf:lists", NAME)
            await redis.delete(f"rf:list:{{{NAME}}}")
        await until(lambda: worker.refresher.lost == (NAME,))
        assert worker.listed(BASE[0])


async def test_a_change_log_that_the_disk_does_not_give_ends_no_follower(register, load, tmp_path):
    """Lost changes cannot be put back from it. That is reported, and following goes on."""
    await load(register, BASE)
    head = (await register.heads()).lists[NAME]
    (snapshot_directory.list_folder(tmp_path, NAME) / "changes.jsonl").mkdir(parents=True)
    told = []
    recovery = Recovery(tmp_path, lambda *event: told.append(event), {"plain": b""})
    ours = {NAME: ListPosition(head.generation + 1, "lost")}
    await recovery.run(register, (await register.heads()).identity, ours)
    ((kind, name, why),) = told
    assert (kind, name) == (EventKind.STATE_DIR_FAILED, NAME)
    assert "changes.jsonl" in why


async def test_a_gap_leads_to_a_reload(register, worker, raw, load):
    """Steps that never came are noticed at the next comparison, and the list is read again."""
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
    """A step that was altered on its way is noticed, and the list is read again, all entries."""
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


PUBLISH = rewrite._publish


def damaging(raw):
    """Publish bases whose filter is damaged."""

    async def damage_and_publish(register, reservation, *rest):
        raw.setrange(f"rf:list:{{{NAME}}}:base:{reservation.generation}:1", 1000, "damage")
        return await PUBLISH(register, reservation, *rest)

    return damage_and_publish


async def test_a_damaged_base_keeps_the_old_one(register, worker, raw, load, monkeypatch):
    """A base that was damaged in Redis is refused; the last good one stays and changes go on."""
    await load(register, BASE)
    async with running(worker):
        monkeypatch.setattr(rewrite, "_publish", damaging(raw))
        await load(register, [*BASE[1:], TWO])
        await until(lambda: bool(worker.told(EventKind.SNAPSHOT_REFUSED)))
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        assert worker.listed(BASE[0])
        assert not worker.listed(TWO)
        monkeypatch.setattr(rewrite, "_publish", PUBLISH)
        await load(register, [*BASE[1:], THREE])
        await until(lambda: worker.listed(THREE) and not worker.listed(BASE[0]))


async def test_a_list_whose_base_is_refused_grows_older(register, worker, raw, load, monkeypatch):
    """`age_s_max` passes over it in the end, also after a start; a change confirms no base.

    Other lists are confirmed meanwhile. One that could never be read keeps none from that.
    """

    def synced_at_s(name):
        lists = worker.refresher.current.lists
        return next(live.synced_at_s for live in lists if live.name == name)

    def agreed_at_s():
        return local_state.known(worker.state_dir).synced_at_s

    await load(register, BASE)
    await register.create("KH/scam", "plain", BY)
    await register.create("KH/sealed", "asean", BY)
    async with running(worker):
        first_s = agreed_at_s()
        await until(lambda: agreed_at_s() > first_s)
        monkeypatch.setattr(rewrite, "_publish", damaging(raw))
        await load(register, [*BASE[1:], TWO])
        await until(lambda: NAME in worker.refresher.behind)
        refused_s = synced_at_s(NAME)
        await add(register, ONE)
        await until(lambda: worker.listed(ONE))
        await until(lambda: synced_at_s("KH/scam") > max(refused_s, agreed_at_s()) + 1)
        assert synced_at_s(NAME) == refused_s
        monkeypatch.setattr(rewrite, "_publish", PUBLISH)
        await load(register, BASE)
        await until(lambda: min(synced_at_s(NAME), agreed_at_s()) > refused_s)


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
        known = worker.state_dir / "register.json"
        await until(lambda: known.exists() and TWO.encode() in known.read_bytes())
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


async def test_a_gap_that_another_worker_left_in_the_change_log_is_closed(tmp_path, redis_url):
    """It began the log again with what it read before. A start without Redis has all changes."""
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        await add(register, ONE)
        state = await register.state(NAME)
        async with running(Worker(redis_url, tmp_path)) as worker:
            folder = snapshot_directory.list_folder(tmp_path, NAME)
            await add(register, TWO)
            await enforced(worker, TWO)
            await until(lambda: bool(change_log.replay(folder, 2).items))
            (folder / "changes.jsonl").unlink()
            local_state.record_whole(tmp_path, state)
            await add(register, THREE)
            await until(
                lambda: [i.generation for i in change_log.replay(folder, 1).items] == [2, 3, 4]
            )
