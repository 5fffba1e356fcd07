"""The calls' way: records that stopped workers, as this machine's workers have noted them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from stream.calls.crashes import FOLDER, read_ledger
from stream.config import Settings
from stream.doctor.line import Line, ok, warn


def check_set_aside(settings: Settings) -> Iterator[Line]:
    """Records that were set aside lately, and what workers stopped at."""
    folder = Path(settings.lists.state_dir, FOLDER)
    ledger = read_ledger(folder)
    for one in ledger.aside:
        record, at = one.record, datetime.fromtimestamp(one.at_ms / 1000, UTC)
        said = (
            f"{record.topic}/{record.partition}/{record.offset} stopped workers and is in "
            f"{settings.calls.rejected_topic} since {at:%Y-%m-%d %H:%M} UTC"
        )
        yield warn("records that stop workers", said, 'RUNBOOK, "A record stops workers"')
    if ledger.crashes:
        places = sorted({f"{one.topic}/{one.partition}" for one in ledger.crashes})
        said = f"{len(ledger.crashes)} times lately a worker stopped at work on {', '.join(places)}"
        yield warn("workers that stopped", said, "their log before; RUNBOOK, RestartLoop")
    if not ledger.aside and not ledger.crashes:
        yield ok("records that stop workers", "none is known here")
