"""CDRs per second and core: decisions for blocks, and a decision for every CDR.

Compared: `ringfence run`, the real process with 64 lists of 1M numbers, against the plain loop
(peers/plain_loop.py) with ONE of these lists. Both read the same preloaded topic of 1M CDRs (about
300 bytes, 4 partitions, 2 % of the callers listed) on the same broker (core 0) from the same core
(1), acks=all, rounds interleaved.

The rate is the progress of the second half of the topic by Kafka's own append time of the
decisions (their call ids say how far each partition was), so start, list load and harness count for
nobody. CPU is that of the peer's process and children over the same stretch.

Not the same: the plain loop looks at one list and callers only and confirms nothing; Ringfence's
main row looks at callers too (`check_callee = false`, the plain loop's question) in 64 lists and
confirms every hit; a further row has its default, callers and callees. Ringfence's decisions are
three times as long (reasons, SIP answer, expiry) and its offsets are committed only after
the decisions are acknowledged. The plain loop's false positives (1e-4) are counted and shown.

Checked in every round: each finds every listed caller; Ringfence no other.

Targets: blocks at least 3 times the plain loop, aim 4; a decision for every CDR at least 4 times.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench import snapshots
from tests.bench.engine import PLAIN_LOOP, RINGFENCE, Setup, Work, plain_loop, ringfence
from tests.bench.lab import Lab
from tests.bench.machine import Sampler
from tests.bench.process import Process
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.topics import Appended
from tests.bench.traffic import PARTITIONS, Traffic, place

STILL_S = 1.5
TIMEOUT_S = 300.0

Start = Callable[[Work], Process]


@dataclass(frozen=True, slots=True)
class Pace:
    """One round of one peer, over the second half of the topic."""

    cdr_per_s: float
    cpu_us: float
    peak_mb: float
    made_up: int


async def run(lab: Lab) -> list[Report]:
    """Blocks only, then a decision for every CDR."""
    made = await lab.calls()
    setup = Setup(snapshots.state_dir(lab))
    both = Setup(setup.state, check_callee=True)
    bloom = snapshots.bloom_file(lab)
    lists = f"{lab.scale.lists} lists"
    peers: dict[str, Start] = {
        f"{PLAIN_LOOP}, 1 list": lambda work: plain_loop(lab, work, bloom),
        f"{RINGFENCE}, {lists}": lambda work: ringfence(lab, work, setup)[0],
        f"{RINGFENCE}, {lists}, callees too": lambda work: ringfence(lab, work, both)[0],
    }
    return [
        await _compared(lab, made, peers, emit_all=False),
        await _compared(lab, made, peers, emit_all=True),
    ]


async def _compared(lab: Lab, made: Traffic, peers: dict[str, Start], *, emit_all: bool) -> Report:
    paces: dict[str, list[Pace]] = {name: [] for name in peers}
    name = "every CDR" if emit_all else "blocks"
    for number in range(lab.scale.rounds):
        for peer, start in peers.items():
            pace = await _round(lab, made, start, emit_all=emit_all)
            lab.say(f"{name}, round {number + 1}, {peer}: {pace.cdr_per_s:,.0f} CDR/s")
            paces[peer].append(pace)
    plain, ours, _ = (paces[peer] for peer in peers)
    report = Report(f"throughput, {name}")
    report.rows = [
        Row(
            peer,
            {
                "CDR/s": [pace.cdr_per_s for pace in rounds],
                "CPU us per CDR": [pace.cpu_us for pace in rounds],
                "peak RSS MB": [pace.peak_mb for pace in rounds],
                "innocent calls blocked": [pace.made_up for pace in rounds],
            },
        )
        for peer, rounds in paces.items()
    ]
    report.targets.append(
        Target(
            "CDR/s / plain loop's",
            ratio([pace.cdr_per_s for pace in ours], [pace.cdr_per_s for pace in plain]),
            "x",
            4 if emit_all else 3,
            None if emit_all else 4,
        )
    )
    by_cpu = ratio([pace.cpu_us for pace in plain], [pace.cpu_us for pace in ours])
    report.notes.append(f"by CPU a CDR, which a busy machine disturbs less: {by_cpu:.2f} x")
    report.targets.append(
        Target("innocent calls blocked", max(pace.made_up for pace in ours), "", 0, less=True)
    )
    return report


async def _round(lab: Lab, made: Traffic, start: Start, *, emit_all: bool) -> Pace:
    """Let one peer work through the whole topic."""
    work = Work(decisions=lab.new_name("decisions"), emit_all=emit_all)
    rejected = f"{work.decisions}.rejected"
    await lab.topics.create(work.decisions, rejected)
    expected = len(made) if emit_all else int(made.listed.sum())
    with start(work) as process, Sampler(process.pid) as sampler:
        await lab.topics.wait_until_steady(
            work.decisions, expected, STILL_S, TIMEOUT_S, process.check
        )
    decisions = await lab.topics.read(work.decisions, lambda value: b'"block"' in value)
    assert await lab.topics.length(rejected) == 0, "every record is a good call"
    await lab.topics.delete(work.decisions, rejected)
    made_up = _checked(made, decisions, process.title, emit_all=emit_all)
    at_ms, done = progress(decisions)
    half = int(np.searchsorted(done, len(made) // 2))
    start_s, stop_s = float(at_ms[half]) / 1000, float(at_ms[-1]) / 1000
    records = int(done[-1] - done[half])
    return Pace(
        records / (stop_s - start_s),
        sampler.cpu_between(start_s, stop_s) / records * 1e6,
        sampler.peak_mb,
        made_up,
    )


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
    """How many innocent calls were blocked; nobody may miss a listed one or say anything twice."""
    blocked = np.bincount(decisions.calls[decisions.kinds == 1], minlength=len(made))
    missed = int((blocked[made.listed] == 0).sum())
    assert not missed, f"{peer} missed {missed} listed calls"
    assert blocked.max() == 1, f"{peer} decided a call twice"
    if emit_all:
        assert len(decisions.calls) == len(made), f"{peer}: {len(decisions.calls)} decisions"
    return int(blocked[~made.listed].sum())
