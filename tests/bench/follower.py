"""A worker's lists without its calls: follows a register, and says how it fared. A process.

    python -m tests.bench.follower --redis URL --state FOLDER --kernels FOLDER

It follows as `ringfence run` does, matches a batch of numbers now and then, and has a task that
ticks: a tick that comes late is a loop that stood still. On each line of its standard input, `LIST
GENERATION`, it answers with one of JSON when that generation is enforced, with what it saw since
the last: when that was, how long the loop stood still, and how long the longest match took.

On a busy machine a tick is late because others run. What counts as standing still is therefore the
part of that time in which this very process ran: its loop's own work, or a thread that held the
interpreter. The whole lateness is shown beside it.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stream.core.numbers.number import Kind, Numbers
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.settings import ListStoreSettings
from stream.ops.kernels import warm_up
from stream.ops.tasks import cancelled
from tests.bench.traffic import innocent_numbers

TICK_S = 0.001
BATCH = 8_000
"""Numbers matched at a time, as many as a worker's largest batch has."""
PAUSE_S = 0.02


class Follower:
    """A refresher, and what its loop saw: milliseconds."""

    def __init__(self, url: str, state: Path) -> None:
        settings = RefreshSettings(ListStoreSettings(url), state, {"plain": b""})
        self._refresher = Refresher(settings)
        numbers = innocent_numbers(BATCH * 64, seed=5)
        texts = np.array([b"+%d" % digits for digits in numbers.tolist()], "S16")
        kinds = np.full(BATCH, Kind.E164, np.uint8)
        self._batches = [
            Numbers(texts[at : at + BATCH], kinds) for at in range(0, len(texts), BATCH)
        ]
        self._seen: dict[str, float] = {}
        self._matching = False

    async def run(self) -> None:
        """Until standard input ends."""
        self._refresher.load_last_good()
        jobs = (self._refresher.run(), self._tick(), self._match())
        tasks = [asyncio.create_task(job) for job in jobs]
        await self._refresher.wait_loaded()
        loop = asyncio.get_running_loop()
        self._say()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            name, generation = line.split()
            while not self._enforces(name, int(generation)):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(TICK_S)
            self._say()
        await cancelled(*tasks)

    def _enforces(self, name: str, generation: int) -> bool:
        return any(
            live.name == name and live.generation >= generation
            for live in self._refresher.current.lists
        )

    def _most(self, what: str, milliseconds: float) -> None:
        self._seen[what] = max(self._seen.get(what, 0.0), milliseconds)

    async def _tick(self) -> None:
        while True:
            self._matching = False
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(TICK_S)
            late_ms = (time.perf_counter() - began - TICK_S) * 1e3
            if not self._matching:
                self._most("late_ms", late_ms)
                self._most("stood_ms", min(late_ms, (time.process_time() - used) * 1e3))

    async def _match(self) -> None:
        place = 0
        while True:
            self._matching, used = True, time.thread_time()
            self._refresher.current.match(self._batches[place], int(time.time()))
            self._most("match_ms", (time.thread_time() - used) * 1e3)
            place = (place + 1) % len(self._batches)
            await asyncio.sleep(PAUSE_S)

    def _say(self) -> None:
        said: dict[str, Any] = {"at": time.time(), **self._seen}
        self._seen.clear()
        sys.stdout.write(f"{msgspec.json.encode(said).decode()}\n")
        sys.stdout.flush()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--kernels", type=Path, required=True)
    options = parser.parse_args()
    warm_up(options.kernels)
    asyncio.run(Follower(options.redis, options.state).run())


if __name__ == "__main__":
    main()
