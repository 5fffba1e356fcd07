"""Decision latency: from the append of a CDR to the append of its decision, both by Kafka's clock.

Compared: `ringfence run` with 64 lists of 1M numbers against the plain loop with ONE of them, in
the same run, at the same rates, rounds interleaved. A decision for every CDR at 200 and 2,000/s;
for listed callers only (2 %) at 20,000/s, where the plain loop could not keep up with all.

Both topics stamp records when the broker appends them (`LogAppendTime`), so neither the load's
sending nor anybody's reading of the decisions counts in; the stamps are whole milliseconds, so a
single latency is right within 1 ms. The first quarter of each run is dropped. The load generator
(load.py) shares core 0 with the broker and reports its own lateness: hand-over to its client, and
append by the broker, after the due time; a run whose load was late is a run on a busy machine.

Not the same: as for the throughput (bench_throughput.py). The plain loop's clients have
their default waits, Ringfence those of its default configuration.

Target: p99 at 20,000/s at most half of the plain loop's.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench import snapshots
from tests.bench.engine import PLAIN_LOOP, READY_S, RINGFENCE, Setup, Work, plain_loop, ringfence
from tests.bench.lab import Lab
from tests.bench.machine import Sampler
from tests.bench.process import Process
from tests.bench.report import Report, Row, Target, ratio

EMIT_ALL_RATE_MAX = 2_000
SETTLE_S = 5.0
"""For a peer that can not say that it is ready: import, join the group, fetch once."""
PREPARED_PER_S = 100_000
"""Records that the load generator surely makes in a second, beside a busy broker."""
STILL_S = 2.0
TIMEOUT_S = 120.0

Start = Callable[[Work], Awaitable[Process]]


@dataclass(frozen=True, slots=True)
class Delay:
    """One round of one peer: percentiles of its latency and of the load's lateness, in ms.

    `busy` is the share of its core's time that the peer used.
    """

    p50_ms: float
    p99_ms: float
    busy: float
    load_sent_p99_ms: float
    load_appended_p99_ms: float

    def __str__(self) -> str:
        return (
            f"p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms, {self.busy:.0%} of its core busy;"
            f" load appended late, p99 {self.load_appended_p99_ms:.0f} ms"
        )


async def run(lab: Lab) -> list[Report]:
    """All rates, one report."""
    state, bloom = snapshots.state_dir(lab), snapshots.bloom_file(lab)

    async def start_plain(work: Work) -> Process:
        process = plain_loop(lab, work, bloom)
        await asyncio.sleep(SETTLE_S)
        return process

    async def start_ours(work: Work) -> Process:
        process, port = ringfence(lab, work, Setup(state))
        await asyncio.to_thread(process.wait_until_ready, port, READY_S)
        return process

    peers: dict[str, Start] = {
        f"{PLAIN_LOOP}, 1 list": start_plain,
        f"{RINGFENCE}, {lab.scale.lists} lists": start_ours,
    }
    report = Report("latency")
    for rate in lab.scale.rates:
        delays: dict[str, list[Delay]] = {name: [] for name in peers}
        for number in range(lab.scale.latency_rounds):
            for peer, start in peers.items():
                delay = await _round(lab, rate, start)
                lab.say(f"{rate}/s, round {number + 1}, {peer}: {delay}")
                delays[peer].append(delay)
        for peer, rounds in delays.items():
            report.rows.append(Row(f"{peer}, {rate:,}/s", _figures(rounds)))
        plain, ours = delays.values()
        if rate == max(lab.scale.rates):
            report.targets.append(
                Target(
                    f"p99 at {rate:,}/s / plain loop's",
                    ratio([delay.p99_ms for delay in ours], [delay.p99_ms for delay in plain]),
                    "x",
                    0.5,
                    less=True,
                )
            )
    return [report]


def prepare_s(rate: int, seconds: int) -> float:
    """How long the load generator may take before its first record is due."""
    return 3.0 + rate * seconds / PREPARED_PER_S


async def under_load(
    lab: Lab,
    work: Work,
    process: Process,
    rate: int,
    seconds: int,
    more: tuple[str, ...] = (),
    *,
    start_at: float,
) -> dict[str, float]:
    """Send `rate` CDR/s to `work.calls` from `start_at` on; the load's lateness at its end."""
    out = lab.run / f"{work.calls}.load.json"
    arguments = [
        *("--bootstrap", lab.broker.bootstrap, "--topic", work.calls, "--rate", str(rate)),
        *("--seconds", str(seconds), "--list-size", str(lab.scale.numbers)),
        *("--start-at", str(start_at), "--report", str(out), *more),
    ]
    log = out.with_suffix(".log")
    with Process("load", "tests.bench.load", arguments, lab.cores.broker, log) as load:
        await asyncio.to_thread(load.wait, seconds + TIMEOUT_S)
    process.check()
    lateness: dict[str, float] = json.loads(out.read_text())
    return lateness


async def _round(lab: Lab, rate: int, start: Start) -> Delay:
    work = Work(
        calls=lab.new_name("calls"),
        decisions=lab.new_name("decisions"),
        emit_all=rate <= EMIT_ALL_RATE_MAX,
    )
    topics = (work.calls, work.decisions, f"{work.decisions}.rejected")
    await lab.topics.create(*topics)
    with await start(work) as process:
        start_at = time.time() + prepare_s(rate, lab.scale.latency_s)
        seconds = lab.scale.latency_s
        with Sampler(process.pid) as sampler:
            lateness = await under_load(lab, work, process, rate, seconds, start_at=start_at)
        busy = sampler.cpu_between(start_at, start_at + seconds) / seconds
        calls = await lab.topics.read(work.calls, lambda _: 0)
        least = len(calls.calls) if work.emit_all else 1
        await lab.topics.wait_until_steady(work.decisions, least, STILL_S, TIMEOUT_S, process.check)
    decisions = await lab.topics.read(work.decisions, lambda _: 0)
    await lab.topics.delete(*topics)
    appended_ms = np.zeros(len(calls.calls), np.int64)
    appended_ms[calls.calls] = calls.at_ms
    latency_ms = _settled(decisions.at_ms, appended_ms[decisions.calls])
    p50, p99 = np.percentile(latency_ms, [50, 99])
    return Delay(float(p50), float(p99), busy, lateness["sent_p99"], lateness["appended_p99"])


def _settled(decided_ms: NDArray[np.int64], called_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Latencies of all calls but those of the first quarter of the run."""
    start, stop = called_ms.min(), called_ms.max()
    kept = called_ms >= start + (stop - start) // 4
    settled: NDArray[np.int64] = (decided_ms - called_ms)[kept]
    return settled


def _figures(rounds: list[Delay]) -> dict[str, list[float]]:
    return {
        "p50 ms": [delay.p50_ms for delay in rounds],
        "p99 ms": [delay.p99_ms for delay in rounds],
        "core busy %": [100 * delay.busy for delay in rounds],
        "load handed over late, p99 ms": [delay.load_sent_p99_ms for delay in rounds],
        "load appended late, p99 ms": [delay.load_appended_p99_ms for delay in rounds],
    }
