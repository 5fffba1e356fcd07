"""Faults of sinks that the simulation found, each alone and by hand."""

import asyncio

import pytest

from stream.core.filters.blocklists import Blocklists
from tests.simulation.sinking import SinkFaults, Sinking, SinkPlan
from tests.simulation.store.ensemble import StorePace
from tests.simulation.worker import Sink, settings_for
from tests.simulation.world import World
from tests.support.builders import blocklists, live
from tests.support.record_batches import Row, batch
from tests.support.sinks import block

NUMBERS = [f"+4477009001{number:02d}" for number in range(6)]
LISTS = blocklists(live("KH/scam", *NUMBERS))


class Desk:
    """Two sinks of one group, on a topic of three partitions with two blocks in each."""

    def __init__(self, world: World, folder, lists: Blocklists = LISTS) -> None:
        self.found: list[str] = []
        self.world, self.folder, self.lists = world, folder, lists

    async def start(self) -> None:
        world = self.world
        await world.start()
        world.cluster.create("calls", 1)
        world.cluster.create("decisions", 3)
        world.cluster.create("calls.rejected", 1)
        for number in range(3):
            rows = [Row(n, block(one)) for n, one in enumerate(NUMBERS[number::3])]
            now_ms = world.loop.wall_ms
            world.cluster.log("decisions", number).append(batch(0, rows, times_ms=(now_ms, now_ms)))
        plan = SinkPlan(SinkFaults(), StorePace(), sentinels=False, sinks=2, preload=False)
        self.sinking = sinking = Sinking(
            world,
            plan,
            lambda: [world.cluster.log("decisions", n) for n in range(3)],
            lambda: frozenset(NUMBERS),
            {},
            self.found.append,
            fixed=True,
        )
        await sinking.start()
        base = settings_for(world.cluster.bootstrap, self.folder)
        for name in ("sink-0", "sink-1"):
            settings = sinking.settings(base, self.folder / name)
            sinking.sinks.append(Sink(world, name, settings, self.lists, self.found.append))
            sinking.sinks[-1].start()
        await sinking.until_settled()


@pytest.mark.parametrize("away", [False, True], ids=["both run", "one away"])
def test_each_sink_fills_an_empty_redis_with_its_own_partitions(tmp_path, away):
    """Keys of all partitions come back, also where a sink begins again after the other was done.

    One found the keys complete as soon as the other had read its own partitions: numbers of its
    partitions were not blocked until their next call.
    """

    async def main(world: World) -> list[str]:
        desk = Desk(world, tmp_path)
        await desk.start()
        sinking = desk.sinking
        if away:
            sinking.sinks[1].kill()
        sinking.store.kill(0)
        sinking.store.empty(0)
        await sinking.store.start_server(0)
        # The other one is done with its own by then, and has not got those of the dead one.
        await asyncio.sleep(5.0)
        sinking.sinks[1].start()
        await sinking.until_settled()
        return desk.found

    assert World(1).run(main) == []
