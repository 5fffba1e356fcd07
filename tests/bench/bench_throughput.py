"""CDRs per second and core: decisions for blocks, and a decision for every CDR.

Compared: `ringfence run`, the real process with 64 lists of 1M numbers, against the peers of
`alternatives.py`, with ONE of these lists each (and the franz-go loop once with all 64 as filters).
All read preloaded topics of CDRs (288 bytes, 4 partitions, 2 % of the callers listed) on the same
broker (core 0) from the same core (1), acks=all, rounds interleaved. Peers that need more than a
few microseconds a CDR read 500,000 of them, the others 4M (2M when each is decided): then the
second half, which is timed, lasts seconds, and what a JVM compiles is compiled.

The rate is the progress of the second half of the topic by Kafka's own append time of the
decisions (their call ids say how far each partition was), so start, list load and harness count for
nobody. CPU is that of the peer's process and children over the same stretch, user and system.

Not the same: the peers look at callers only and confirm nothing, so their filter's false positives
(1e-4) are calls blocked by mistake, which are counted and shown. Ringfence's main row looks at
callers too (`check_callee = false`, the peers' question) in 64 lists and confirms every hit; a
further row has its default, callers and callees. Its decisions are three times as long
(reasons, SIP answer, expiry) and its offsets are committed only after the decisions are
acknowledged; it validates every record whole, as the plain loop, the JVM peers and franz-go's whole
parse do and the early stop does not.

Checked in every round: each finds every listed caller; Ringfence no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench import alternatives, snapshots
from tests.bench.alternatives import Peer
from tests.bench.engine import RINGFENCE, Setup, ringfence
from tests.bench.lab import Lab
from tests.bench.machine import Sampler
from tests.bench.peers.build import not_built
from tests.bench.readback import Appended
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import PARTITIONS, Traffic, place

STILL_S = 1.5
TIMEOUT_S = 300.0

RATE, CPU, MADE_UP = "CDR/s", "CPU us per CDR", "innocent calls blocked"
Figures = Mapping[str, Sequence[float]]
Pace = Mapping[str, float]
"""One round of one peer: rate and CPU over the second half of the topic, largest memory, seconds
from the start of the process to the first decision on its topic, innocent calls that it blocked."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Ringfence's rate as a multiple of a peer's, at least. `cpu`: of its rate by CPU too."""

    floor: float
    aim: float | None
    cpu: bool = False


BLOCKS = {
    alternatives.PLAIN_LOOP: Promise(10, 18),
    alternatives.KAFKA_STREAMS: Promise(1, 2),
    alternatives.FLINK: Promise(1, 2),
    alternatives.JAVA_LOOP: Promise(1, 2),
    alternatives.GO_WHOLE: Promise(1, None),
    alternatives.GO_EARLY: Promise(1.05, 1.25, cpu=True),
    alternatives.CPP_WHOLE: Promise(1.5, 2),
    alternatives.CPP_EARLY: Promise(1.5, 2),
    alternatives.RUST_WHOLE: Promise(1.2, 1.5),
    alternatives.RUST_EARLY: Promise(1.2, 1.5),
}
MANY = Promise(5, 8)
"""For the loop that has as many filters as we have lists."""
ONCE = Promise(0.8, 0.95)
"""For exactly once, beside at least once: the one row in which Ringfence is its own peer."""
EVERY_CDR = {alternatives.PLAIN_LOOP: Promise(5, 12), alternatives.GO_EARLY: Promise(1.3, 1.6)}
BOTH_SIDES = {alternatives.GO_EARLY: Promise(1, 1.15)}
"""Where Ringfence checks called numbers too, and the peer does not."""


async def run(lab: Lab) -> list[Report]:
    """Blocks only, then a decision for every CDR."""
    setup = Setup(snapshots.state_dir(lab))
    both = Setup(setup.state, check_callee=True)
    ours = f"{RINGFENCE}, {lab.scale.lists} lists"
    many = alternatives.GO_MANY.format(lab.scale.lists)
    once = Setup(setup.state, more={"calls": {"delivery": "exactly_once"}})
    peers = [
        alternatives.plain_loop(lab),
        *alternatives.others(lab),
        Peer(ours, lambda work: ringfence(lab, work, setup)[0]),
        Peer(f"{ours}, callees too", lambda work: ringfence(lab, work, both)[0]),
    ]
    promised = {ours: {**BLOCKS, many: MANY}, f"{ours}, callees too": BOTH_SIDES}
    transactional = Peer(f"{ours}, exactly once", lambda work: ringfence(lab, work, once)[0])
    blocks = await _raced(lab, [*peers, transactional], emit_all=False)
    report = _report("blocks", blocks, promised)
    rates = ratio(*([pace[RATE] for pace in blocks[name]] for name in (transactional.name, ours)))
    report.targets.append(Target("exactly once / at least once", rates, "x", ONCE.floor, ONCE.aim))
    return [
        report,
        _report("every CDR", await _raced(lab, peers, emit_all=True), {ours: EVERY_CDR}),
    ]


async def _raced(
    lab: Lab, peers: Sequence[Peer], *, emit_all: bool
) -> Mapping[str, Sequence[Pace]]:
    """All rounds of all peers."""
    paces: dict[str, list[Pace]] = {peer.name: [] for peer in peers}
    for number in range(lab.scale.rounds):
        for peer in peers:
            pace = await paced(lab, peer, emit_all=emit_all)
            lab.say(
                f"{'every CDR' if emit_all else 'blocks'}, round {number + 1}, {peer.name}: "
                f"{pace[RATE]:,.0f} CDR/s, {pace[CPU]:.2f} us of CPU a CDR"
            )
            paces[peer.name].append(pace)
    return paces


def _report(
    name: str, paces: Mapping[str, Sequence[Pace]], promises: Mapping[str, Mapping[str, Promise]]
) -> Report:
    """Report all peers; hold each row of ours to its promises."""
    report = Report(f"throughput, {name}")
    report.rows = [Row.of(peer, rounds) for peer, rounds in paces.items()]
    found = {row.peer: row.figures for row in report.rows}
    for ours, held in promises.items():
        for peer, promise in held.items():
            if peer in paces:
                _hold(report, found[ours], found[peer], f"{ours} / {peer}", promise)
        made_up = max(found[ours][MADE_UP])
        report.targets.append(Target(f"{MADE_UP}, {ours}", made_up, "", 0, less=True))
    if missing := not_built():
        report.notes.append(f"NOT MEASURED, run `make bench-peers`: {', '.join(missing)}")
    return report


def _hold(report: Report, ours: Figures, theirs: Figures, pair: str, promise: Promise) -> None:
    """Add what a pair of peers is held to, and how it is by CPU."""
    rates = ratio(ours[RATE], theirs[RATE])
    report.targets.append(Target(f"CDR/s, {pair}", rates, "x", promise.floor, promise.aim))
    if not all(ours[CPU]):  # a quick run is over within a tick of that clock, 10 ms
        return
    cpu = ratio(theirs[CPU], ours[CPU])
    if promise.cpu:
        target = Target(f"CDR by CPU, {pair}", cpu, "x", promise.floor, promise.aim)
        report.targets.append(target)
    else:
        report.notes.append(
            f"{pair}, by CPU a CDR, which a busy machine disturbs less: {cpu:.2f} x"
        )


async def paced(lab: Lab, peer: Peer, *, emit_all: bool) -> Pace:
    """Let one peer work through a whole topic."""
    calls = peer.calls(emit_all=emit_all)
    made = await lab.calls(calls)
    expected = len(made) if emit_all else int(made.listed.sum())
    async with lab.work(calls, emit_all=emit_all) as work:
        with peer.start(work) as process, Sampler(process.pid) as sampler:
            await lab.topics.wait_until_steady(
                work.decisions, expected, STILL_S, TIMEOUT_S, process.check
            )
        decisions = await lab.topics.read(work.decisions, lambda value: b'"block"' in value)
        assert await lab.topics.length(work.rejected) == 0, "every record is a good call"
    made_up = _checked(made, decisions, process.title, emit_all=emit_all)
    at_ms, done = progress(decisions)
    half = int(np.searchsorted(done, len(made) // 2))
    start_s, stop_s = float(at_ms[half]) / 1000, float(at_ms[-1]) / 1000
    assert start_s < stop_s, f"{process.title}: half of {len(made)} calls at one moment: use more"
    records = int(done[-1] - done[half])
    return {
        RATE: records / (stop_s - start_s),
        CPU: sampler.cpu_between(start_s, stop_s) / records * 1e6,
        "peak RSS MB": sampler.peak_mb,
        "first decision s": float(at_ms[0]) / 1000 - process.started_at_s,
        MADE_UP: made_up,
    }


def progress(decisions: Appended) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At which moments (ms) how many records of the topic were behind the peer."""
    partition, position = place(decisions.calls)
    done = np.zeros(len(decisions.calls), np.int64)
    for number in range(PARTITIONS):
        reached = np.where(partition == number, position + 1, 0)
        done += np.maximum.accumulate(reached)
    moments, first = np.unique(decisions.at_ms, return_index=True)
    last = np.append(first[1:], len(done)) - 1
    return moments, done[last]


def _checked(made: Traffic, decisions: Appended, peer: str, *, emit_all: bool) -> int:
    """Count blocked innocent calls; no listed call may be missed, and none decided twice."""
    blocked = np.bincount(decisions.calls[decisions.kinds == 1], minlength=len(made))
    missed = int((blocked[made.listed] == 0).sum())
    assert not missed, f"{peer} missed {missed} listed calls"
    assert blocked.max() == 1, f"{peer} decided a call twice"
    if emit_all:
        assert len(decisions.calls) == len(made), f"{peer}: {len(decisions.calls)} decisions"
    return int(blocked[~made.listed].sum())
