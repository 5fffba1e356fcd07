"""One, two and four workers on two cores: how much more do several decide than one?

No peer. `ringfence run --workers N` with 64 lists of 1M numbers, one worker on one core and several
on two, all on the same preloaded topic (bench_throughput.py says of what), decisions for blocks.
The broker may run on both cores, since there are no others: it only hands out what its page cache
holds. What it used is shown, because it is what the workers cannot have.

So that all workers begin at the same moment, the topic's records are one open transaction, which
is committed when the workers have their partitions and have waited for records. The rate is the
progress from a tenth to nine tenths of the topic by Kafka's append time of the decisions. "By CPU"
is what is left of one worker's rate when there are N: N if they disturb each other in nothing,
what machines with cores for all of them and for the broker would show.

Target: two on two cores, at least 1.7 times one, aim 1.9; four by CPU, at least 3, aim 3.6.
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
COUNTS = (1, 2, 4)


async def run(lab: Lab) -> list[Report]:
    """Rounds of four workers, then two, then one, on the same topic."""
    report = Report("workers")
    if not lab.cores.pinned:
        return [Report("workers", notes=["NOT MEASURED: there is one core"])]
    state = snapshots.state_dir(lab)
    made = traffic(lab.scale.records[LONG], lab.scale.numbers, seed=3)
    paces: dict[int, list[dict[str, float]]] = {workers: [] for workers in COUNTS}
    for number in range(lab.scale.rounds):
        topic = lab.new_name("calls")
        lab.say(f"Filling {topic} with {len(made):,} records")
        await lab.topics.create(topic)
        async with lab.topics.held(topic, made) as release:
            first = max(COUNTS)
            paces[first].append(await _paced(lab, made, topic, Setup(state), first, release))
        for workers in sorted({*COUNTS} - {first}, reverse=True):
            paces[workers].append(await _paced(lab, made, topic, Setup(state), workers, _nothing))
        await lab.topics.delete(topic)
        for workers, rounds in paces.items():
            lab.say(f"round {number + 1}, workers: {workers}, {rounds[-1][RATE]:,.0f} CDR/s")
    rows = {workers: Row.of(f"workers: {workers}", paces[workers]) for workers in COUNTS}
    report.rows = [*rows.values()]
    rates = ratio(rows[2].figures[RATE], rows[1].figures[RATE])
    report.targets.append(Target("CDR/s of two workers / of one", rates, "x", 1.7, 1.9))
    by_cpu = {
        workers: workers * ratio(rows[1].figures[CPU], row.figures[CPU])
        for workers, row in rows.items()
    }
    # By CPU it is as with the broker on another machine.
    report.targets.append(Target("two workers / one, by CPU", by_cpu[2], "x", 1.9, 1.97))
    report.targets.append(Target("four workers / one, by CPU", by_cpu[4], "x", 3, 3.6))
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
