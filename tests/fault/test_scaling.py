"""Workers that the group's lag brings and takes away, as KEDA does: nothing is lost or wrong.

Each round begins with the death of the last worker. Lag grows until all are wanted; they join at
once, catch up, and leave in order one after the other. RINGFENCE_FAULT_ROUNDS says how often.
"""

import asyncio
import math
import os
from collections.abc import Sequence

import pytest

from tests.fault.engine import Engine
from tests.fault.site import Site
from tests.fault.traffic import Load, flowing, judge
from tests.support.waiting import TRANSACTIONS_MS, until

pytestmark = [
    pytest.mark.apache_kafka,
    # A round is six starts of an engine.
    pytest.mark.campaign,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

ROUNDS = max(1, int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2")) // 5)
PER_S = 1000
LAG = 3000
"""Records behind, for each worker: more than lies between two commits on a busy machine."""
MOST = 3


async def lag_of(site: Site) -> int:
    """Records that lie behind what the group has committed, as KEDA counts them."""
    ends, held = await asyncio.gather(site.ends(), site.committed())
    return sum(end - max(held.get(tp, 0), 0) for tp, end in ends.items())


class Scaler:
    """Starts a worker for each `LAG` records behind, and stops one at a time where fewer do."""

    def __init__(self, site: Site, workers: Sequence[Engine]) -> None:
        self._site = site
        self._workers = workers
        self.running = 0
        self.joined = 0
        self.left = 0

    async def look(self) -> None:
        """Ask for the lag once, and act on it."""
        lag = await lag_of(self._site)
        wanted = min(max(math.ceil(lag / LAG), 1), len(self._workers))
        if wanted < self.running:
            self.running -= 1
            self.left += 1
            assert await self._workers[self.running].stop() == 0
        elif wanted > self.running:
            await asyncio.gather(*(one.ready() for one in self._workers[self.running : wanted]))
            self.joined += wanted - self.running
            self.running = wanted


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param({"session_timeout_ms": 6000}, id="at least once"),
        pytest.param(
            {
                "delivery": "exactly_once",
                "session_timeout_ms": TRANSACTIONS_MS,
                "leave_on_stop": True,
            },
            id="exactly once, with names",
        ),
    ],
)
async def test_workers_come_and_go_with_the_lag(site, measured, calls):
    """All are there while the group is behind, one when it is not, and every call is decided."""
    named = "leave_on_stop" in calls
    workers = [
        site.engine(
            name=f"worker-{number}",
            calls={**calls, "instance_id": f"worker-{number}" if named else ""},
        )
        for number in range(MOST)
    ]
    first, *others = workers
    scaler = Scaler(site, workers)

    async def all_wanted() -> bool:
        return await lag_of(site) > (MOST - 1) * LAG

    async def one_left() -> bool:
        await scaler.look()
        return scaler.running == 1

    with first, others[0], others[1]:
        async with Load(site, PER_S) as load:
            for number in range(ROUNDS):
                if number:
                    first.kill()
                    scaler.running = 0
                await until(all_wanted, "the lag to grow while nobody decides")
                await scaler.look()
                assert scaler.running == MOST
                for worker in workers:
                    await worker.until(lambda worker=worker: flowing(worker), "to decide calls")
                await until(one_left, "the lag to go, and all workers but one")
            await load.end()
            await site.drained(first)
        await first.reads(site.partitions)
        assert await first.stop() == 0
    verdict = await judge(site, load.sent)
    measured(
        f"scaled by lag, {calls.get('delivery', 'at_least_once')}: {scaler.joined} joined, "
        f"{scaler.left} left in order, {ROUNDS - 1} killed: {verdict}"
    )
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats or not named
