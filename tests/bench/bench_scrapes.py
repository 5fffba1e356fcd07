"""Decision latency while a thousand scrapers read `/metrics` at once.

No peer: compared is the engine with itself, left alone and scraped, rounds interleaved, at 2,000
CDR/s with a decision for each, from append to append as in bench_latency.py, with 64 lists of 1M
numbers. Scraped means: every five seconds 1,000 connections at once, each of which asks for the
page once and reads it whole, from the broker's core.

Target: p99 at most a tenth above that of the quiet rounds.
"""

from contextlib import ExitStack
from pathlib import Path

from tests.bench import snapshots
from tests.bench.alternatives import Peer
from tests.bench.bench_latency import Delay, against_quiet, delay_of, times_quiet, told
from tests.bench.engine import READY_S, RINGFENCE, Setup, ringfence
from tests.bench.lab import Lab, Work
from tests.bench.process import Process, python
from tests.bench.report import Report, Target

RATE = 2_000
SCRAPERS = 1_000
EVERY_S = 5.0


async def run(lab: Lab) -> list[Report]:
    """Quiet and scraped rounds in turn."""
    setup = Setup(snapshots.state_dir(lab))
    delays: dict[str, list[Delay]] = {"quiet": [], "scraped": []}
    logs: list[Path] = []
    for number in range(lab.scale.latency_rounds):
        for name, found in delays.items():
            with ExitStack() as stack:
                peer = _engine(lab, setup, stack, logs if name == "scraped" else None)
                found.append(await delay_of(lab, RATE, peer))
            lab.say(f"round {number + 1}, {name}: {told(found[-1])}")
    bursts = [line for log in logs for line in log.read_text().splitlines()]
    assert bursts, "the scrapers were never answered"
    answered = [int(line.split()[0]) for line in bursts]
    slowest_s = max(float(line.split()[1]) for line in bursts)
    report = against_quiet("scrapes", delays, RATE)
    report.targets = [
        Target("least scrapes answered", min(answered), "", SCRAPERS, SCRAPERS),
        *times_quiet(report, 1.1, 1.0),
    ]
    report.notes.append(
        f"{len(bursts)} bursts of {SCRAPERS:,}, the slowest answered after {slowest_s:.1f} s"
    )
    return [report]


def _engine(lab: Lab, setup: Setup, stack: ExitStack, scraped: list[Path] | None) -> Peer:
    """The engine, and, unless `scraped` is None, scrapers, whose log is added to it."""

    def start(work: Work) -> Process:
        process, port = ringfence(lab, work, setup)
        process.wait_until_ready(port, READY_S)
        if scraped is not None:
            command = python("tests.bench.scraper", "--port", str(port))
            command += ["--scrapers", str(SCRAPERS), "--every", str(EVERY_S)]
            scraped.append(lab.run / f"{lab.new_name('scraper')}.log")
            stack.enter_context(Process("scrapers", command, [lab.cores.broker], scraped[-1]))
        return process

    return Peer(RINGFENCE, start)
