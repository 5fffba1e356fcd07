"""Faults of the product that the simulation found, each alone and by hand."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import SourceDown
from stream.kafka import aiokafka_patches
from stream.kafka.batch import Partition
from stream.kafka.consumer import KafkaSource
from stream.kafka.settings import TopicsSettings
from stream.kafka.topics import check_topics
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.simulation import faults
from tests.simulation.history import History
from tests.simulation.kafka.cluster import BEHIND_S, View, slot_of
from tests.simulation.kafka.errors import Code
from tests.simulation.kafka.groups import Group, State
from tests.simulation.plan import Plan, Swarm
from tests.simulation.store.ensemble import Ensemble, StorePace
from tests.simulation.worker import settings_for
from tests.simulation.world import World, left_in_the_middle
from tests.support.builders import entry
from tests.support.record_batches import Row, batch

GROUP = "ringfence"


def source(world: World, **changes: Any) -> KafkaSource:
    """A member of the workers' group."""
    settings = settings_for(world.cluster.bootstrap, Path("unused"))
    chosen = replace(settings.calls.source(""), **changes)
    return KafkaSource(settings.kafka_client(), chosen, lambda _: None)


def with_calls(world: World) -> Group:
    """Write 50 calls to one partition; the group that will read them."""
    world.cluster.create("calls", 1)
    for _ in range(5):
        rows = [Row(delta, b"{}") for delta in range(10)]
        world.cluster.log("calls", 0).append(batch(0, rows))
    return world.cluster.group(GROUP)


async def begun(member: KafkaSource, partitions: int) -> dict[Partition, int]:
    """Wait until it reads so many partitions; where it began."""
    while len(member.starts) < partitions:
        if member.revoking:
            member.released()
        await member.next_batch(100, 50)
    return dict(member.starts)


def begins_where_committed(
    tell: Callable[[World, Group, float], None] = lambda *_: None, **changes: Any
) -> bool:
    """Check that a member begins where its group committed, though the coordinator still loads.

    It loads for half a second. `tell` gets the world, the group and the end of the load, and says
    what the coordinator tells from then on.
    """

    async def main(world: World) -> dict[Partition, int]:
        await world.start()
        group = with_calls(world)
        group.offsets["calls", 0] = (30, "")
        member = source(world, **changes)
        await member.start()
        while not group.assignments:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.0001)
        world.cluster.loading_s[slot_of(GROUP)] = loaded_s = world.loop.time() + 0.5
        tell(world, group, loaded_s)
        starts = await begun(member, 1)
        await member.stop()
        return starts

    return World(1).run(main) == {Partition("calls", 0): 30}


@pytest.mark.parametrize("start_at", ["earliest", "latest"])
def test_a_coordinator_that_loads_does_not_make_a_group_begin_again(start_at):
    """Positions are asked for until there is an answer: none is passed over, none repeated."""
    assert begins_where_committed(start_at=start_at)


@pytest.mark.parametrize("empty", [True, False])
def test_a_coordinator_that_has_just_come_back_is_not_believed(empty):
    """It tells what it knew some seconds before its crash, or nothing, and no error.

    Of 10 runs of twenty rounds of kills one decided 147,680 calls a second time.
    """

    def tell(_: World, group: Group, loaded_s: float) -> None:
        group._before["calls", 0] = (10, "")
        group._behind, group._behind_s = {} if empty else group._before, loaded_s + BEHIND_S

    assert begins_where_committed(tell)


def test_positions_that_still_move_are_not_believed():
    """A coordinator reads for longer than its positions must stay the same; they get newer.

    So Apache Kafka 4.1.1 did with 1.2 million positions on a busy machine, for six seconds.
    """

    def tell(world: World, group: Group, loaded_s: float) -> None:
        group._behind, group._behind_s = {}, loaded_s + 30
        for at in range(10):
            move = partial(group._behind.__setitem__, ("calls", 0), (at, ""))
            world.loop.call_at(loaded_s + 3 * at, move)

    assert begins_where_committed(tell)


async def _joined_while_it_loads(world: World) -> dict[Partition, int]:
    """A member whose coordinator begins to load the group between the two steps of its join."""
    await world.start()
    group = with_calls(world)
    member = source(world)
    await member.start()
    while group.state is not State.COMPLETING:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.0001)
    world.cluster.loading_s[slot_of(GROUP)] = world.loop.time() + 0.5
    try:
        async with asyncio.timeout(60):
            return await begun(member, 1)
    finally:
        await member.stop()


def test_a_coordinator_that_loads_does_not_keep_a_member_out():
    """The member joins again. It waited for ever, without partitions and without a word.

    Seed 30048: a broker that led the group was killed as a worker joined.
    """
    assert World(1).run(_joined_while_it_loads) == {Partition("calls", 0): 0}


def test_an_error_of_the_group_ends_a_worker_without_partitions(monkeypatch):
    """The worker sees it, since aiokafka joins no more until then; and the worker starts again."""
    monkeypatch.setattr(aiokafka_patches, "_joined", lambda answer: answer)
    with pytest.raises(SourceDown, match="GroupLoadInProgressError"):
        World(1).run(_joined_while_it_loads)


def test_a_transaction_that_still_ends_is_waited_for():
    """Its positions count before its partitions are read on: no call is decided in two of them.

    Seed 1163: a worker lost its partitions while a broker was down, and left. Its transaction was
    committed after that. Who had its partitions by then had begun at the positions before.
    """

    async def main(world: World) -> dict[Partition, int]:
        await world.start()
        group = with_calls(world)
        group.offsets["calls", 0] = (10, "")
        group.pending[1000] = {("calls", 0): (30, "")}
        world.loop.call_later(8, partial(group.end_transaction, 1000, commits=True))
        member = source(world)
        await member.start()
        starts = await begun(member, 1)
        await member.stop()
        return starts

    assert World(1).run(main) == {Partition("calls", 0): 30}


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_worker_whose_connections_are_all_lost_reads_in_time(seed):
    """A firewall forgot them as it started. Nothing is acknowledged, so each ends after 10 s.

    With 40 s for each question it took up to 200 s, with 10 s for small ones up to 90 s.
    """

    async def main(world: World) -> float:
        await world.start()
        group = with_calls(world)
        member = source(world)
        process = world.process("worker")
        await process.run(member.start())
        while not group.assignments:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.0001)
        for pipe in world.network.connections("worker"):
            world.network.forget(pipe)
        lost_s = world.loop.time()
        await process.run(begun(member, 1))
        took_s = world.loop.time() - lost_s
        await process.run(member.stop())
        return took_s

    assert World(seed).run(main) < 60


def test_added_partitions_are_read_though_the_leader_was_restarted():
    """A static member that led its group does not learn that it leads: it looks all the same."""

    async def main(world: World) -> tuple[int, float]:
        await world.start()
        world.cluster.create("calls", 2)
        process = world.process("worker")

        async def life() -> None:
            member = source(world, instance_id="worker")
            await member.start()
            await begun(member, 2)
            await asyncio.sleep(1000)

        process.run(life())
        await asyncio.sleep(2)
        assert world.cluster.group(GROUP).generation == 1
        process.kill()
        again = source(world, instance_id="worker")
        await again.start()
        await begun(again, 2)
        assert world.cluster.group(GROUP).generation == 1, "it was given back what it had"
        added_s = world.loop.past_s
        world.cluster.add_partitions("calls", 3)
        starts = await begun(again, 3)
        await again.stop()
        return len(starts), world.loop.past_s - added_s

    partitions, took_s = World(1).run(main)
    assert partitions == 3
    assert took_s < 60


def test_a_topic_that_the_next_broker_does_not_know_yet_stops_no_start():
    """News takes a moment: the answer that names all topics counts, not the one after it."""

    async def main(world: World) -> int:
        await world.start()
        for topic in ("calls", "decisions", "rejected"):
            world.cluster.create(topic, 2)
        await asyncio.sleep(1)
        views = world.cluster.views
        known = views[0]
        kafka = settings_for(world.cluster.bootstrap, Path("unused")).kafka_client()
        topics = TopicsSettings(("calls",), "decisions", "rejected", 2, 1)
        for seed in range(20):
            views[seed % 3] = View(known.brokers)
            world.loop.call_later(0.4, views.__setitem__, seed % 3, known)
            await check_topics(kafka, topics, 1, lambda _: None)
            await asyncio.sleep(1)
        return seed

    assert World(1).run(main) == 19


@asynccontextmanager
async def followed(world: World, state_dir: Path) -> AsyncIterator[tuple[ListStore, Refresher]]:
    """A list store of one server, and a worker's follower of it."""
    store = Ensemble(world.network, StorePace(), servers=1, sentinels=0)
    await store.start()
    settings = ListStoreSettings(store.url)
    follower = Refresher(RefreshSettings(settings, state_dir, {"plain": b""}))
    following = asyncio.create_task(follower.run())
    async with await ListStore.connect(settings) as lists:
        yield lists, follower
    following.cancel()


def test_a_list_that_is_withdrawn_and_made_again_is_empty_at_once(tmp_path):
    """A follower that reads it between the two steps reads it once more.

    Else its numbers stayed blocked until heads were compared, 10 s later.
    """
    by, name = By("somchai", "a test"), "TH/national"

    async def main(world: World) -> list[int]:
        left = []
        async with followed(world, tmp_path) as (lists, follower):
            for pause in range(20):
                await lists.create(name, "plain", by)
                await lists.add(name, [entry("+447700900101")], by)
                await asyncio.sleep(0.5)
                await lists.delete(name, by)
                await asyncio.sleep(pause / 10_000)
                await lists.create(name, "plain", by)
                await asyncio.sleep(0.5)
                left += [len(live.overlay) for live in follower.current.lists]
                await lists.delete(name, by)
                await asyncio.sleep(0.5)
        return left

    assert World(1).run(main) == [0] * 20


def test_allow_entries_made_at_one_moment_are_all_in_force(tmp_path):
    """Each is a step, and one may come while the allowlist is read for the step before.

    Seed 211: the second hospital's number stayed blocked until heads were compared, 10 s later.
    """
    by = By("somchai", "a test")

    async def main(world: World) -> list[int]:
        missing = []
        async with followed(world, tmp_path) as (lists, follower):
            for first in range(0, 60, 3):
                numbers = [f"+4477009001{number:02d}" for number in range(first, first + 3)]
                await asyncio.sleep(0.5)
                await lists.allow_add([AllowEntry(one, "", "somchai", 0) for one in numbers], by)
                await asyncio.sleep(0.5)
                missing.append(first + 3 - len(follower.current.allow.numbers))
        return missing

    assert World(1).run(main) == [0] * 20


def test_who_died_while_it_put_back_keeps_nobody_waiting():
    """Others wait for a process that lives, as long as that takes, and seconds for a dead one.

    Seed 7900016, three times as long: a fail-over had the lock of a worker, and not its release.
    Another worker enforced no change for the minute until it ran out.
    """

    async def main(world: World) -> tuple[bool, float]:
        store = Ensemble(world.network, StorePace(), servers=1, sentinels=0)
        await store.start()
        settings = ListStoreSettings(store.url)

        async def holding() -> None:
            async with await ListStore.connect(settings) as lists, lists.putting_back():
                await asyncio.sleep(3600)

        async def waiting() -> None:
            async with await ListStore.connect(settings) as lists, lists.putting_back():
                pass

        holder = world.process("worker-0")
        holder.run(holding())
        await asyncio.sleep(1)
        other = asyncio.create_task(waiting())
        await asyncio.sleep(40)
        waited = not other.done()
        holder.kill()
        killed_s = world.loop.time()
        await other
        return waited, world.loop.time() - killed_s

    with left_in_the_middle():
        waited, after_s = World(1).run(main)
        gc.collect()
    assert waited
    assert after_s < 6


def test_records_refused_in_a_transaction_do_not_stop_those_after_it(monkeypatch):
    """The producer has counted them, the broker has not: only a new producer can go on.

    Seed 93: each transaction after it was aborted for the gap, for ever, and nothing was decided.
    """
    monkeypatch.setattr(faults, "_REFUSED", ((0, Code.TOPIC_AUTHORIZATION_FAILED),))
    plan = replace(Plan.of(1), swarm=Swarm(refuse=2.0), exactly_once=True, workers=1, lists=None)
    with left_in_the_middle():  # a history keeps its killed workers until it is collected
        calls = History(plan).run().calls
        gc.collect()
    assert calls
