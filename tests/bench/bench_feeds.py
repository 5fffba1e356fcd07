"""Feeds: how long from a partner's change file in a drop folder until its lines are enforced.

No peer. `ringfence feeds run` looks at the folder every 200 ms, as the shipped example does, beside
Redis on the broker's core; the list holds 1M numbers of another feed; a follower (follower.py) on
the engine's core. A file adds 1,000 numbers that nobody has listed, the next one takes them off.
Counted is from the file's rename into the folder until the last of its lines is enforced: seen,
copied, hashed, read, judged, compared, written, followed, swapped.

Target: 1,000 lines live in 1 s, aim 0.5 s.
"""

import asyncio
import hashlib
import json
import subprocess
import time
from pathlib import Path
from statistics import median

from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.bench.bench_imports import FEED, csv_file
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.operator import Operator, following
from tests.bench.process import ROOT, python
from tests.bench.report import Report, Row, Target

FEW = 1_000
NAME = "BENCH/changed"
ROUNDS = 10
START_S = 60.0
CHANGES = """
list = "{name}"
format = "ringfence"
may_list = ["*"]
[owner]
name = "bench"
contact = "bench@bench.example"
[from]
kind = "folder"
path = "{path}"
settle_s = 0
[schedule]
every = "200ms"
[gate]
shrink_percent_max = 100
"""


async def run(lab: Lab) -> list[Report]:
    """Fill the list, follow the folder, drop files."""
    feeds, inbox = lab.run / "followed-feeds", lab.run / "inbox"
    feeds.mkdir()
    inbox.mkdir()
    whole = feeds / "whole.toml"
    whole.write_text(FEED.format(name=NAME, path=csv_file(lab, lab.scale.numbers)))
    operator = Operator(lab, f'[feeds]\ndir = "{feeds}"\nhttp_port = 0\n')
    await asyncio.to_thread(operator.types, "feeds", "pull", "whole")
    whole.unlink()
    (feeds / "changes.toml").write_text(CHANGES.format(name=NAME, path=inbox))
    settings = ListStoreSettings(lab.redis.url())
    live: dict[str, list[float]] = {"add": [], "remove": []}
    with on_core(lab.cores.broker):
        command = python("stream", "feeds", "run", "--config", str(operator.config))
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        async with (
            following(lab, lab.run / "follows-feeds") as follower,
            await ListStore.connect(settings) as register,
        ):
            # The first file waits for processes that are started; it is not counted.
            for number in range(min(lab.scale.rounds, ROUNDS) + 1):
                for op, taken in live.items():
                    generation = (await register.heads()).lists[NAME].generation + FEW
                    began_at = drop(inbox, f"{number}-{op}", op)
                    seen = await asyncio.wait_for(follower.until(NAME, generation), START_S)
                    taken.append(seen["at"] - began_at)
                    lab.say(f"{FEW:,} lines to {op}: live in {taken[-1]:.2f} s")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, START_S)
    report = Report("feeds")
    for op, taken in live.items():
        report.rows.append(Row(f"a change file of {FEW:,} lines, {op}", {"live s": taken[1:]}))
    slowest = median(live["add"][1:])
    report.targets = [Target(f"{FEW:,} lines live", slowest, "s", 1, 0.5, less=True)]
    return [report]


def drop(inbox: Path, name: str, op: str) -> float:
    """Put a change file in as a partner does, by a rename; when that was."""
    header = {"format": "ringfence-changes", "version": 1, "list": NAME, "whole": False}
    lines = [json.dumps({**header, "from": 1, "to": 2})]
    lines += [json.dumps({"op": op, "number": f"+4479{n:08d}"}) for n in range(FEW)]
    text = "".join(f"{line}\n" for line in lines)
    end = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "lines": len(lines)}
    part = inbox / f"{name}.part"
    part.write_text(f"{text}{json.dumps(end)}\n")
    part.rename(inbox / f"{name}.jsonl")
    return time.time()
