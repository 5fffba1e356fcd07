"""`ringfence feeds preview`: a file that somebody is about to hand in, for the page.

It prints one JSON document, and stores nothing. The file is foreign: this process has the limits of
one that reads a version.
"""

import resource
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from stream.cli.common import settings_of
from stream.cli.feeds.feed_check import Told, detected, looked_at, setup_of
from stream.cli.options import Actor, ConfigFiles, FromPartner
from stream.cli.output import USAGE, fail, print_json
from stream.cli.store_access import by
from stream.config.settings import EngineSettings
from stream.core.model.entry import Columns
from stream.feeds.assess import Assessed
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.feed import Feed, ReadAs
from stream.feeds.file_report import check_report, file_report
from stream.feeds.formats.rows import InputUnreadable
from stream.lists.store.heads import By

EXAMPLES: Final = 8
"""Numbers that would come or go, as examples."""
ROWS: Final = 50
"""Rejected rows that are listed; the counts have all."""
ReadAsJson = Annotated[
    str, typer.Option("--read-as", help="How to read it, as `feeds preview` proposes it, JSON.")
]


def preview(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The feed: its file's name.")],
    file: FromPartner,
    reading: ReadAsJson = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Say in JSON how a file is understood, and what handing it in would change. Stores nothing.

    Without --read-as the format and the columns are found from the file.

    Example: ringfence feeds preview kh-police numbers.csv
    """
    settings = settings_of(config)
    setup = setup_of(settings, name)
    _stay_within(settings)
    how = read_as(reading)
    found: dict[str, Any] = {"file": None, "check": None, "read_as": how, "unreadable": ""}
    try:
        proposal = _proposal(settings, file, how, setup.feed.reading.region)
    except InputUnreadable as error:
        proposal = None
        found["unreadable"] = str(error).replace(str(file), "the file")
    if proposal is not None:
        found["file"] = file_report(proposal, "")
        found["read_as"] = how = _completed(how, proposal)
    if how is not None and (proposal is None or proposal.question is None):
        found |= _checked(settings, setup.feed, file, how, by(actor, ""))
    print_json(found)


def read_as(text: str) -> ReadAs | None:
    """Return the reading in a JSON text; None: there is none. Ends with 2 if it is none."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text.encode(), type=ReadAs)
    except (msgspec.DecodeError, ValueError) as error:
        fail(f"--read-as: {error}", USAGE)


def _proposal(
    settings: EngineSettings, file: Path, how: ReadAs | None, usual: str | None
) -> FeedProposal | None:
    """Return the likeliest reading, with the answers that `how` has. Raises InputUnreadable.

    `usual` is the country of national numbers in the feed's own files.
    """
    told = Told(usual)
    if how is not None:
        number = str(how.options.columns.get("number", ""))
        told = Told(how.region or usual, number, how.options.sheet, how.options.items)
    found = detected(settings, file, told)
    return found[0] if found else None


def _completed(how: ReadAs | None, one: FeedProposal) -> ReadAs:
    """Return the person's reading; where it names no columns yet, with those of the proposal."""
    if how is not None and (how.options.columns or not one.options.columns):
        return how
    return ReadAs(
        format=one.kind,
        options=one.options,
        region=one.region,
        dates=one.dates.order,
        buddhist=one.dates.buddhist,
    )


def _checked(
    settings: EngineSettings, feed: Feed, file: Path, how: ReadAs, who: By
) -> dict[str, Any]:
    """Return the gate's view of the file, and examples of what would come and go."""
    found, unknown, rejected = looked_at(settings, feed, file, sent=who, read_as=how)
    report = check_report(how.over(feed), found, unknown, rejected[:ROWS])
    counts = {wrong.label: count for wrong, count in found.read.rejected.items()}
    return {"check": report, "rejected": counts, **_examples(found)}


def _examples(found: Assessed) -> dict[str, list[str]]:
    if found.change is None:
        return {"comes": _numbers(found.read.columns), "goes": []}
    return {"comes": _numbers(found.change.written), "goes": _numbers(found.change.retracted)}


def _numbers(columns: Columns) -> list[str]:
    rows = range(min(EXAMPLES, len(columns)))
    return [columns.entry(row).number or "a hash" for row in rows]


def _stay_within(settings: EngineSettings) -> None:
    """Bound this process, as that of a version is bounded."""
    memory = settings.feeds.memory_mb_max << 20
    seconds = int(settings.feeds.cpu_s_max) + 1
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
