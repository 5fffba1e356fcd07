"""`ringfence feeds preview`: a file before it is submitted, for the page.

It prints one JSON document, and stores nothing. The file is foreign: this process has the limits of
one that reads a version.
"""

import resource
from dataclasses import replace
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
from stream.feeds.detection.lookalikes import DateOrder
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.feed import Feed, ReadAs
from stream.feeds.file_report import check_report, file_report
from stream.feeds.formats.rows import InputUnreadable
from stream.lists.store.heads import By

EXAMPLES: Final = 8
"""Numbers that would come or go, as examples."""
ROWS: Final = 50
"""Rejected rows that are listed; the counts have all."""
_DATED: Final = frozenset({"reported_at", "expires_at"})
ReadAsJson = Annotated[
    str,
    typer.Option("--read-as", help="How to read the file: JSON, as `feeds preview` proposes it."),
]


def preview(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The feed: the name of its file.")],
    file: FromPartner,
    reading: ReadAsJson = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Print as JSON how a file is read, and what it would change. Stores nothing.

    Without --read-as it detects the format and the columns.

    Example: ringfence feeds preview kh-police numbers.csv
    """
    settings = settings_of(config)
    setup = setup_of(settings, name)
    _stay_within(settings)
    how = read_as(reading)
    found: dict[str, Any] = {"file": None, "check": None, "read_as": how, "unreadable": ""}
    try:
        proposal = _proposal(settings, file, how, setup.feed)
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
    settings: EngineSettings, file: Path, how: ReadAs | None, feed: Feed
) -> FeedProposal | None:
    """Return the likeliest reading, with the answers that `how` has. Raises InputUnreadable.

    Where it has none, those of the feed's file count: whose national numbers, and which days.
    """
    usual = feed.reading
    told = Told(usual.region, dates=_said(usual.dates.order))
    if how is not None:
        number = str(how.options.columns.get("number", ""))
        told = Told(
            *(how.region or usual.region, number, how.options.sheet, how.options.items),
            *(_said(how.dates) or told.dates, how.expires_dates or None),
        )
    found = detected(settings, file, told)
    if not found:
        return None
    columns = how.options.columns if how is not None else {}
    asked = found[0].question
    if columns and asked is not None and asked.is_of_dates and not _DATED & columns.keys():
        return replace(found[0], question=None)  # the person reads no column of days
    return found[0]


def _said(order: DateOrder) -> DateOrder | None:
    """Return an order as an answer. "iso" is none: it is what nobody changed."""
    return None if order == "iso" else order


def _completed(how: ReadAs | None, one: FeedProposal) -> ReadAs:
    """Return the person's reading; where it names no columns yet, that of the proposal."""
    if how is not None and how.options.columns:
        return how
    asked = one.question.option if one.question is not None else ""
    # Each sheet or array has columns of its own: these are found once it is chosen.
    options = replace(one.options, columns={}) if asked in {"--sheet", "--items"} else one.options
    return ReadAs(
        format=one.kind,
        options=options,
        region=one.region,
        dates=one.dates.order,
        expires_dates=one.dates.expires,
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
