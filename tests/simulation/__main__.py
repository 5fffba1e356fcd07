"""Play seeds: `python -m tests.simulation [--first N] [--seeds N] [--seconds S] [--kind KIND]`.

Prints the timeline of the first seed that breaks, with the fewest kinds of fault that break it, and
ends with 1. Else prints a hash of all that happened. Runs with PYTHONHASHSEED=0: a seed is the same
history in every process.
"""

import argparse
import gc
import hashlib
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Play them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10**9, help="how many at most")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how much CPU at most")
    parser.add_argument("--kind", default="", help="only seeds that draw this kind of fault")
    parser.add_argument("--kernels", type=Path, default=Path("state/kernels"), help="their folder")
    parser.add_argument("--whole", action="store_true", help="do not reduce a seed that breaks")
    options = parser.parse_args()

    from stream.ops.kernels import warm_up
    from tests.simulation.history import Broken, Plan, played, reduced, timeline
    from tests.support.figures import record

    warm_up(options.kernels)
    # What is imported now stays: each history's garbage is found without looking at it.
    gc.collect()
    gc.freeze()
    began_s, virtual_s, seed, seeds = time.process_time(), 0.0, options.first, 0
    traces = hashlib.blake2b(digest_size=8)
    print(f"first seed {seed}", flush=True)
    while seed < options.first + options.seeds and time.process_time() - began_s < options.seconds:
        try:
            if not options.kind or options.kind in Plan.of(seed).kinds:
                result, seeds = played(seed), seeds + 1
                virtual_s += result.past_s
                traces.update(result.trace.encode())
        except Broken as broken:
            record("simulation", _figures(options.first, seeds, virtual_s, broken=1))
            print(broken if options.whole else timeline(reduced(Plan.of(seed))))
            print(f"seed {seed} breaks: python -m tests.simulation --first {seed} --seeds 1")
            return 1
        seed += 1
    took_s = time.process_time() - began_s
    print(f"{seeds} seeds, {virtual_s:.0f} virtual seconds in {took_s:.0f} s")
    print(f"trace {traces.hexdigest()}")
    record("simulation", _figures(options.first, seeds, virtual_s, broken=0))
    return 0


def _figures(first: int, seeds: int, virtual_s: float, *, broken: int) -> dict[str, int]:
    return {"first_seed": first, "seeds": seeds, "virtual_s": round(virtual_s), "broken": broken}


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    sys.exit(main())
