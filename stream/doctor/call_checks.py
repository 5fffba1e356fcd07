"""The calls' way: records that stopped workers, and trunks that nobody configured."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from stream.calls.crash_notes import FOLDER, read_ledger
from stream.doctor.result import Line, ok, warn
from stream.ops.monitor.scrape import Answer


def check_set_aside(state_dir: Path, rejected_topic: str) -> Iterator[Line]:
    """List records that were set aside lately, and what workers stopped at."""
    ledger = read_ledger(state_dir / FOLDER)
    for one in ledger.aside:
        record, at = one.record, datetime.fromtimestamp(one.at_ms / 1000, UTC)
        said = (
            f"{record.topic}/{record.partition}/{record.offset} stopped workers and is in "
            f"{rejected_topic} since {at:%Y-%m-%d %H:%M} UTC"
        )
        yield warn("records that stop workers", said, 'RUNBOOK, "A record stops workers"')
    if ledger.crashes:
        places = sorted({f"{one.topic}/{one.partition}" for one in ledger.crashes})
        said = f"{len(ledger.crashes)} times lately a worker stopped at work on {', '.join(places)}"
        yield warn("workers that stopped", said, "their log before; RUNBOOK, RestartLoop")
    if not ledger.aside and not ledger.crashes:
        yield ok("records that stop workers", "none is known here")


def trunk_lines(answers: Iterable[Answer]) -> Iterator[Line]:
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
