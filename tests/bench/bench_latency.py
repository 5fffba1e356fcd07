"""Decision latency: from the append of a CDR to the append of its decision, both by Kafka's clock.

Compared: `ringfence run` with 64 lists of 1M numbers, at least once and exactly once, against the
plain loop and the franz-go loop that stops at the caller with ONE of them, in the same run, at the
same rates, rounds interleaved. A decision for every CDR at 200 and 2,000/s; for listed callers
only (2 %) at 20,000/s, where the plain loop could not keep up with all.

Both topics stamp records when the broker appends them (`LogAppendTime`), so neither the load's
sending nor anybody's reading of the decisions counts in; the stamps are whole milliseconds, so a
single latency is right within 1 ms. A decision in a transaction counts from the append of its
commit, since no careful reader sees it before. The first quarter of each run is dropped. The load
generator (load.py) shares core 0 with the broker and reports its own lateness: hand-over to its
client, and append by the broker, after the due time; a run whose load was late is a run on a
busy machine.

Not the same: as for the throughput (bench_throughput.py). The plain loop's clients have
their default waits, Ringfence those of its default configuration; franz-go's linger is 0.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tests.bench import alternatives, snapshots
from tests.bench.alternatives import Peer, Work
from tests.bench.engine import READY_S, RINGFENCE, Setup, ringfence
from tests.bench.lab import Lab
from tests.bench.machine import Sampler
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio

EMIT_ALL_RATE_MAX = 2_000
SETTLE_S = 5.0
"""For a peer that cannot say that it is ready: start, join the group, fetch once."""
PROMISED = (2_000, 20_000)
MOST = {alternatives.PLAIN_LOOP: (0.5, 0.25), alternatives.GO_EARLY: (2, 1)}
"""p99 as a multiple of a peer's, at most: floor and aim."""
PREPARED_PER_S = 100_000
"""Records that the load generator surely makes in a second, beside a busy broker."""
STILL_S = 2.0
TIMEOUT_S = 120.0


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
    once: dict[str, dict[str, object]] = {"calls": {"delivery": "exactly_once"}}
    ours = f"{RINGFENCE}, {lab.scale.lists} lists"
    peers = [
        alternatives.plain_loop(lab),
        *alternatives.franz_go(lab),
        ready(lab, ours, Setup(snapshots.state_dir(lab))),
        ready(lab, f"{ours}, exactly once", Setup(snapshots.state_dir(lab), more=once)),
    ]
    report = Report("latency")
    for rate in lab.scale.rates:
        delays: dict[str, list[Delay]] = {peer.name: [] for peer in peers}
        for number in range(lab.scale.latency_rounds):
            for peer in peers:
                delay = await delay_of(lab, rate, peer)
                lab.say(f"{rate}/s, round {number + 1}, {peer.name}: {delay}")
                delays[peer.name].append(delay)
        for name, rounds in delays.items():
            report.rows.append(Row(f"{name}, {rate:,}/s", figures(rounds)))
        if rate in PROMISED:
            report.targets += _targets(delays, ours, rate)
    return [report]


def ready(lab: Lab, name: str, setup: Setup) -> Peer:
    """Ringfence, started when it says so."""

    def start(work: Work) -> Process:
        process, port = ringfence(lab, work, setup)
        process.wait_until_ready(port, READY_S)
        return process

    return Peer(name, start)


def _targets(delays: dict[str, list[Delay]], ours: str, rate: int) -> list[Target]:
    p99 = {name: [delay.p99_ms for delay in rounds] for name, rounds in delays.items()}
    targets = [
        Target(f"p99 at {rate:,}/s / {peer}", ratio(p99[ours], p99[peer]), "x", *most, less=True)
        for peer, most in MOST.items()
        if peer in p99
    ]
    if rate == max(PROMISED):
        once = median(p99[f"{ours}, exactly once"])
        targets.append(Target(f"exactly once, p99 at {rate:,}/s", once, "ms", 150, 50, less=True))
    return targets


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
    command = python(
        "tests.bench.load",
        *("--bootstrap", lab.broker.bootstrap, "--topic", work.calls, "--rate", str(rate)),
        *("--seconds", str(seconds), "--list-size", str(lab.scale.numbers)),
        *("--start-at", str(start_at), "--report", str(out), *more),
    )
    log = out.with_suffix(".log")
    with Process("load", command, [lab.cores.broker], log) as load:
        await asyncio.to_thread(load.wait, seconds + TIMEOUT_S)
    process.check()
    lateness: dict[str, float] = json.loads(out.read_text())
    return lateness


async def delay_of(lab: Lab, rate: int, peer: Peer) -> Delay:
    """One round of one peer."""
    work = Work(lab.new_name("calls"), lab.new_name("decisions"), rate <= EMIT_ALL_RATE_MAX)
    topics = (work.calls, work.decisions, f"{work.decisions}.rejected")
    await lab.topics.create(*topics)
    with await asyncio.to_thread(peer.start, work) as process:
        if not process.is_ready:
            await asyncio.sleep(SETTLE_S)
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


def figures(rounds: list[Delay]) -> dict[str, list[float]]:
    """What a report shows of some rounds."""
    return {
        "p50 ms": [delay.p50_ms for delay in rounds],
        "p99 ms": [delay.p99_ms for delay in rounds],
        "core busy %": [100 * delay.busy for delay in rounds],
        "load handed over late, p99 ms": [delay.load_sent_p99_ms for delay in rounds],
        "load appended late, p99 ms": [delay.load_appended_p99_ms for delay in rounds],
    }
