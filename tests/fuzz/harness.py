"""The command line of the fuzz targets: rounds with the next seed until the time is over."""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Collection
from typing import TypeVar

Kind = TypeVar("Kind", bound=str)


def fuzz(
    said: str, kinds: Collection[Kind], one_round: Callable[[Kind, int], int], option: str
) -> None:
    """Run `one_round(kind, seed)` for each kind, again and again, and print what it counted.

    `said` names what is counted; `option` chooses kinds. The first failure ends it, as an error
    whose note has the input. The memory's peak and the slowest round show what has no bound.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(option, choices=sorted(kinds), action="append", dest="kinds")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    until, seed, count = time.monotonic() + arguments.seconds, arguments.seed, 0
    rounds, slowest_s = 0, 0.0
    while time.monotonic() < until:
        for kind in arguments.kinds or kinds:
            began_s = time.monotonic()
            count += one_round(kind, seed)
            rounds, slowest_s = rounds + 1, max(slowest_s, time.monotonic() - began_s)
        seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(
        f"{count} {said} in {rounds} rounds, the slowest took {slowest_s:.1f} s; "
        f"{peak} MB at most; next seed {seed}\n"
    )
