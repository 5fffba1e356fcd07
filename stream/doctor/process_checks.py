"""Checks of running processes: crashes, unknown trunks, lists out of scope, ports."""

import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from stream.calls.crash_notes import FOLDER, read_crashes
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.ops.monitor import metric_names
from stream.ops.monitor.scrape import ScrapeAnswer
from stream.ops.monitor.targets import STARTED_BY


def check_set_aside(state_dir: Path, rejected_topic: str) -> Iterator[CheckLine]:
    """List records that were set aside lately, and what workers stopped at."""
    ledger = read_crashes(state_dir / FOLDER)
    for one in ledger.aside:
        record, at = one.record, datetime.fromtimestamp(one.at_ms / 1000, UTC)
        said = (
            f"{record.topic}/{record.partition}/{record.offset} stopped workers and is in "
            f"{rejected_topic} since {at:%Y-%m-%d %H:%M} UTC"
        )
        yield warn("records that stop workers", said, 'RUNBOOK, "A record stops workers"')
    if ledger.crashes:
        places = sorted({f"{one.topic}/{one.partition}" for one in ledger.crashes})
        said = f"{len(ledger.crashes)} times lately a worker crashed at work on {', '.join(places)}"
        yield warn("workers that stopped", said, "their log before; RUNBOOK, RestartLoop")
    if not ledger.aside and not ledger.crashes:
        yield ok("records that stop workers", "none is known here")


def trunk_lines(answers: Iterable[ScrapeAnswer]) -> Iterator[CheckLine]:
    """Calls on trunks that the configuration does not have, as running workers counted them."""
    for one in answers:
        if one.reading is None:
            continue
        calls = sum(value for _, value in one.reading.series("ringfence_calls_unknown_trunk_total"))
        if calls:
            said = (
                f"{one.place.name}: {calls:,.0f} calls or more named a trunk that is not configured"
            )
            fix = "its log names one (`unknown trunk`); add [trunks.NAME], or correct the switch"
            yield warn("trunks", said, fix)


_REASONS = {
    "country_not_allowed": "of countries that it may not list",
    "own_service_number": "of our own ([feeds] own_numbers)",
    "emergency_number": "that are dialled for help",
}


def scope_lines(answers: Iterable[ScrapeAnswer]) -> Iterator[CheckLine]:
    """Lists whose hashes matched numbers that they may not name, since the engine began."""
    found: Counter[tuple[str, str]] = Counter()
    known = False
    for one in answers:
        if one.reading is None or not one.reading.has(metric_names.CALLS):
            continue
        known = True
        for labels, count in one.reading.series(metric_names.OUT_OF_SCOPE, confirmed="true"):
            found[labels.get("list", ""), labels.get("reason", "")] += int(count)
    for (name, reason), count in sorted(found.items()):
        whose = _REASONS.get(reason, reason)
        said = f"{name} matched {count:,} numbers {whose}; they were only observed"
        yield warn("what lists name", said, f"ask its owner; ringfence lists show {name}")
    if known and not found:
        yield ok("what lists name", "no list matched a number that it may not name")


def port_lines(answers: Iterable[ScrapeAnswer]) -> Iterator[CheckLine]:
    """Check the ports of our processes: ours, free, or taken by another program."""
    for one in answers:
        name, url = f"port of {one.place.name}", one.place.url
        start = STARTED_BY.get(one.place.kind, "start it there")
        if one.reading is not None and one.ready:
            yield ok(name, f"{url}: ours, ready")
        elif one.reading is not None:
            yield warn(name, f"{url}: ours, not ready: {'; '.join(one.missing)}", "its log")
        elif _free(url):
            yield ok(name, f"{url} is free: `{start}` is not running")
        else:
            yield fail(name, f"{url}: {one.why}", f"ss -ltnp; or another port for `{start}`")


def _free(url: str) -> bool:
    """Return whether the port is free; the check does not take it."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1.0):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
