"""Decision latency while a 10M import and a rebuild run on the same machine.

No peer: compared is the engine with itself, quiet and busy, rounds interleaved, at 10,000 CDR/s (a
decision for every listed caller), from append to append as in bench_latency.py. The engine follows
64 lists of 1M numbers in Redis. Busy means: one `ringfence lists import` of 10M numbers after the
other, each made live in the very engine that is measured, and one `ringfence lists rebuild` of a 1M
list after the other; both as an operator types them, on the engine's core as well as the broker's.

Target: p99 at most twice that of the quiet rounds.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.bench import snapshots
from tests.bench.bench_changes import load
from tests.bench.bench_imports import csv_file
from tests.bench.bench_latency import Delay, against_quiet, delay_of, ready, times_quiet, told
from tests.bench.engine import RINGFENCE, Setup
from tests.bench.lab import Lab
from tests.bench.operator import Operator
from tests.bench.report import Report

RATE = 10_000
FILLED_S = 3.0
"""The commands have begun, and what they do first is over, before a round begins."""


class Repeated:
    """Does `work` again and again in a thread, while this is entered; how often it was done."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.times = 0
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._stop.is_set():
            self._work()
            self.times += 1


async def run(lab: Lab) -> list[Report]:
    """Quiet and busy rounds in turn."""
    state = snapshots.linked(snapshots.state_dir(lab), lab.run / lab.new_name("state"), tables=True)
    async with await ListStore.connect(ListStoreSettings(lab.redis.url())) as register:
        await load(lab, register, state)
    operator = Operator(lab, cores=(lab.cores.broker, lab.cores.engine))
    path = csv_file(lab, lab.scale.large)
    await asyncio.to_thread(operator.types, "lists", "create", "BENCH/busy")
    peer = ready(lab, RINGFENCE, Setup(state, redis_url=lab.redis.url()))
    delays: dict[str, list[Delay]] = {"quiet": [], "busy": []}
    done = [0, 0]
    for number in range(lab.scale.latency_rounds):
        delays["quiet"].append(await delay_of(lab, RATE, peer))
        lab.say(f"round {number + 1}, quiet: {told(delays['quiet'][-1])}")
        words = ("lists", "import", "BENCH/busy", str(path), "--replace")
        importing = Repeated(lambda: operator.types(*words))  # noqa: B023
        rebuilding = Repeated(lambda: operator.types("lists", "rebuild", snapshots.list_name(1)))
        with importing, rebuilding:
            await asyncio.sleep(FILLED_S)
            delays["busy"].append(await delay_of(lab, RATE, peer))
        done = [done[0] + importing.times, done[1] + rebuilding.times]
        lab.say(f"round {number + 1}, busy: {told(delays['busy'][-1])}")
    report = against_quiet("busy", delays, RATE)
    report.targets = times_quiet(report, 2, 1.5)
    report.notes.append(f"{done[0]} imports and {done[1]} rebuilds in the busy rounds")
    return [report]
