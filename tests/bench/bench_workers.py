"""Two workers on two cores: how much more do they decide than one, when the broker is all but idle?

No peer. `ringfence run --workers 2` with 64 lists of 1M numbers on two cores, against one worker on
one, both on the same preloaded topic (bench_throughput.py says of what), decisions for blocks. The
broker may run on both cores, since there are no others: it only hands out what its page cache
holds. What it used is shown, because it is what two workers cannot have.

So that both workers begin at the same moment, the topic's records are one open transaction, which
is committed when the workers have their partitions and have waited for records. The rate is the
progress from a tenth to nine tenths of the topic by Kafka's append time of the decisions. "By CPU"
is what is left of one worker's rate when there are two: 2 if they disturb each other in nothing,
what a machine with a core for the broker would show.

Target: at least 1.7 times one worker, aim 1.9.
"""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from tests.bench import snapshots
from tests.bench.bench_throughput import CPU, RATE, STILL_S, TIMEOUT_S, progress
from tests.bench.engine import READY_S, Setup, ringfence
from tests.bench.lab import LONG, Lab
from tests.bench.machine import Sampler, moved
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import Traffic, traffic

SETTLED_S = 4.0
"""After the last worker said that it is ready: a rebalance it caused is over."""


async def run(lab: Lab) -> list[Report]:
    """Rounds of two workers, then one, on the same topic."""
    report = Report("workers")
    if not lab.cores.pinned:
        return [Report("workers", notes=["NOT MEASURED: there is one core"])]
    state = snapshots.state_dir(lab)
    made = traffic(lab.scale.records[LONG], lab.scale.numbers, seed=3)
    paces: dict[int, list[dict[str, float]]] = {2: [], 1: []}
    for number in range(lab.scale.rounds):
        topic = lab.new_name("calls")
        lab.say(f"Filling {topic} with {len(made):,} records")
        await lab.topics.create(topic)
        async with lab.topics.held(topic, made) as release:
            paces[2].append(await _paced(lab, made, topic, Setup(state), 2, release))
        paces[1].append(await _paced(lab, made, topic, Setup(state), 1, _nothing))
        await lab.topics.delete(topic)
        for workers, rounds in paces.items():
            lab.say(f"round {number + 1}, workers: {workers}, {rounds[-1][RATE]:,.0f} CDR/s")
    one, two = report.rows = [Row.of(f"workers: {each}", paces[each]) for each in (1, 2)]
    rates = ratio(two.figures[RATE], one.figures[RATE])
    report.targets.append(Target("CDR/s of two workers / of one", rates, "x", 1.7, 1.9))
    cpu = 2 * ratio(one.figures[CPU], two.figures[CPU])
    report.notes.append(f"by CPU, as with the broker elsewhere: {cpu:.2f} x")
    return [report]


async def _nothing() -> None:
    """The topic can be read already."""


async def _paced(
    lab: Lab,
    made: Traffic,
    topic: str,
    setup: Setup,
    workers: int,
    release: Callable[[], Awaitable[None]],
) -> dict[str, float]:
    """Let `workers` work through the topic, which `release` makes readable."""
    both = (lab.cores.engine, lab.cores.broker)
    broker = lab.broker.pid
    async with lab.work(topic) as work:
        process, port = ringfence(lab, work, setup, workers=workers, cores=both[:workers])
        with process, moved(broker, both), Sampler(process.pid) as used, Sampler(broker) as served:
            await asyncio.to_thread(process.wait_until_ready, port, READY_S)
            await asyncio.sleep(SETTLED_S)
            await release()
            await lab.topics.wait_until_steady(
                work.decisions, int(made.listed.sum()), STILL_S, TIMEOUT_S, process.check
            )
        decisions = await lab.topics.read(work.decisions, lambda _: 1)
    at_ms, done = progress(decisions)
    start, stop = (int(np.searchsorted(done, len(made) * share)) for share in (0.1, 0.9))
    start_s, stop_s = float(at_ms[start]) / 1000, float(at_ms[stop]) / 1000
    records = int(done[stop] - done[start])
    return {
        RATE: records / (stop_s - start_s),
        CPU: used.cpu_between(start_s, stop_s) / records * 1e6,
        "of the broker": served.cpu_between(start_s, stop_s) / records * 1e6,
    }
