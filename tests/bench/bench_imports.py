"""Imports: from a CSV file to live in a running worker; what a feed's next version costs.

No peer. `ringfence lists import` of generated numbers with their whole provenance (category, one of
50 sources, reported_at, expires_at, confidence), as an operator types it, its process beside Redis
on the broker's core; a follower (follower.py: a worker's lists without its calls) on the engine's
core. Counted is from the start of the command until the follower enforces what was imported. "CPU"
is the command's alone. The memory of Redis is what the list's base and changes take.

Delta: a feed (`ringfence feeds pull`) of the same numbers, whose next version differs in one row of
a thousand; compared with its first version, in the same run. "Bytes" are what Redis was sent. Then
a file of 1,000 numbers is imported into the large list as changes.

Targets: 10M numbers live in 25 s (aim 15), 1M in 15 s, importer 2 GB, 32 bytes of Redis an entry;
the delta a twentieth of the bytes and a fifth of the time; 1,000 lines live in 1 s beyond what
a command takes to start.
"""

import asyncio
import time
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.lab import Lab
from tests.bench.operator import Cost, Following, Operator, following
from tests.bench.report import Report, Row, Target
from tests.bench.traffic import LISTED_FROM, MOBILE_NUMBERS

CATEGORIES = ("call_centre", "parcel", "loan", "robocall", "spam")
REPORTED_FROM_S = 1_790_000_000
CHUNK = 100_000
FEW = 1_000
ROUNDS_MAX = 3
FEED = """
list = "{name}"
format = "csv"
may_list = ["*"]
[owner]
name = "bench"
contact = "bench@bench.example"
[from]
kind = "file"
path = "{path}"
"""


def csv_file(lab: Lab, count: int, start: int = 0, version: int = 1) -> Path:
    """`count` numbers from the `start`-th on; of each thousand, version 2 has another one."""

    def made() -> bytes:
        rng = np.random.default_rng(count)
        parts = ["number,category,source,reported_at,expires_at,confidence\n"]
        for at in range(0, count, CHUNK):
            place = np.arange(start + at, start + min(at + CHUNK, count), dtype=np.uint64)
            if version > 1:
                place[::1000] += np.uint64(MOBILE_NUMBERS // 2)
            mixed = place * np.uint64(61_803_397) % np.uint64(MOBILE_NUMBERS)
            columns = (
                (mixed + np.uint64(LISTED_FROM)).tolist(),
                rng.integers(0, len(CATEGORIES), len(place)).tolist(),
                rng.integers(0, 50, len(place)).tolist(),
                (REPORTED_FROM_S + rng.integers(0, 5_000_000, len(place))).tolist(),
                rng.integers(40, 101, len(place)).tolist(),
            )
            parts.append(
                "".join(
                    f"+{number},{CATEGORIES[kind]},desk {who},{when},{when + 90 * 86_400},{sure}\n"
                    for number, kind, who, when, sure in zip(*columns, strict=True)
                )
            )
        return "".join(parts).encode()

    return lab.cached(f"numbers-{count}-{start}-{version}.csv", made)


async def run(lab: Lab) -> list[Report]:
    """All sizes, then the delta."""
    operator = Operator(lab)
    report = Report("imports")
    async with following(lab, lab.run / "followed") as follower:
        for count, name, floor, aim in (
            (lab.scale.numbers, "BENCH/import", 15, 5),
            (lab.scale.large, "BENCH/import-large", 25, 15),
        ):
            await _import(lab, operator, follower, report, count, name, floor, aim)
        await _few(lab, operator, follower, report)
    return [report, await _delta(lab)]


async def _import(
    lab: Lab,
    operator: Operator,
    follower: Following,
    report: Report,
    count: int,
    name: str,
    floor: float,
    aim: float,
) -> None:
    path = csv_file(lab, count)
    before = operator.memory()
    await asyncio.to_thread(operator.types, "lists", "create", name)
    costs: list[Cost] = []
    live: list[float] = []
    stored = 0.0
    for number in range(min(lab.scale.rounds, ROUNDS_MAX)):
        words = ("lists", "import", name, str(path), "--replace", "--json")
        costs.append(await asyncio.to_thread(operator.types, *words))
        seen = await follower.until(name, costs[-1].answer["generation"])
        live.append(seen["at"] - costs[-1].began_at)
        # Later rounds keep the bases of the former ones, for a rollback.
        stored = stored or (operator.memory() - before) / count
        lab.say(f"{name}, round {number + 1}: {costs[-1].wall_s:.1f} s, live {live[-1]:.1f} s")
    report.rows.append(
        Row(
            f"{count:,} numbers",
            {
                "live s": live,
                "command s": [cost.wall_s for cost in costs],
                "CPU s": [cost.cpu_s for cost in costs],
                "numbers/s": [count / cost.wall_s for cost in costs],
                "importer MB": [cost.peak_mb for cost in costs],
                "Redis bytes an entry": [stored],
            },
        )
    )
    peak = max(cost.peak_mb for cost in costs)
    report.targets += [
        Target(f"{count:,} numbers live", median(live), "s", floor, aim, less=True),
        Target(f"importer of {count:,}, largest memory", peak, "MB", 2048, 1024, less=True),
        Target(f"register of {count:,}, an entry", stored, "bytes", 32, 26, less=True),
    ]


async def _few(lab: Lab, operator: Operator, follower: Following, report: Report) -> None:
    """A file of a thousand numbers for the large list."""
    name = "BENCH/import-large"
    costs, live = [], []
    for number in range(min(lab.scale.rounds, ROUNDS_MAX)):
        path = csv_file(lab, FEW, lab.scale.large + number * FEW)
        empty = await asyncio.to_thread(operator.types, "lists", "show", name)
        words = ("lists", "import", name, str(path), "--json")
        cost = await asyncio.to_thread(operator.types, *words)
        assert cost.answer["added"] == FEW, cost.answer
        seen = await follower.until(name, cost.answer["generation"])
        live.append(min(seen["at"], time.time()) - cost.began_at - empty.wall_s)
        costs.append(cost)
    figures = {"live s": live, "command s": [cost.wall_s for cost in costs]}
    report.rows.append(Row(f"{FEW:,} more, beyond a command's start", figures))
    report.targets.append(Target(f"{FEW:,} lines live", median(live), "s", 1, 0.5, less=True))


async def _delta(lab: Lab) -> Report:
    """A feed's first version, and its next one."""
    count, name = lab.scale.numbers, "BENCH/fed"
    folder = lab.run / "feeds"
    folder.mkdir()
    path = folder / "numbers.csv"
    (folder / "bench.toml").write_text(FEED.format(name=name, path=path))
    operator = Operator(lab, f'[feeds]\ndir = "{folder}"\n')
    await asyncio.to_thread(operator.types, "lists", "create", name)
    costs = []
    for version in (1, 2):
        path.write_bytes(csv_file(lab, count, 0, version).read_bytes())
        costs.append(await asyncio.to_thread(operator.types, "feeds", "pull", "bench"))
        lab.say(f"version {version}: {costs[-1].wall_s:.1f} s, {costs[-1].redis_bytes:,} bytes")
    report = Report("delta")
    for title, cost in zip(("first version", "one in 1,000 other"), costs, strict=True):
        # A version is worked on in a process of its own, which is no child of the command's.
        figures = {"s": [cost.wall_s], "bytes to Redis": [float(cost.redis_bytes)]}
        report.rows.append(Row(f"{count:,} numbers, {title}", figures))
    first, second = costs
    share = second.redis_bytes / first.redis_bytes
    took = second.wall_s / first.wall_s
    report.targets = [
        Target("bytes / of the first", share, "x", 0.05, 0.03, less=True),
        Target("seconds of the next / of the first", took, "x", 0.2, 0.05, less=True),
    ]
    return report
