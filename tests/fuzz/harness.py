"""The command line of the fuzz targets: rounds with the next seed until the time is over."""

import argparse
import sys
import time
from collections.abc import Callable, Collection
from typing import TypeVar

Kind = TypeVar("Kind", bound=str)


def fuzz(
    said: str, kinds: Collection[Kind], one_round: Callable[[Kind, int], int], option: str
) -> None:
    """Run `one_round(kind, seed)` for each kind, again and again, and print what it counted.

    `said` names what is counted; `option` chooses kinds. The first failure ends it, as an error.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(option, choices=sorted(kinds), action="append", dest="kinds")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    until, seed, count = time.monotonic() + arguments.seconds, arguments.seed, 0
    while time.monotonic() < until:
        for kind in arguments.kinds or kinds:
            count += one_round(kind, seed)
        seed += 1
    sys.stdout.write(f"{count} {said}; next seed {seed}\n")
