"""The command line of the fuzz targets: rounds with the next seed until the time is over."""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from tests.support.figures import record

Kind = TypeVar("Kind", bound=str)


def fuzz(
    said: str,
    kinds: Collection[Kind],
    one_round: Callable[[Kind, int], int],
    option: str,
    each: int,
) -> None:
    """Run `one_round(kind, seed)`, which tries `each` inputs, for each kind, again and again.

    `said` names what a round counts; `option` chooses kinds. With `--inputs` it ends when each kind
    had so many, else when the time is over. The first failure ends it, as an error whose note has
    the input. The memory's peak and the slowest round show what has no bound. With `--part` the
    figures are kept as a part of the campaign `hostile`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(option, choices=sorted(kinds), action="append", dest="kinds")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inputs", type=lambda text: int(float(text)), help="for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", help="keep the figures by this name")
    arguments = parser.parse_args()
    began_s, seed, count = time.monotonic(), arguments.seed, 0
    rounds, slowest_s = 0, 0.0

    def goes_on() -> bool:
        if arguments.inputs is not None:
            return bool((seed - arguments.seed) * each < arguments.inputs)
        return bool(time.monotonic() < began_s + arguments.seconds)

    while goes_on():
        for kind in arguments.kinds or kinds:
            round_s = time.monotonic()
            count += one_round(kind, seed)
            rounds, slowest_s = rounds + 1, max(slowest_s, time.monotonic() - round_s)
        seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    if arguments.part is not None:
        record(
            "hostile",
            {
                "inputs_each": (seed - arguments.seed) * each,
                "kinds": sorted(arguments.kinds or kinds),
                "taken": count,
                "slowest_round_s": round(slowest_s, 1),
                "peak_mb": peak,
                "cpu_s": round(time.process_time()),
                "first_seed": arguments.seed,
                "failures": 0,
            },
            arguments.part,
        )
    sys.stdout.write(
        f"{count} {said} of {rounds * each} inputs in {rounds} rounds, the slowest took "
        f"{slowest_s:.1f} s; {peak} MB at most; next seed {seed}\n"
    )
