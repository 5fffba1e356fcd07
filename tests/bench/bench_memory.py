"""A worker's memory with 64 lists of 1M numbers, and the time until it is ready.

No peer: 64 pybloom-live filters of the same files are 64 x 5 MB of private memory and can confirm
nothing. Measured is `ringfence run` after it has worked through the whole preloaded topic, so that
every page it wants is there: RSS (all pages, those of files that other workers share included),
PSS, and anonymous memory (what each further worker costs). "Each list" is the whole process's RSS
/ 64, and beside it the difference to a worker with one list / 63.

Start: from the process's first instruction to `/ready` answering 200, that is with lists loaded and
checked and partitions assigned, from last good snapshots (no Redis answers), the bit-sliced table
compiled before, the page cache warm. The first start after a change of lists compiles the table,
once per machine; it is shown as a row of its own.

The first decision is timed too, by its append, from the start of the process.

Targets: 16 MB a list, aim 6 MB; start 10 s, aim 3 s; `FIRST_S` and `RSS_MB`.
"""

import asyncio
from pathlib import Path

from tests.bench import snapshots
from tests.bench.bench_throughput import STILL_S, TIMEOUT_S
from tests.bench.engine import READY_S, Setup, ringfence
from tests.bench.lab import LONG, Lab
from tests.bench.machine import memory
from tests.bench.report import Report, Row, Target

READY, FIRST, RSS, PEAK = "ready s", "first decision s", "RSS MB", "peak MB"
FIRST_S = {"there": (2, 1), "not there": (5, 3)}
"""From the start of the process to its first decision on the topic, whether the table of the lists
is there or has to be made: floor and aim."""
RSS_MB = {RSS: (480, 400), PEAK: (650, 550)}
"""Of a worker with all lists, after the work and while it loads and makes the table."""


async def run(lab: Lab) -> list[Report]:
    """The start that compiles, then rounds of all lists and of one list."""
    await lab.calls(LONG)
    whole, single = snapshots.state_dir(lab), snapshots.state_dir(lab, lists=1)
    lists = lab.scale.lists
    bare = snapshots.linked(whole, lab.run / lab.new_name("state"), tables=False)
    first = await _worked(lab, bare)
    all_of_them = [await _worked(lab, whole) for _ in range(lab.scale.rounds)]
    one = [await _worked(lab, single) for _ in range(lab.scale.rounds)]
    report = Report("memory and start")
    report.rows = [
        Row.of(f"worker, {lists} lists", all_of_them),
        Row.of("worker, 1 list", one),
        Row.of(f"worker, {lists} lists, no table yet", [first]),
    ]
    rss, rss_of_one = (row.median(RSS) for row in report.rows[:2])
    report.targets = [
        Target("RSS / lists", rss / lists, "MB", 16, 6, less=True),
        Target(
            "(RSS - RSS with one list) / further lists",
            (rss - rss_of_one) / (lists - 1),
            "MB",
            16,
            6,
            less=True,
        ),
        Target(
            "start to ready, from last good snapshots",
            report.rows[0].median(READY),
            "s",
            10,
            3,
            less=True,
        ),
        *(
            Target(f"first decision, tables {what}", row.median(FIRST), "s", *FIRST_S[what], True)
            for what, row in (("there", report.rows[0]), ("not there", report.rows[2]))
        ),
        Target(f"{RSS}, {lists} lists", rss, "MB", *RSS_MB[RSS], less=True),
        Target(f"{PEAK}, {lists} lists, no table yet", first[PEAK], "MB", *RSS_MB[PEAK], less=True),
    ]
    return [report]


async def _worked(lab: Lab, state: Path) -> dict[str, float]:
    """When a worker was ready, and what it held after the work."""
    async with lab.work(LONG) as work:
        process, port = ringfence(lab, work, Setup(state))
        with process:
            ready_s = await asyncio.to_thread(process.wait_until_ready, port, READY_S)
            await lab.topics.wait_until_steady(work.decisions, 1, STILL_S, TIMEOUT_S, process.check)
            held = memory(process.pid)
        decisions = await lab.topics.read(work.decisions, lambda _: 0)
    lab.say(f"{state.name}: ready after {ready_s:.2f} s, {held}")
    return {
        READY: ready_s,
        FIRST: float(decisions.at_ms.min()) / 1000 - process.started_at_s,
        RSS: held.rss_mb,
        "PSS MB": held.pss_mb,
        "anonymous MB": held.anonymous_mb,
        "of files MB": held.file_mb,
        PEAK: held.peak_mb,
    }
