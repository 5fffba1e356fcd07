"""`ringfence feeds check`: what would come of a file, without storing anything."""

import asyncio
import csv
import hashlib
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.feeds.feeds_detect import NumberColumn, asking, question_lines, regions_of
from stream.cli.list_store import NOTHING_DONE, USAGE, Region, fail, now_s, say
from stream.cli.output import print_json
from stream.config.feed_files import house_of, read_feed
from stream.config.sections import feed_paths
from stream.config.settings import EngineSettings
from stream.core.model import csv_cells
from stream.core.model.errors import ListStoreDown, ListStoreUnsafe, ListUnknown
from stream.feeds.assess import Arrival, Assessed, assess, last_of
from stream.feeds.detection.detect import detect
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.feed import Feed
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateVerdict
from stream.feeds.open import format_of
from stream.feeds.read import is_whole
from stream.feeds.state_store import FeedStateStore
from stream.feeds.transports.transport import Fetched
from stream.feeds.version_files import VersionFiles
from stream.lists.store.list_store import ListStore
from stream.ops.schema import checks
from stream.services.feeds import around_of

SHOWN_MAX = 20
FileName = Annotated[Path, typer.Argument(help="A file as the partner sends it.", exists=True)]


def check(
    file: FileName,
    name: Annotated[
        str | None, typer.Option("--feed", help="Read and judged as this feed's file says.")
    ] = None,
    increment: Annotated[
        bool, typer.Option("--increment", help="The file adds to the list; else it is all of it.")
    ] = False,
    region: Region = None,
    number: NumberColumn = "",
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Say what would come of a file: rows accepted, rejected and why, changes, the gate's verdict.

    Nothing is stored. Without --feed the format is found from the file, as `feeds detect` does
    (--region and --number answer its questions), and it is compared with no list; without Redis
    too, and that is said. Exit code 0: it would go live with every row, 1: not, or not all of it,
    2: it cannot be read.

    Example: ringfence feeds check numbers.csv --feed kh-scam
    """
    settings = settings_of(config)
    proposal = None
    if name is None:
        try:
            proposal = _recognised(settings, file, region, number)
        except InputUnreadable as error:
            if not as_json:
                fail(str(error), USAGE)
            print_json({"format": None, "unreadable": str(error)})
            raise typer.Exit(USAGE) from error
        if proposal.question is not None:
            command = asking("feeds check", file, region, number)
            _ask(file, proposal, command, as_json=as_json)
        feed = _feed_of(settings, proposal)
    else:
        if region is not None or number:
            fail("--region and --number are said by the feed's file: leave them out", USAGE)
        feed = feed_for(settings, name)
    with tempfile.TemporaryDirectory(prefix="ringfence-check-") as folder:
        versions = VersionFiles(Path(folder), feed.name)
        whole = is_whole(feed, file, said=not increment)
        arrival = _arrival(file, whole=whole)
        versions.place(arrival.id).mkdir(parents=True)
        found, unknown = asyncio.run(_assessed(settings, feed, arrival, versions, name is not None))
        rejected = _rejected(versions.rejects(arrival.id))
    if as_json:
        print_json(_json(feed, found, unknown, rejected))
    else:
        if proposal is not None:
            _print_reading(file, proposal)
        _print(file, feed, found, unknown, rejected)
    if found.read.unreadable:
        raise typer.Exit(USAGE)
    if found.judgement.verdict is not GateVerdict.ACCEPTED or rejected:
        raise typer.Exit(NOTHING_DONE)


def _ask(file: Path, proposal: FeedProposal, command: str, *, as_json: bool) -> NoReturn:
    """Say what has to be said first; nothing can be told of the file before."""
    if as_json:
        assert proposal.question is not None
        print_json({"format": proposal.kind, "question": asdict(proposal.question)})
    else:
        say(f"{file}: seems to be {proposal.kind}, but:")
        for line in question_lines(proposal, command):
            say(f"  {line}")
        say("the gate: no version like this would be let in before that is said")
    raise typer.Exit(NOTHING_DONE)


def _print_reading(file: Path, proposal: FeedProposal) -> None:
    """How the file was read, so that a wrong column or country is seen."""
    read = [f"{name} from {place!r}" for name, place in proposal.options.columns.items()]
    if proposal.region is not None:
        read.append(f"national numbers of {proposal.region}")
    if read:
        say(f"{file}: recognised as {proposal.kind}: {', '.join(read)}")


def feed_for(settings: EngineSettings, name: str) -> Feed:
    """The feed of that name, as its file says."""
    folder = Path(settings.feeds.dir)
    paths = feed_paths(folder)
    if name not in paths:
        fail(f"{folder}: no feed {name}; known: {', '.join(paths) or 'there is none'}", USAGE)
    return read_feed(paths[name], os.environ, house_of(settings)).feed


def recognised_feed(settings: EngineSettings, file: Path) -> Feed:
    """How `file` is read without a feed's file: as it is recognised, by its name where it is not.

    A file that has to be asked about is an error with the question.
    """
    try:
        proposal = _recognised(settings, file, None, "")
    except InputUnreadable as error:
        fail(str(error), USAGE)
    if proposal.question is not None:
        lines = question_lines(proposal, asking("feeds check", file, None, ""))
        fail("\n  ".join((f"{file}: seems to be {proposal.kind}, but:", *lines)), USAGE)
    return _feed_of(settings, proposal)


def _feed_of(settings: EngineSettings, found: FeedProposal) -> Feed:
    house = house_of(settings)
    return Feed(
        name="check",
        list_name="",
        owner="",
        contact="",
        format=found.kind,
        options=found.options,
        region=found.region,
        dates=found.dates,
        unknown_category="other",
        own=house.own,
        prefixes=house.prefixes,
    )


def _recognised(
    settings: EngineSettings, file: Path, region: str | None, number: str
) -> FeedProposal:
    """How a file is most likely to be read; by its name where it is nothing that is known.

    Raises InputUnreadable.
    """
    if region is not None and (wrong := checks.country(region)) is not None:
        fail(f"--region {wrong}", USAGE)
    regions = (region,) if region else regions_of(settings)
    found = detect(file, regions, now_s(), number)
    return found[0] if found else FeedProposal(format_of(file), 0, "")


def _arrival(file: Path, *, whole: bool) -> Arrival:
    found = file.stat()
    digest = ""
    if file.is_file():
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    fetched = Fetched(
        file, found.st_size, digest, {}, whole=whole, as_of_s=int(found.st_mtime), origin=str(file)
    )
    return Arrival(fetched=fetched, at_s=now_s())


async def _assessed(
    settings: EngineSettings, feed: Feed, arrival: Arrival, versions: VersionFiles, compared: bool
) -> tuple[Assessed, str]:
    """What is found, and why it was compared with nothing ("": it was compared)."""
    around, unknown = around_of(settings), "no --feed was given"
    rejects = versions.rejects(arrival.id)
    if compared:
        try:
            async with (
                await ListStore.connect(settings.list_store()) as register,
                FeedStateStore.open(settings.list_store()) as book,
            ):
                last = last_of(await book.state(feed.name), feed.list_name)
                found = await assess(register, feed, arrival, around, last, now_s(), rejects)
                return found, ""
        except ListUnknown:
            unknown = f"there is no list {feed.list_name} yet; the first version makes it"
        except (ListStoreDown, ListStoreUnsafe) as fault:
            unknown = f"the register cannot be asked ({fault})"
    return await assess(None, feed, arrival, around, None, now_s(), rejects), unknown


def _rejected(path: Path) -> list[dict[str, str]]:
    """The rejected rows that stand in a rejects file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        return [{name: csv_cells.plain(text) for name, text in row.items()} for row in rows]


def _print(
    file: Path, feed: Feed, found: Assessed, unknown: str, rejected: list[dict[str, str]]
) -> None:
    read, change = found.read, found.change
    if read.unreadable:
        say(f"{file}: is no {feed.format}: {read.unreadable}")
        return
    parts = [f"{read.good:,} good rows", f"{len(rejected):,} rejected"]
    parts += [f"{read.passed_over:,} passed over"] if read.passed_over else []
    say(f"{file}: {feed.format}, {', '.join(parts)}")
    for row in rejected[:SHOWN_MAX]:
        say(f"  line {row['line']}: {row['reason']}: {row['value']!r}: {row['what_to_do']}")
    if len(rejected) > SHOWN_MAX:
        say(f"  ... and {len(rejected) - SHOWN_MAX:,} more; --json has them all")
    for what, count in read.adjusted.items():
        say(f"  {count:,} rows adjusted: {what}")
    if change is not None:
        figures = f"{change.gained:,} numbers would come, {change.lost:,} go"
        say(f"{feed.list_name}: {figures}, {change.updated:,} reports change")
    else:
        say(f"not compared with a list: {unknown}")
    for finding in found.judgement.findings:
        say(f"  {finding.verdict}: {finding.reason}: {finding.detail}")
    said = {
        GateVerdict.ACCEPTED: "would go live",
        GateVerdict.SAME: "is the last good version already",
    }
    text = f"would be {found.judgement.verdict}"
    say(f"the gate: this version {said.get(found.judgement.verdict, text)}")


def _json(
    feed: Feed, found: Assessed, unknown: str, rejected: list[dict[str, str]]
) -> dict[str, Any]:
    read, change, judgement = found.read, found.change, found.judgement
    return {
        "format": feed.format,
        "unreadable": read.unreadable or None,
        "good": read.good,
        "passed_over": read.passed_over,
        "rejected": rejected,
        "adjusted": dict(read.adjusted),
        "compared_with": None if unknown else feed.list_name,
        "not_compared": unknown or None,
        "gained": change.gained if change is not None else None,
        "lost": change.lost if change is not None else None,
        "updated": change.updated if change is not None else None,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "findings": [
            {"reason": f.reason, "verdict": f.verdict, "detail": f.detail}
            for f in judgement.findings
        ],
    }
