"""Play many seeds of the simulation on all cores, and go on after one that breaks.

    python -m tests.campaigns.seeds                                10,000 seeds and a virtual week
    python -m tests.campaigns.seeds --first 7 --seeds 100 --days 0                            less

Seeds follow each other, until there are enough of them and enough virtual time is past. Each that
breaks is printed with the command that plays it again.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from stream.ops.kernels import warm_up
from tests.simulation.history import Broken, played
from tests.simulation.plan import Plan
from tests.support.engine import KERNELS_DIR
from tests.support.figures import record

PIECE = 50
"""Seeds of each process between two looks at the sums, some ten seconds."""
RENEWED = 500
"""Seeds after which a process makes place for a new one: histories leave some memory behind."""
DAY_S = 86_400.0


@dataclass(slots=True)
class Played:
    """Sums of a run: `broken` are seeds, `virtual_s` the time of those that did not break."""

    first: int
    seeds: int = 0
    virtual_s: float = 0.0
    broken: list[int] = field(default_factory=list)

    def take(self, results: Iterable[tuple[int, float, str]]) -> None:
        """Add results of `play`, and print what broke."""
        for seed, virtual_s, why in results:
            self.seeds += 1
            self.virtual_s += virtual_s
            if why:
                self.broken.append(seed)
                again = f"python -m tests.simulation --plan {seed}"
                sys.stdout.write(f"{why}\nseed {seed} breaks: {again}\n")

    def figures(self) -> dict[str, int]:
        """Return what is kept."""
        broken = len(self.broken)
        whole = {"first_seed": self.first, "seeds": self.seeds, "virtual_s": int(self.virtual_s)}
        return {**whole, "broken": broken}

    def __str__(self) -> str:
        """Return them in a line."""
        days = f"{self.virtual_s / DAY_S:.2f} virtual days"
        return f"{self.seeds} seeds from {self.first}, {days}, {len(self.broken)} broken"


def play(seed: int) -> tuple[int, float, str]:
    """Play a seed; return it, its virtual seconds, and why it broke."""
    try:
        return seed, played(Plan.of(seed)).past_s, ""
    except Broken as broken:
        return seed, 0.0, str(broken)


def run(first: int, seeds: int, virtual_s: float, processes: int) -> Played:
    """Play at least so many seeds and so much virtual time, and print the sums now and then."""
    sums = Played(first)
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, max_tasks_per_child=RENEWED
    ) as pool:
        while sums.seeds < seeds or sums.virtual_s < virtual_s:
            begins = first + sums.seeds
            left = seeds - sums.seeds if virtual_s <= sums.virtual_s else PIECE * processes
            sums.take(pool.map(play, range(begins, begins + min(left, PIECE * processes))))
            sys.stdout.write(f"{sums}\n")
            sys.stdout.flush()
    return sums


def _begin() -> None:
    warm_up(KERNELS_DIR)
    # What is imported now stays: each history's garbage is found without looking at it.
    gc.collect()
    gc.freeze()


def main() -> int:
    """Play them, and keep the figures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.seeds")
    parser.add_argument("--first", type=int, default=int(time.time()), help="the first seed")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many at least")
    parser.add_argument("--days", type=float, default=7.0, help="how much virtual time at least")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    sums = run(options.first, options.seeds, options.days * DAY_S, options.processes)
    record("seeds", sums.figures())
    return 1 if sums.broken else 0


if __name__ == "__main__":
    # A seed is the same history in every process only so.
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.campaigns.seeds", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    sys.exit(main())
