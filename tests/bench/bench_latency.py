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
from collections.abc import Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tests.bench import alternatives, snapshots
from tests.bench.alternatives import Peer
from tests.bench.engine import READY_S, RINGFENCE, Setup, ringfence
from tests.bench.lab import Lab, Work
from tests.bench.machine import Sampler
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio

EMIT_ALL_RATE_MAX = 2_000
SETTLE_S = 5.0
"""For a peer that cannot say that it is ready: start, join the group, fetch once."""
PROMISED = (2_000, 20_000)
MOST = {alternatives.PLAIN_LOOP: (0.5, 0.25), alternatives.GO_EARLY: (1.2, 1)}
"""p99 as a multiple of a peer's, at most: floor and aim."""
ONCE_P99_MS = (25, 12)
"""p99 of exactly once at each rate, at most: floor and aim."""
CPU_RATES = (200, 2_000)
"""Rates at which the price of a batch of one call shows."""
CPU_MOST = {alternatives.PLAIN_LOOP: (1, 0.5), alternatives.GO_EARLY: (4, 2)}
"""CPU as a multiple of a peer's, at most: floor and aim."""
PREPARED_PER_S = 100_000
"""Records that the load generator surely makes in a second, beside a busy broker."""
STILL_S = 2.0
TIMEOUT_S = 120.0
LATE_MS_MAX = 200.0
"""A load that is later than this was sent on a busy machine: nothing is judged by it."""


P50, P99, BUSY = "p50 ms", "p99 ms", "core busy %"
SENT_LATE, APPENDED_LATE = "load handed over late, p99 ms", "load appended late, p99 ms"
Delay = Mapping[str, float]
"""One round of one peer: percentiles of its latency and of the load's lateness, and the share of
its core's time that it used."""


def told(delay: Delay) -> str:
    """A round as a line."""
    return (
        f"p50 {delay[P50]:.0f} ms, p99 {delay[P99]:.0f} ms, {delay[BUSY]:.0f} % of its core busy;"
        f" load appended late, p99 {delay[APPENDED_LATE]:.0f} ms"
    )


async def run(lab: Lab) -> list[Report]:
    """All rates, one report."""
    once: dict[str, dict[str, object]] = {"calls": {"delivery": "exactly_once"}}
    ours = f"{RINGFENCE}, {lab.scale.lists} lists"
    ours_once = f"{ours}, exactly once"
    peers = [
        alternatives.plain_loop(lab),
        *alternatives.franz_go(lab),
        ready(lab, ours, Setup(snapshots.state_dir(lab))),
        ready(lab, ours_once, Setup(snapshots.state_dir(lab), more=once)),
    ]
    report = Report("latency")
    for rate in lab.scale.rates:
        delays: dict[str, list[Delay]] = {peer.name: [] for peer in peers}
        for number in range(lab.scale.latency_rounds):
            for peer in peers:
                delay = await delay_of(lab, rate, peer)
                lab.say(f"{rate}/s, round {number + 1}, {peer.name}: {told(delay)}")
                delays[peer.name].append(delay)
        for name, rounds in delays.items():
            report.rows.append(Row.of(f"{name}, {rate:,}/s", rounds))
        p99 = median(delay[P99] for delay in delays[ours_once])
        what = f"exactly once, p99 at {rate:,}/s"
        report.targets.append(Target(what, p99, "ms", *ONCE_P99_MS, less=True))
        if rate in PROMISED:
            report.targets += _targets(delays, ours, rate)
        if rate in CPU_RATES:
            report.targets += _cpu_targets(delays, ours, rate)
    return [report]


def ready(lab: Lab, name: str, setup: Setup) -> Peer:
    """Ringfence, started when it says so."""

    def start(work: Work) -> Process:
        process, port = ringfence(lab, work, setup)
        process.wait_until_ready(port, READY_S)
        return process

    return Peer(name, start)


def _targets(delays: dict[str, list[Delay]], ours: str, rate: int) -> list[Target]:
    p99 = {name: [delay[P99] for delay in rounds] for name, rounds in delays.items()}
    return [
        Target(f"p99 at {rate:,}/s / {peer}", ratio(p99[ours], p99[peer]), "x", *most, less=True)
        for peer, most in MOST.items()
        if peer in p99
    ]


def _cpu_targets(delays: dict[str, list[Delay]], ours: str, rate: int) -> list[Target]:
    busy = {name: [delay[BUSY] for delay in rounds] for name, rounds in delays.items()}
    return [
        Target(f"CPU at {rate:,}/s / {peer}", ratio(busy[ours], busy[peer]), "x", *most, less=True)
        for peer, most in CPU_MOST.items()
        if peer in busy
    ]


def prepare_s(rate: int, seconds: int) -> float:
    """Seconds that the load generator may take before its first record is due."""
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
    async with lab.work(emit_all=rate <= EMIT_ALL_RATE_MAX) as work:
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
            await lab.topics.wait_until_steady(
                work.decisions, least, STILL_S, TIMEOUT_S, process.check
            )
        decisions = await lab.topics.read(work.decisions, lambda _: 0)
    appended_ms = np.zeros(len(calls.calls), np.int64)
    appended_ms[calls.calls] = calls.at_ms
    latency_ms = _settled(decisions.at_ms, appended_ms[decisions.calls])
    p50, p99 = np.percentile(latency_ms, [50, 99])
    return {
        P50: float(p50),
        P99: float(p99),
        BUSY: 100 * busy,
        SENT_LATE: lateness["sent_p99"],
        APPENDED_LATE: lateness["appended_p99"],
    }


def _settled(decided_ms: NDArray[np.int64], called_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Latencies of all calls but those of the first quarter of the run."""
    start, stop = called_ms.min(), called_ms.max()
    kept = called_ms >= start + (stop - start) // 4
    settled: NDArray[np.int64] = (decided_ms - called_ms)[kept]
    return settled


def against_quiet(name: str, delays: Mapping[str, list[Delay]], rate: int) -> Report:
    """The rows of quiet rounds and of others; a note where the quiet ones were not quiet."""
    report = Report(name)
    report.rows = [Row.of(f"{title}, {rate:,}/s", rounds) for title, rounds in delays.items()]
    late_ms = max(report.rows[0].figures[APPENDED_LATE])
    if late_ms > LATE_MS_MAX:
        report.notes.append(f"NOT JUDGED: the quiet rounds were not quiet, {late_ms:.0f} ms late")
    return report


def times_quiet(report: Report, floor: float, aim: float) -> list[Target]:
    """The target for the p99 of the other rounds, unless the quiet ones were not quiet."""
    quiet, other = (row.figures[P99] for row in report.rows)
    return (
        [] if report.notes else [Target("p99 / quiet", ratio(other, quiet), "x", floor, aim, True)]
    )
