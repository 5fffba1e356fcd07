"""`python -m tests.bench`: run the benches, print one table, write JSON.

    python -m tests.bench                           all of them, about half an hour
    python -m tests.bench --only throughput         one; may be repeated
    python -m tests.bench --quick                   small and fast: does the harness work?
    python -m tests.bench --rounds 2                fewer rounds: sooner, less sure
    python -m tests.bench --lists 8                 lists of a worker: sooner made
    python -m tests.bench --peers plain             only the peer that needs no `make bench-peers`
    python -m tests.bench --json FILE               (default build/bench/result.json)

Exits with 1 if a floor was missed (never with --quick, whose figures mean nothing).
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.bench import (
    bench_agreements,
    bench_batches,
    bench_busy,
    bench_changes,
    bench_commands,
    bench_dialects,
    bench_enumerate,
    bench_exchange,
    bench_feeds,
    bench_handovers,
    bench_imports,
    bench_invite,
    bench_latency,
    bench_lookup,
    bench_membership,
    bench_memory,
    bench_prefixes,
    bench_records,
    bench_replay,
    bench_rules,
    bench_scrapes,
    bench_sinks,
    bench_sip,
    bench_sizes,
    bench_stages,
    bench_swaps,
    bench_throughput,
    bench_versions,
    bench_workers,
)
from tests.bench.lab import CACHE, FULL, QUICK, Lab
from tests.bench.machine import described, on_core
from tests.bench.report import Report, show, write

FILE_WIDTH = 140

BENCHES: dict[str, Callable[[Lab], Awaitable[list[Report]]]] = {
    "membership": bench_membership.run,
    "records": bench_records.run,
    "dialects": bench_dialects.run,
    "replay": bench_replay.run,
    "rules": bench_rules.run,
    "throughput": bench_throughput.run,
    "latency": bench_latency.run,
    "batches": bench_batches.run,
    "scrapes": bench_scrapes.run,
    "lookup": bench_lookup.run,
    "sip": bench_sip.run,
    "invite": bench_invite.run,
    "workers": bench_workers.run,
    "handovers": bench_handovers.run,
    "changes": bench_changes.run,
    "commands": bench_commands.run,
    "imports": bench_imports.run,
    "feeds": bench_feeds.run,
    "swaps": bench_swaps.run,
    "versions": bench_versions.run,
    "busy": bench_busy.run,
    "memory": bench_memory.run,
    "sizes": bench_sizes.run,
    "prefixes": bench_prefixes.run,
    "enumerate": bench_enumerate.run,
    "agreements": bench_agreements.run,
    "stages": bench_stages.run,
    "exchange": bench_exchange.run,
    "sinks": bench_sinks.run,
}


async def measured(lab: Lab, names: list[str]) -> list[Report]:
    """The reports of the benches `names`, one bench after the other."""
    reports: list[Report] = []
    for name in names:
        lab.console.rule(name)
        reports += await BENCHES[name](lab)
    return reports


def main() -> int:
    """Parse, measure, show, write; the exit code."""
    parser = argparse.ArgumentParser(description="Ringfence's benchmarks", prog="make bench")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small: only shows that it works")
    parser.add_argument("--rounds", type=int, metavar="N", help="of each bench (default: its own)")
    parser.add_argument("--lists", type=int, metavar="N", help="of a worker (default: 64)")
    parser.add_argument("--peers", choices=("all", "plain"), default="all")
    parser.add_argument("--json", type=Path, default=CACHE / "result.json", metavar="FILE")
    options = parser.parse_args()
    # Tables have long names; in a file there is no terminal to be too narrow.
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    # Its warnings about topics that were made or removed a moment ago are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    scale = QUICK if options.quick else FULL
    if options.rounds:
        scale = replace(scale, rounds=options.rounds, latency_rounds=options.rounds)
    if options.lists:
        scale = replace(scale, lists=options.lists)
    header: dict[str, object] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": scale.name,
        "machine": described(),
    }
    with_peers = options.peers == "all"
    with Lab(scale, console, with_peers=with_peers) as lab, on_core(lab.cores.broker):
        reports = asyncio.run(measured(lab, options.only or list(BENCHES)))
        header["pinned"] = lab.cores.pinned
    show(reports, console, f"Ringfence benchmarks, {header['date']}, {scale.name}")
    write(options.json, header, reports)
    console.print(f"Written to {os.path.relpath(options.json)}")
    missed = any(not target.met for report in reports for target in report.targets)
    return int(missed and not options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
