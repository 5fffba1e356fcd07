"""A feed's version as commands print it: the gate's verdict, counts, the first rejected rows."""

import csv
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from stream.cli.output import NOTHING_DONE, Format, render, say
from stream.config.settings import Settings
from stream.core.model.moments import rfc3339
from stream.feeds.feed import VersionRecord, in_words
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.gate import GateVerdict
from stream.feeds.version_files import VersionFiles

FIRST_ROWS: Final = 20
"""Rejected rows that the answer lists; the rejects file has all."""


def told_version(setup: FeedSetup, record: VersionRecord, settings: Settings, form: Format) -> None:
    """Print the gate's verdict on a version, and end with its exit code."""
    name = setup.feed.name
    rejects = VersionFiles(Path(settings.lists.state_dir), name).rejects(record.id)

    def draw() -> None:
        say(f"{name}: {in_words(record)}")
        if record.rejected and rejects.exists():
            for label, count in record.rejected.items():
                say(f"  rejected {count:,}: {label}")
            say(f"  the rejected rows are in {rejects}")
        if record.verdict == GateVerdict.HELD:
            say(f"  see: ringfence feeds held {name}")

    value = {"feed": name, "list": setup.feed.list_name, **record_json(record)}
    render(form, value | {"rejected_rows": _first_rejected(rejects)}, draw)
    if record.verdict in {GateVerdict.HELD, GateVerdict.REFUSED}:
        raise typer.Exit(NOTHING_DONE)


def _first_rejected(rejects: Path) -> list[dict[str, str]]:
    """Return line and reason of the first rejected rows; the texts of rows may be numbers."""
    if not rejects.exists():
        return []
    with rejects.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = islice(csv.DictReader(file), FIRST_ROWS)
        return [{name: row[name] for name in ("line", "reason", "what_to_do")} for row in rows]


def record_json(record: VersionRecord) -> dict[str, Any]:
    """Return a version as plain values, without what its transport remembers."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    found.pop("remember", None)
    for name in ("at_s", "decided_at_s", "as_of_s", "renewed_at_s"):
        if name in found:
            found[name.removesuffix("_s")] = rfc3339(found.pop(name) or 0)
    return found
