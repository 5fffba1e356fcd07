"""Play seeds: `python -m tests.simulation [--first N] [--seeds N] [--seconds S] [--kind KIND]`.

`--longer 100` plays a quarter of an hour of each, with rests between few faults.
Prints the timeline of the first seed that breaks, with the fewest kinds of fault that break it, and
ends with 1. Else prints a hash of all that happened. Runs with PYTHONHASHSEED=0: a seed is the same
history in every process. `--search` changes plans that reached states which no other had reached.
"""

import argparse
import gc
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.plan import Plan


def main() -> int:
    """Play them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10**9, help="how many at most")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how much CPU at most")
    parser.add_argument("--kind", action="append", default=[], help="only with this fault or side")
    parser.add_argument("--with", dest="asked_for", action="append", help="this kind as well")
    parser.add_argument("--plan", action="append", help="a plan by its name, as a search prints it")
    parser.add_argument("--longer", type=int, default=1, help="so many times as long, with rests")
    parser.add_argument("--search", action="store_true", help="change plans that found new states")
    parser.add_argument("--kernels", type=Path, default=Path("state/kernels"), help="their folder")
    parser.add_argument("--whole", action="store_true", help="do not reduce a seed that breaks")
    options = parser.parse_args()

    from stream.ops.kernels import warm_up
    from tests.simulation.history import Broken, played, reduced, timeline
    from tests.support.figures import record

    warm_up(options.kernels)
    # What is imported now stays: each history's garbage is found without looking at it.
    gc.collect()
    gc.freeze()
    began_s, virtual_s, seeds = time.process_time(), 0.0, 0
    traces, states = hashlib.blake2b(digest_size=8), set[object]()
    found: list[Plan] = []
    print(f"first seed {', '.join(options.plan or [str(options.first)])}", flush=True)
    for drawn in _plans(options, found):
        plan = drawn.longer(options.longer) if options.longer > 1 else drawn
        if time.process_time() - began_s > options.seconds:
            break
        try:
            result = played(plan)
        except Broken as broken:
            record("simulation", _figures(options.first, seeds, virtual_s, broken=1))
            print(broken if options.whole else timeline(reduced(plan)))
            again = f"--plan {plan.name}" + (f" --longer {plan.times}" if plan.times > 1 else "")
            print(f"seed {plan.name} breaks: python -m tests.simulation {again}")
            return 1
        seeds, virtual_s = seeds + 1, virtual_s + result.past_s
        traces.update(result.trace.encode())
        if not result.states <= states:
            states |= result.states
            found.append(drawn)
    took_s = time.process_time() - began_s
    print(f"{seeds} seeds, {virtual_s:.0f} virtual seconds in {took_s:.0f} s, {len(states)} states")
    print(f"trace {traces.hexdigest()}")
    record("simulation", _figures(options.first, seeds, virtual_s, broken=0))
    return 0


def _figures(first: int, seeds: int, virtual_s: float, *, broken: int) -> dict[str, int]:
    return {"first_seed": first, "seeds": seeds, "virtual_s": round(virtual_s), "broken": broken}


def _plans(options: argparse.Namespace, found: "list[Plan]") -> "Iterator[Plan]":
    """Yield what is to be played; a search plays a change of a plan in `found` each other time."""
    from tests.simulation.plan import Plan

    asked_for = options.asked_for or ()
    if options.plan:
        yield from (Plan.called(name, asked_for) for name in options.plan)
        return
    rng = Random(options.first)
    for seed in range(options.first, options.first + options.seeds):
        plan = Plan.called(str(seed), asked_for)
        if not {*options.kind} <= {*plan.kinds, *plan.sides}:
            continue
        if options.search and found and seed % 2:
            plan = rng.choice(found[-200:]).changed(seed)
        yield plan


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    sys.exit(main())
