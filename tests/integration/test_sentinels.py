"""A fail-over of Redis Sentinel: changes that were acknowledged are enforced, or named as lost."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ChangeUnsafe, ListStoreDown
from stream.core.model.on_trial import Target, TrialKind, TrialStatus, Turned
from stream.doctor.redis_checks import check_list_store
from stream.doctor.result import Grade
from stream.edge.sinks.proxy_redis import ProxiesDown, ProxyRedis
from stream.lab.embedded import best_redis
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import TrialStore
from stream.lists.store.redis_keys import PUT_BACK
from stream.lists.store.rewrite import rebuild
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import base_of
from tests.support.builders import NOW_S, entry, fingerprint_of
from tests.support.lists import BASE, BY, NAME, ONE, THREE, TWO, Worker, add, remove, running, until
from tests.support.redis_sentinels import MASTER, Sentinels, asked, three_sentinels
from tests.support.waiting import REDIS_S

FOUR = "+66812345674"


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    with three_sentinels() as found:
        yield found


class Following(Worker):
    """A worker that asks sentinels where the list store is."""

    def __init__(self, sentinels: Sentinels, state_dir: Path) -> None:
        super().__init__("redis://127.0.0.1:1/0", state_dir)
        self.refresher = Refresher(
            RefreshSettings(
                sentinels.settings(timeout_s=0.5),
                state_dir,
                {"plain": b""},
                changes_block_ms=50,
                reconcile_s=0.2,
            ),
            self.events.append,
        )


@asynccontextmanager
async def opened(sentinels: Sentinels, **fields):
    async with await ListStore.connect(store_settings(sentinels, **fields)) as store:
        yield store


def store_settings(sentinels: Sentinels, **fields) -> ListStoreSettings:
    return sentinels.settings(timeout_s=REDIS_S, **fields)


async def begun(sentinels: Sentinels) -> None:
    """A list with one number."""
    async with opened(sentinels) as store:
        await store.create(NAME, "plain", BY)
        await add(store, ONE)
    await asyncio.to_thread(sentinels.wait_in_step)


async def position(sentinels: Sentinels) -> tuple[int, str]:
    async with opened(sentinels) as store:
        head = (await store.heads()).lists[NAME]
        return head.generation, head.chain


async def test_a_lagging_replica_gets_back_what_it_lost(sentinels, tmp_path):
    """Changes that only a follower saw are there again, with the chain that they had."""
    await begun(sentinels)
    async with running(Following(sentinels, tmp_path)) as worker:
        async with opened(sentinels) as store:
            with sentinels.cut_off() as primary:
                await add(store, TWO, THREE)
                await remove(store, ONE)
                await store.create("TH/other", "plain", BY)
                await store.allow_add([AllowEntry(FOUR, "ours", "a test", NOW_S)], BY)
                await until(lambda: worker.listed(TWO) and not worker.listed(ONE))
                await until(lambda: "TH/other" in worker.refresher.current.names)
                before = (await store.heads()).lists[NAME]
        await asyncio.to_thread(sentinels.fail_over, primary)
        await until(lambda: len(worker.told(EventKind.PUT_BACK)) == 3)
        assert await position(sentinels) == (before.generation, before.chain)
        await until(lambda: not worker.refresher.behind)
        assert worker.listed(TWO)
        assert not worker.listed(ONE)
        assert not worker.told(EventKind.REGISTER_LOST)
        # Another machine, which saw nothing of it, enforces the same.
        async with running(Following(sentinels, tmp_path / "other")) as other:
            assert other.listed(THREE)
            assert not other.listed(ONE)
            assert "TH/other" in other.refresher.current.names
            assert FOUR in {one.text for one in other.refresher.current.allow.entries()}


async def test_a_follower_that_had_just_begun_puts_back_too(sentinels, tmp_path):
    """It read the lists whole, and their last steps besides: it saw none of them come."""
    await begun(sentinels)
    async with AsyncExitStack() as stack:
        with sentinels.cut_off() as primary:
            async with opened(sentinels) as store:
                await add(store, TWO, THREE)
                await remove(store, ONE)
                await store.allow_add([AllowEntry(FOUR, "ours", "a test", NOW_S)], BY)
                before = (await store.heads()).lists[NAME]
            worker = await stack.enter_async_context(running(Following(sentinels, tmp_path)))
            await until(lambda: worker.listed(THREE))
        await asyncio.to_thread(sentinels.fail_over, primary)
        await until(lambda: len(worker.told(EventKind.PUT_BACK)) == 2)
        assert await position(sentinels) == (before.generation, before.chain)
        await until(lambda: not worker.refresher.behind)
        assert FOUR in {one.text for one in worker.refresher.current.allow.entries()}


async def test_a_list_that_went_on_after_a_fail_over(sentinels, tmp_path):
    """Lost changes lie over newer ones; one whose number was changed since is named as lost."""
    await begun(sentinels)
    async with running(Following(sentinels, tmp_path)) as worker, opened(sentinels) as store:
        with sentinels.cut_off() as primary:
            await add(store, TWO, THREE)
            await until(lambda: worker.listed(THREE))
            log = tmp_path / "lists" / NAME / "changes.jsonl"
            await until(lambda: log.exists() and THREE in log.read_text())
    await asyncio.to_thread(sentinels.fail_over, primary)
    async with opened(sentinels) as store:
        await store.add(NAME, [entry(THREE, source="another")], BY)
        await add(store, FOUR)
    async with running(Following(sentinels, tmp_path)) as worker:
        await until(lambda: bool(worker.told(EventKind.CHANGES_LOST)))
        assert "add +6681" in worker.told(EventKind.CHANGES_LOST)[0]
        await until(lambda: all(map(worker.listed, (ONE, TWO, THREE, FOUR))))
        await until(lambda: not worker.refresher.behind)
        async with opened(sentinels) as store:
            await remove(store, TWO)
            await until(lambda: not worker.listed(TWO))


async def test_a_base_that_only_a_follower_has(sentinels, tmp_path, load):
    """An import that the new primary lacks is written again, byte for byte; so is a promotion."""
    await begun(sentinels)
    target = Target(TrialKind.LIST, NAME)
    turned = Turned(standing=TrialStatus.FORCE, at_s=NOW_S, actor="a test", reason="")
    async with running(Following(sentinels, tmp_path)) as worker:
        async with opened(sentinels) as store, TrialStore.open(store_settings(sentinels)) as trials:
            with sentinels.cut_off() as primary:
                await load(store, [*BASE, TWO])
                await remove(store, BASE[0])
                await trials.turn(target, None, turned, BY, "promote", "")
                await until(lambda: worker.listed(TWO) and not worker.listed(BASE[0]))
                await until(lambda: target in worker.refresher.current.trials.turned)
                before = (await store.heads()).lists[NAME]
        await asyncio.to_thread(sentinels.fail_over, primary)
        await until(lambda: len(worker.told(EventKind.PUT_BACK)) == 2)
        assert await position(sentinels) == (before.generation, before.chain)
        async with running(Following(sentinels, tmp_path / "other")) as other:
            assert other.listed(BASE[1])
            assert not other.listed(BASE[0])
            assert other.refresher.current.trials.turned == {target: turned}
        async with opened(sentinels) as store:
            assert (await store.heads()).lists[NAME].count == before.count


async def test_a_base_of_a_list_that_went_on(sentinels, tmp_path, load):
    """An import that the new primary lacks, though the list was changed and rebuilt since.

    One of two followers publishes it again, with the changes since over it. The other finds nothing
    to do.
    """
    await begun(sentinels)
    # As if another process put back: followers wait for it, and the list goes on meanwhile.
    asked(sentinels.primary().port).set(PUT_BACK, "a test", ex=60)
    await asyncio.to_thread(sentinels.wait_in_step)
    async with (
        running(Following(sentinels, tmp_path / "first")) as first,
        running(Following(sentinels, tmp_path / "second")) as second,
    ):
        async with opened(sentinels) as store:
            with sentinels.cut_off() as primary:
                await load(store, [*BASE, TWO])
                await remove(store, BASE[0], BASE[1])
                await until(lambda: first.listed(TWO) and not first.listed(BASE[1]))
                await until(lambda: second.listed(TWO) and not second.listed(BASE[1]))
        await asyncio.to_thread(sentinels.fail_over, primary)
        async with opened(sentinels) as store:
            await store.add(NAME, [entry(BASE[1], source="another")], BY)
            await add(store, FOUR)
            await rebuild(store, NAME, b"", BY, NOW_S)
            asked(sentinels.primary().port).delete(PUT_BACK)
            now = (BASE[1], BASE[2], TWO, FOUR)
            await until(lambda: all(map(first.listed, now)) and all(map(second.listed, now)))
            assert not any(map(first.listed, (ONE, BASE[0])))
            assert not any(map(second.listed, (ONE, BASE[0])))
            assert not first.refresher.behind
            assert not second.refresher.behind
            lost = first.told(EventKind.CHANGES_LOST) + second.told(EventKind.CHANGES_LOST)
            assert len(lost) == 1  # of a number that was listed again since
            assert f"remove {fingerprint_of(BASE[1]):016x} (" in lost[0]
            put_back = first.told(EventKind.PUT_BACK) + second.told(EventKind.PUT_BACK)
            assert len(put_back) == 1
            steps = await store.past.steps(NAME)
            made = [record.what for one in steps if (record := base_of(one.payload))]
            assert made == ["rebuild", "repair"]


async def test_changes_wait_for_replicas(sentinels):
    """With wait_replicas a change that a fail-over could lose is not reported as done."""
    await begun(sentinels)
    async with opened(sentinels, wait_replicas=2, wait_ms=50_000) as store:
        await add(store, TWO)
    async with opened(sentinels, wait_replicas=2, wait_ms=500) as store:
        with sentinels.cut_off(), pytest.raises(ChangeUnsafe, match="0 of 2 replicas"):
            await add(store, THREE)


async def test_a_demoted_primary_is_left(sentinels, tmp_path):
    """A planned fail-over: clients that stay connected go to the new primary by themselves."""
    await begun(sentinels)
    async with running(Following(sentinels, tmp_path)) as worker, opened(sentinels) as store:
        old = sentinels.primary()
        await asyncio.to_thread(_ask_for_fail_over, sentinels)
        await asyncio.to_thread(sentinels.fail_over, old)
        while True:
            try:
                await add(store, TWO)
                break
            except ListStoreDown:
                continue
        await until(lambda: worker.listed(TWO))


async def test_a_primary_without_sentinels_that_is_demoted(tmp_path):
    """Writes fail and say so, the follower waits and says whose replica it is; then both go on."""
    with best_redis() as server:
        settings = ListStoreSettings(server.url(), timeout_s=REDIS_S)
        async with await ListStore.connect(settings) as store:
            await store.create(NAME, "plain", BY)
            async with running(Worker(server.url(), tmp_path)) as worker:
                # Nobody is there, so it keeps its data.
                asked(server.port).replicaof("127.0.0.1", 1)
                with pytest.raises(ListStoreDown, match="read only replica"):
                    await add(store, ONE)
                await until(lambda: bool(worker.told(EventKind.REGISTER_UNSAFE)))
                assert "is a replica of 127.0.0.1:1 " in worker.told(EventKind.REGISTER_UNSAFE)[0]
                asked(server.port).replicaof("no", "one")
                await add(store, ONE)
                await until(lambda: worker.listed(ONE))


async def test_proxies_and_sessions_follow_the_primary(sentinels):
    """A client that stays open fails once at most for each connection, and finds the new one."""
    async with ProxyRedis(store_settings(sentinels)) as proxies:
        before = await proxies.standing()
        await proxies.complete("b", before.run, before.data)
        old = sentinels.primary()
        await asyncio.to_thread(sentinels.wait_in_step)
        await asyncio.to_thread(old.kill)
        await asyncio.to_thread(sentinels.fail_over, old)
        with suppress(ProxiesDown):
            assert not await proxies.beat("b", before.run, NOW_S, 0, "", 1)
        after = await proxies.standing()
        assert after.run != before.run
        assert not after.whole  # another process: the sink compares all keys


async def test_doctor_asks_the_sentinels(sentinels):
    """All well; a password that is none; then a sentinel, the replicas and the name missing."""
    people = {"sentinel_username": "nobody", "sentinel_password": "none"}
    refused = await check_list_store(store_settings(sentinels, **people))
    assert refused[0].fix.endswith("RINGFENCE_REDIS_SENTINEL_PASSWORD")
    assert "no sentinel names a primary that is up (AuthenticationError)" in refused[-1].said
    lines = await check_list_store(store_settings(sentinels, wait_replicas=2))
    assert Grade.FAIL not in {line.grade for line in lines}, lines
    assert lines[0].said == "3 sentinels agree on the primary, and have a quorum"
    primary = asked(sentinels.primary().port)
    for server in [next(iter(sentinels.sentinels.values())), *sentinels.replicas()]:
        await asyncio.to_thread(server.kill)
    await until(lambda: primary.info("replication")["connected_slaves"] == 0)
    settings = store_settings(sentinels, wait_replicas=2)
    said = [line.said for line in await check_list_store(settings) if line.grade is not Grade.OK]
    assert re.search("sentinel .* does not answer", said[0])
    assert "0 replicas are online, wait_replicas is 2: no change counts as done" in said
    wrong = replace(settings, sentinel_master="another")
    lines = await check_list_store(wrong)
    assert sum("No such master" in line.said for line in lines) == 2
    assert "no sentinel names a primary that is up (ConnectionError)" in lines[-1].said


def _ask_for_fail_over(sentinels: Sentinels) -> None:
    port = next(iter(sentinels.sentinels))
    asked(port).execute_command("SENTINEL", "FAILOVER", MASTER)
