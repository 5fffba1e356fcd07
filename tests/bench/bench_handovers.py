"""Waits of calls while workers join, leave, restart and die: the hand-over of partitions.

Three members of a group read four partitions, 500 calls a second, a decision for each. The third
one restarts in order, leaves in order, joins, is killed (SIGKILL) and started again at once, and is
killed for good. Compared in the same run: `ringfence run` without static membership, with it
(`calls.instance_id`), and with it and `leave_on_stop`; franz-go's cooperative group (aiokafka's,
without `make bench-peers`), with its defaults. A partition of a member that died waits for
`session.timeout.ms`: 30 s, 45 s and 10 s there.

A call waits from its append to its first decision's, both by Kafka's clock. Figures are those of
all calls that came from one event to the next (`EVENTS`); the p99 is of these. Seconds of waiting
are those of the protocol, so a busy machine changes them little. But a member that keeps its
partitions for its restart keeps them as long as its start takes.

Targets: a join, a leave in order and a restart in order keep no call waiting longer than the better
peer does, and at most 2 s.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tests.bench import alternatives, snapshots
from tests.bench.alternatives import Peer
from tests.bench.bench_latency import STILL_S, TIMEOUT_S, under_load
from tests.bench.engine import READY_S, RINGFENCE, Setup, ringfence
from tests.bench.lab import Lab, Work
from tests.bench.process import Process
from tests.bench.report import Report, Row, Target

PER_S = 500
MEMBERS = 3
LISTS = 3
"""Hand-overs do not depend on lists."""
SETTLED_S = 8.0
"""After the last member was started: the group is complete."""
PREPARED_S = 60.0
"""Seconds until the load is made, beside three starts on a busy machine."""
QUIET_S = 5
RESTARTS, LEAVES, JOINS = "restarts in order", "leaves in order", "joins"
AGAIN, DIES = "killed, started again", "killed"
TAIL_S = 5
"""Calls that come in the last seconds before the next event may wait for that one."""
EVENTS = {RESTARTS: 10, LEAVES: 40, JOINS: 10, AGAIN: 50, DIES: 55}
"""In this order; seconds until the next, and for a start until it is ready besides."""
STARTS_S = 90
"""For all starts together; a machine on which they take longer is too busy."""
P99, LONGEST = "p99 ms", "longest ms"
_END = "end"
Start = Callable[[Work, int], Process]
"""Starts member `n` of the group that a work names."""


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of members: what they are called, and how one is started."""

    name: str
    start: Start


async def run(lab: Lab) -> list[Report]:
    """All groups, one after the other."""
    groups = [
        _of_ringfence(lab, "dynamic", static=False),
        _of_ringfence(lab, "static", static=True),
        _of_ringfence(lab, "static, leaves", static=True, leaves=True),
        _of_peer((alternatives.franz_go(lab) or [alternatives.plain_loop(lab)])[0]),
    ]
    report = Report("hand-overs")
    rounds: dict[str, list[Mapping[str, Mapping[str, float]]]] = {one.name: [] for one in groups}
    for number in range(min(lab.scale.rounds, 3)):
        for group in groups:
            found = await _handed_over(lab, group)
            rounds[group.name].append(found)
            told = ", ".join(f"{what} {one[LONGEST]:,.0f} ms" for what, one in found.items())
            lab.say(f"round {number + 1}, {group.name}, longest: {told}")
    rows = {
        (name, event): Row.of(f"{name}: {event}", [one[event] for one in each])
        for name, each in rounds.items()
        for event in EVENTS
    }
    report.rows = [*rows.values()]
    peers = [group.name for group in groups if not group.name.startswith(RINGFENCE)]
    for event in (JOINS, LEAVES, RESTARTS):
        ours = min(
            rows[group.name, event].median(LONGEST) for group in groups if group.name not in peers
        )
        theirs = min(rows[peer, event].median(LONGEST) for peer in peers)
        report.targets += [
            Target(
                f"a member {event}: longest wait / the best peer's",
                ours / theirs,
                "x",
                1,
                0.5,
                True,
            ),
            Target(f"a member {event}: longest wait", ours, "ms", 2000, 1000, less=True),
        ]
    return [report]


def _of_ringfence(lab: Lab, title: str, *, static: bool, leaves: bool = False) -> Group:
    state = snapshots.state_dir(lab, lists=LISTS)
    both = (lab.cores.broker, lab.cores.engine)

    def start(work: Work, member: int) -> Process:
        calls: dict[str, object] = {"leave_on_stop": leaves}
        if static:
            calls["instance_id"] = f"{work.group}-{member}"
        setup = Setup(state, more={"calls": calls})
        process, port = ringfence(lab, work, setup, cores=both)
        process.wait_until_ready(port, READY_S)
        return process

    return Group(f"{RINGFENCE}, {title}", start)


def _of_peer(peer: Peer) -> Group:
    return Group(peer.name, lambda work, _: peer.start(work))


async def _handed_over(lab: Lab, group: Group) -> dict[str, dict[str, float]]:
    """All events on one group; of each the waits of the calls that came until the next."""
    seconds = QUIET_S + sum(EVENTS.values()) + STARTS_S
    async with lab.work(emit_all=True) as plain:
        work = replace(plain, group=lab.new_name("group"))
        with ExitStack() as stack:
            members = _Members(work, group.start, stack)
            for member in range(MEMBERS):
                await asyncio.to_thread(members.begin, member)
            await asyncio.sleep(SETTLED_S)
            start_at = time.time() + PREPARED_S
            began, _ = await asyncio.gather(
                members.story(start_at),
                under_load(lab, work, members.first, PER_S, seconds, start_at=start_at),
            )
            calls = await lab.topics.read(work.calls, lambda _: 0)
            await lab.topics.wait_until_steady(
                work.decisions, len(calls.calls), STILL_S, TIMEOUT_S, members.first.check
            )
        decisions = await lab.topics.read(work.decisions, lambda _: 0)
    called_ms = np.zeros(len(calls.calls), np.int64)
    called_ms[calls.calls] = calls.at_ms
    decided_ms = np.full(len(called_ms), np.iinfo(np.int64).max)
    np.minimum.at(decided_ms, decisions.calls, decisions.at_ms)
    repeated = len(decisions.calls) - len(np.unique(decisions.calls))
    never = int((decided_ms == np.iinfo(np.int64).max).sum())
    lab.say(f"{group.name}: {never} calls never decided, {repeated} decided again")
    assert began[_END] < start_at + seconds, f"starts took more than {STARTS_S} s"
    return {
        event: _waits(called_ms, decided_ms, began[event], began[following])
        for event, following in pairwise(began)
    }


def _waits(
    called_ms: NDArray[np.int64], decided_ms: NDArray[np.int64], begin_s: float, stop_s: float
) -> dict[str, float]:
    """Of the calls that came between two moments."""
    mine = (called_ms >= begin_s * 1e3) & (called_ms < (stop_s - TAIL_S) * 1e3)
    waits = (decided_ms - called_ms)[mine]
    return {P99: float(np.percentile(waits, 99)), LONGEST: float(waits.max())}


class _Members:
    """The processes of one group; the last one comes and goes."""

    def __init__(self, work: Work, start: Start, stack: ExitStack) -> None:
        self._work = work
        self._start = start
        self._stack = stack
        self._last: Process | None = None
        self._first: Process | None = None

    @property
    def first(self) -> Process:
        """One that stays."""
        assert self._first is not None, "it was started"
        return self._first

    def begin(self, member: int) -> None:
        """Start member `member`."""
        self._last = self._stack.enter_context(self._start(self._work, member))
        self._first = self._first or self._last

    async def story(self, start_at: float) -> dict[str, float]:
        """Let the last member restart, leave, join and die; when each began."""
        steps: dict[str, tuple[Callable[[], None], ...]] = {
            RESTARTS: (self._leave, self._join),
            LEAVES: (self._leave,),
            JOINS: (self._join,),
            AGAIN: (self._die, self._join),
            DIES: (self._die,),
        }
        began: dict[str, float] = {}
        due = start_at + QUIET_S
        for event, seconds in EVENTS.items():
            await asyncio.sleep(due - time.time())
            began[event] = time.time()
            for step in steps[event]:
                await asyncio.to_thread(step)
            due = time.time() + seconds
        await asyncio.sleep(due - time.time())
        began[_END] = time.time()
        return began

    def _join(self) -> None:
        self.begin(MEMBERS - 1)

    def _leave(self) -> None:
        assert self._last is not None, "it was started"
        self._last.stop()

    def _die(self) -> None:
        assert self._last is not None, "it was started"
        self._last.kill()
