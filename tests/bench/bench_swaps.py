"""A worker's memory, and the pauses of its loop, while a list is replaced.

No peer. A follower (follower.py: a worker's lists without its calls, which matches a batch of 8,000
numbers 50 times a second) has 64 lists of 1M numbers in one bit-sliced table. One list after the
other is replaced whole by `ringfence lists import`. Its memory is sampled all the while: resident
pages, those of files included, so a page of the old table and one of the new both count; PSS before
and after.

"Stood still" is the longest time between two ticks of the loop in which the process itself ran, see
follower.py; "late" has what others took of the core as well, and "match" is the CPU of the slowest
batch, which after a swap meets the new table's pages for the first time.

Targets: the loop stands still for at most 20 ms; at no time are two whole tables resident.
"""

import asyncio
from pathlib import Path
from statistics import median

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.bench import snapshots
from tests.bench.bench_changes import load
from tests.bench.bench_imports import ROUNDS_MAX, csv_file
from tests.bench.lab import Lab
from tests.bench.machine import memory
from tests.bench.operator import Operator, Resident, following
from tests.bench.report import Report, Row, Target

SETTLE_S = 1.0
"""After a swap: for the batches that go through the new table's pages."""


async def run(lab: Lab) -> list[Report]:
    """Load all lists, follow them, and replace some."""
    state = snapshots.linked(snapshots.state_dir(lab), lab.run / lab.new_name("state"), tables=True)
    async with await ListStore.connect(ListStoreSettings(lab.redis.url())) as register:
        await load(lab, register, state)
    operator, path = Operator(lab), csv_file(lab, lab.scale.numbers)
    figures: dict[str, list[float]] = {}
    async with following(lab, state) as follower:
        for index in range(min(lab.scale.rounds, ROUNDS_MAX)):
            name = snapshots.list_name(index)
            await follower.until(name, snapshots.GENERATION)
            await asyncio.sleep(SETTLE_S)
            before = memory(follower.pid)
            await follower.until(name, snapshots.GENERATION)
            with Resident(follower.pid) as resident:
                words = ("lists", "import", name, str(path), "--replace", "--json")
                cost = await asyncio.to_thread(operator.types, *words)
                generation = cost.answer["generation"]
                swapped = await follower.until(name, generation)
                await asyncio.sleep(SETTLE_S)
                after = await follower.until(name, generation)
            held = memory(follower.pid)
            seen = {key: max(swapped[key], after[key]) for key in ("stood_ms", "late_ms")}
            table_mb = sum(p.stat().st_size for p in newest_tables(state)) / 2**20
            for title, value in {
                "stood still ms": seen["stood_ms"],
                "late ms": seen["late_ms"],
                "match ms": max(swapped["match_ms"], after["match_ms"]),
                "RSS before MB": before.rss_mb,
                "most MB": resident.most_mb,
                "RSS after MB": held.rss_mb,
                "PSS before MB": before.pss_mb,
                "PSS after MB": held.pss_mb,
                "table MB": table_mb,
            }.items():
                figures.setdefault(title, []).append(value)
            lab.say(
                f"{name}: stood still {seen['stood_ms']:.0f} ms, most {resident.most_mb:.0f} MB"
            )
    more = [
        (most - base) / table
        for most, base, table in zip(
            figures["most MB"], figures["RSS before MB"], figures["table MB"], strict=True
        )
    ]
    report = Report("swaps")
    report.rows.append(Row(f"one of {lab.scale.lists} lists replaced", figures))
    stood = median(figures["stood still ms"])
    report.targets = [
        Target("the loop stood still", stood, "ms", 20, 10, less=True),
        Target("more memory than before / all tables", median(more), "x", 1, 0.5, less=True),
    ]
    return [report]


def newest_tables(state: Path) -> list[Path]:
    """The table that is in use: all lists here are of one size."""
    return sorted(state.glob("tables/*.table"), key=lambda path: path.stat().st_mtime_ns)[-1:]
