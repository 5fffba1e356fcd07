"""A register that lost data: noticed, told, and given back; on a Redis of the test's own."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ChangeConflict
from stream.lab.embedded import RedisServer, best_redis
from stream.lists.follower import local_state
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.repair import (
    Diagnosis,
    RepairStatus,
    allowlist_loss,
    look,
    put_back,
    put_back_allowlist,
    put_back_from,
    take_over,
)
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from tests.support import waiting
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
    held_numbers,
    opened,
    remove,
    running,
    until,
)
from tests.support.redis_copy import Copy
from tests.support.waiting import HANGS_S

KEYS = {"plain": b""}


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A Redis that a test may restore from an older copy."""
    with best_redis() as server:
        yield server


def allowed_here(worker: Worker) -> set[str]:
    """The numbers of the allowlist on the worker's disk."""
    return set(local_state.known(worker.state_dir).allow.numbers)


async def looked(server: RedisServer, worker: Worker) -> Diagnosis:
    async with opened(server.url(0)) as register:
        return await look(register, NAME, worker.state_dir, KEYS)


async def mended(server: RedisServer, worker: Worker) -> int:
    async with opened(server.url(0)) as register:
        found = await look(register, NAME, worker.state_dir, KEYS)
        return (await put_back(register, found, b"", By("malee", "aof"), NOW_S)).generation


async def standing(server: RedisServer, worker: Worker, wanted: RepairStatus) -> None:
    """Wait until the worker has written down what it enforces, and the list stands so."""

    async def stands() -> bool:
        return (await looked(server, worker)).standing is wanted

    await waiting.until(stands, f"the list to be {wanted}")


@pytest.fixture
async def lost(own, tmp_path, load) -> Worker:
    """A worker that knows ONE off and TWO on; its Redis came back from a copy before both."""
    worker = Worker(own.url(0), tmp_path / "state")
    async with opened(own.url(0)) as register:
        await register.create(NAME, "plain", BY)
        await load(register, BASE[:50])
        await add(register, ONE)
    copy = Copy(own, tmp_path / "copy")
    async with running(worker), opened(own.url(0)) as register:
        # Else it begins with the state after a change, and does not know the copy's as its own.
        await until(lambda: worker.listed(ONE))
        await remove(register, ONE)
        await add(register, TWO)
        await until(lambda: worker.listed(TWO))
        await standing(own, worker, RepairStatus.AGREES)
    await copy.restore()
    return worker


async def test_an_older_copy_is_noticed_and_given_back(own, lost):
    """The last second of the AOF is lost: enforced on, alarmed, told, put back, live, audited."""
    async with running(lost):
        await until(lambda: lost.refresher.lost == (NAME,))
        assert lost.told(EventKind.REGISTER_LOST)
        assert lost.listed(TWO)
        assert not lost.listed(ONE)
        found = await looked(own, lost)
        assert (found.standing, found.since) == (RepairStatus.WENT_BACK, ())
        assert found.held is not None
        generation = await mended(own, lost)
        assert generation > found.held.mark.generation
        await until(lambda: lost.refresher.lost == ())
        await standing(own, lost, RepairStatus.AGREES)
        async with opened(own.url(0)) as register:
            assert await held_numbers(register) == {*BASE[:50], TWO}
            entry = await anext(register.past.audit())
            assert (entry.actor, entry.generation) == ("malee", generation)
            assert '"what":"repair"' in entry.detail
            await add(register, THREE)
        await until(lambda: lost.listed(THREE))
        assert not lost.listed(ONE)


async def test_steps_that_are_known_come_back_as_they_were(own, lost):
    """With their generations: a worker stays in step, and never reads what Redis had meanwhile."""
    async with running(lost):
        await until(lambda: lost.refresher.lost == (NAME,))
        found = await looked(own, lost)
        assert found.held is not None
        read = len(lost.told(EventKind.SWAPPED))
        async with opened(own.url(0)) as register:
            done = await put_back_from(
                register, found, lost.state_dir, KEYS, By("malee", "aof"), NOW_S
            )
            assert done.generation == found.held.mark.generation
            assert done.count == 51
            assert await held_numbers(register) == {*BASE[:50], TWO}
            entries = [entry async for entry in register.past.audit()]
            assert {entry.actor for entry in entries[:2]} == {"malee"}
            await until(lambda: lost.refresher.lost == ())
            await add(register, THREE)
        await until(lambda: lost.listed(THREE))
        assert len(lost.told(EventKind.SWAPPED)) == read


async def test_what_was_changed_since_the_loss_stays(own, lost):
    """A register that went on after its loss keeps what was done there, over what it lost."""
    async with opened(own.url(0)) as register:
        await add(register, THREE)
        await remove(register, BASE[0])
    found = await looked(own, lost)
    assert found.standing is RepairStatus.FORKED
    assert [step.op for step in found.since or ()] == ["add", "remove"]
    await mended(own, lost)
    async with opened(own.url(0)) as register:
        assert await held_numbers(register) == {*BASE[1:50], TWO, THREE}
    async with running(lost):
        await until(lambda: lost.listed(THREE) and lost.listed(TWO) and not lost.listed(ONE))


async def test_a_worker_starts_right_after_a_register_that_went_another_way(own, lost, load):
    """Numbers of bases that a restored register gives out again never bring an old base back."""
    async with opened(own.url(0)) as register:
        for size in (10, 20, 30):
            await load(register, BASE[:size])
    again = Worker("redis://127.0.0.1:1/0", lost.state_dir)
    async with running(lost):
        await until(lambda: lost.listed(BASE[29]) and not lost.listed(TWO))
        await standing(own, lost, RepairStatus.AGREES)
    async with running(again, loaded=False):
        assert again.listed(BASE[29])
        assert not again.listed(BASE[30])
        assert not again.listed(TWO)


async def test_an_emptied_redis_becomes_the_register_again(own, lost):
    """After FLUSHALL the list is put back with its register's name, and workers take it."""
    with redis.Redis.from_url(own.url(0)) as client:
        client.flushall()
    found = await looked(own, lost)
    assert (found.standing, found.head) == (RepairStatus.EMPTIED, None)
    async with running(lost):
        await until(lambda: bool(lost.told(EventKind.REGISTER_LOST)))
        await mended(own, lost)
        async with opened(own.url(0)) as register:
            await add(register, THREE)
        await until(lambda: lost.listed(THREE) and lost.listed(TWO))


async def test_the_allowlist_is_given_back(own, tmp_path):
    """Allow entries that were lost come back, those taken off stay off, new ones count again."""
    old, gone, kept = (AllowEntry(number, "x", "a", NOW_S) for number in (ONE, TWO, THREE))
    worker = Worker(own.url(0), tmp_path / "state")
    async with opened(own.url(0)) as register:
        await register.allow_add([gone], BY)
    copy = Copy(own, tmp_path / "copy")
    async with running(worker), opened(own.url(0)) as register:
        await register.allow_add([old, kept], BY)
        await register.allow_remove([TWO], BY)
        await until(lambda: allowed_here(worker) == {ONE, THREE})
    await copy.restore()
    async with running(worker), opened(own.url(0)) as register:
        await until(lambda: worker.refresher.lost == ("",))
        late = AllowEntry("+6621234567", "hospital", "b", int(time.time()) + 100)
        await register.allow_add([late], BY)
        loss = await allowlist_loss(register, worker.state_dir)
        assert (loss.lost, {e.text for e in loss.missing}, loss.gone) == (
            True,
            {ONE, THREE},
            (TWO,),
        )
        await put_back_allowlist(register, loss, By("malee"))
        await until(lambda: worker.refresher.lost == ())
        await until(lambda: len(worker.refresher.current.allow) == 3)
        allow = worker.refresher.current.allow
        assert {entry.text for entry in allow.entries()} == {ONE, THREE, "+6621234567"}
        with pytest.raises(ChangeConflict, match="lost nothing"):
            await put_back_allowlist(register, await allowlist_loss(register, worker.state_dir), BY)


async def test_an_allowlist_that_came_to_the_same_generation_otherwise(own, tmp_path):
    """It lacks what workers know, and none of them would read it by itself."""
    first, ours = (AllowEntry(number, "x", "a", NOW_S) for number in (ONE, TWO))
    worker = Worker(own.url(0), tmp_path / "state")
    async with opened(own.url(0)) as register:
        await register.allow_add([first], BY)
    copy = Copy(own, tmp_path / "copy")
    async with running(worker), opened(own.url(0)) as register:
        await register.allow_add([ours], BY)
        await until(lambda: allowed_here(worker) == {ONE, TWO})
    await copy.restore()
    async with running(worker), opened(own.url(0)) as register:
        await until(lambda: worker.refresher.lost == ("",))
        late = AllowEntry(THREE, "hospital", "b", int(time.time()) + 100)
        await register.allow_add([late], BY)
        loss = await allowlist_loss(register, worker.state_dir)
        assert (loss.here, loss.there, loss.missing) == (2, 2, (ours,))
        await put_back_allowlist(register, loss, By("malee"))
        await until(lambda: worker.refresher.lost == ())
        await until(lambda: worker.refresher.current.allow.numbers.keys() == {ONE, TWO, THREE})


async def test_a_worker_that_was_restarted_puts_the_allowlist_back(own, tmp_path):
    """A power cut took the primary and every follower: the new primary lacks the last entries.

    Entries made there since would have every worker take its allowlist, and block ONE again.
    """
    first, lost = (AllowEntry(number, "x", "a", NOW_S) for number in (THREE, ONE))
    async with opened(own.url(0)) as register:
        await register.allow_add([first], BY)
    copy = Copy(own, tmp_path / "copy")
    worker = Worker(own.url(0), tmp_path / "state", put_back=True)
    async with running(worker), opened(own.url(0)) as register:
        await register.allow_add([lost], BY)
        await until(lambda: allowed_here(worker) == {ONE, THREE})
    await copy.restore()
    again = Worker(own.url(0), tmp_path / "state", put_back=True)
    async with running(again), opened(own.url(0)) as register:
        assert again.told(EventKind.PUT_BACK)
        assert not again.refresher.behind
        await register.allow_add([AllowEntry(TWO, "x", "a", NOW_S)], BY)
        allow = again.refresher.current.allow
        await until(lambda: again.refresher.current.allow is not allow)
        assert again.refresher.current.allow.numbers.keys() == {ONE, TWO, THREE}
        head, entries = await register.allow_all()
        assert (head.generation, {entry.text for entry in entries}) == (3, {ONE, TWO, THREE})


async def test_an_outage_takes_no_allow_entry_from_the_disk(own, tmp_path, monkeypatch):
    """The disk is slow as Redis goes away; what was enforced by then is enforced after a restart.

    Else whom it spares would be blocked until Redis is back.
    """
    remember, may_go_on = local_state.remember, threading.Event()

    def slowly(*args):
        assert may_go_on.wait(HANGS_S)
        remember(*args)

    worker = Worker(own.url(0), tmp_path)
    async with running(worker), opened(own.url(0)) as register:
        monkeypatch.setattr(local_state, "remember", slowly)
        for number in (ONE, TWO):
            await register.allow_add([AllowEntry(number, "x", "a", NOW_S)], BY)
            held = worker.refresher
            await until(lambda: number in held.current.allow.numbers)  # noqa: B023
        await asyncio.to_thread(own.kill)
        await until(lambda: bool(worker.told(EventKind.REGISTER_DOWN)))
        may_go_on.set()
        await until(lambda: allowed_here(worker) == {ONE, TWO})
    alone = Worker("redis://127.0.0.1:1/0", tmp_path)
    alone.refresher.load_last_good()
    assert alone.refresher.current.allow.numbers.keys() == {ONE, TWO}


async def test_another_register_is_not_written_to(own, lost):
    """A Redis that is another register is left alone, whatever was asked for."""
    with redis.Redis.from_url(own.url(0)) as client:
        client.flushall()
    async with opened(own.url(0)) as register:
        await register.create("TH/other", "plain", BY)
    assert (await looked(own, lost)).standing is RepairStatus.OTHER
    with pytest.raises(ChangeConflict, match="another list store"):
        await mended(own, lost)


async def test_a_register_that_was_begun_in_the_place_of_the_lost_one(own, lost):
    """It is theirs again if a person says so: what it holds stays, what was lost comes back."""
    with redis.Redis.from_url(own.url(0)) as client:
        client.flushall()
    async with opened(own.url(0)) as register, running(lost):
        await register.create("TH/other", "plain", BY)
        await register.allow_add([AllowEntry(THREE, "x", "a", NOW_S)], BY)
        assert (await looked(own, lost)).standing is RepairStatus.OTHER
        await until(lambda: "" in lost.refresher.lost)
        await take_over(register, lost.state_dir)
        assert (await looked(own, lost)).standing is RepairStatus.GONE
        await mended(own, lost)
        await until(lambda: lost.refresher.lost == ())
        await until(lambda: {NAME, "TH/other"} == set(lost.refresher.current.names))
        await until(lambda: THREE in lost.refresher.current.allow.numbers)
        assert lost.listed(TWO)


async def test_failover_to_a_replica_that_was_behind(own, tmp_path, load):
    """A replica that is promoted without the last change is a register that went back."""
    with best_redis() as replica:
        worker = Worker(own.url(0), tmp_path / "state")
        async with opened(own.url(0)) as register:
            await register.create(NAME, "plain", BY)
            await load(register, BASE[:50])
            with redis.Redis.from_url(own.url(0)) as client:
                client.config_set("repl-diskless-sync-delay", 0)
            with redis.Redis.from_url(replica.url(0)) as client:
                client.replicaof("127.0.0.1", own.port)
                await until(lambda: client.exists(f"rf:list:{{{NAME}}}") == 1)
                client.replicaof("NO", "ONE")
            async with running(worker):
                await add(register, TWO)
                await until(lambda: worker.listed(TWO))
                await standing(own, worker, RepairStatus.AGREES)
        await asyncio.to_thread(own.kill)
        promoted = Worker(replica.url(0), worker.state_dir)
        async with running(promoted):
            await until(lambda: promoted.refresher.lost == (NAME,))
            assert promoted.listed(TWO)
            assert (await looked(replica, promoted)).standing is RepairStatus.WENT_BACK
            await mended(replica, promoted)
            await until(lambda: promoted.refresher.lost == ())
            assert promoted.listed(TWO)


async def test_nothing_to_repair(register: ListStore, worker, load):
    """Where the register is as known or ahead, nothing is put back."""
    await load(register, BASE[:50])
    async with running(worker):
        journal = worker.state_dir / "lists" / NAME / "changes.jsonl"
        await until(journal.exists)
    for wanted in (RepairStatus.AGREES, RepairStatus.AHEAD):
        found = await look(register, NAME, worker.state_dir, KEYS)
        assert found.standing is wanted
        with pytest.raises(ChangeConflict, match="nothing was changed"):
            await put_back(register, found, b"", BY, NOW_S)
        await add(register, ONE)


async def test_who_holds_nothing_follows_an_emptied_redis(own: RedisServer, tmp_path) -> None:
    """A fail-over lost a register that was just made: what is made next is followed."""
    async with opened(own.url()) as before:
        await before.create(NAME, "plain", BY)
        await before.delete(NAME, BY)
    async with running(Worker(own.url(), tmp_path)):
        await until(lambda: local_state.known(tmp_path).identity is not None)
    with redis.Redis.from_url(own.url()) as client:
        client.flushdb()
    again = Worker(own.url(), tmp_path)
    async with running(again), opened(own.url()) as after:
        await after.create(NAME, "plain", BY)
        await add(after, ONE)
        await until(lambda: again.listed(ONE))
        assert not again.told(EventKind.REGISTER_LOST)
        assert not again.refresher.behind
