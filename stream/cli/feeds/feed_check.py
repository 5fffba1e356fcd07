"""`ringfence feeds check` and `detect`: a partner's file looked at, without storing anything."""

import asyncio
import csv
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Final, NoReturn

import typer

from stream.cli.common import one_line, region_of, say_comment, settings_of
from stream.cli.options import (
    ConfigFiles,
    DayOrder,
    ExpiresOrder,
    FromPartner,
    ItemsPath,
    NumberColumn,
    Output,
    Region,
    SheetName,
    Strict,
)
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, render, say, warn_of_rejected
from stream.config.feed_files import around_of, feed_context, read_feed
from stream.config.sections import feed_paths
from stream.config.settings import EngineSettings
from stream.core.model import csv_cells
from stream.core.model.errors import ConfigInvalid, ListStoreDown, ListStoreUnsafe, ListUnknown
from stream.feeds.assess import Arrival, Assessed, assess, is_handed_in_again, last_of
from stream.feeds.detection.detect import detect
from stream.feeds.detection.lookalikes import DateOrder
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.feed import READING, Feed, ReadAs
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.file_report import (
    RejectedSeen,
    check_report,
    cleaned_lines,
    cleaned_seen,
    file_report,
)
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateVerdict
from stream.feeds.open import format_of
from stream.feeds.read import is_whole
from stream.feeds.state_store import FeedStateStore
from stream.feeds.transports.transport import Fetched
from stream.feeds.value_parsers import Dates
from stream.feeds.version_files import VersionFiles
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

SHOWN_MAX: Final = 20
NEIGHBOURS: Final = (
    *("TH", "KH", "MM", "LA", "VN", "MY", "SG", "ID", "PH", "BN"),
    *("CN", "HK", "TW", "JP", "KR", "IN", "AU", "GB", "US"),
)
"""Regions that national numbers are tried in, after our own country."""


@dataclass(frozen=True, slots=True)
class Told:
    """Answers of a person about a file, by the options' names."""

    region: str | None = None
    number: str = ""
    sheet: str = ""
    items: str = ""
    dates: DateOrder | None = None
    expires_dates: DateOrder | None = None

    @property
    def spelling(self) -> Dates:
        """The spelling of days that was said."""
        return Dates(self.dates or "iso", expires=self.expires_dates or "")

    def found(self, file: Path, regions: Sequence[str]) -> tuple[FeedProposal, ...]:
        """Return the ways to read a file with these answers. Raises InputUnreadable."""
        orders = (self.dates or "", self.expires_dates or "")
        return detect(file, regions, now_s(), self.number, self.sheet, self.items, *orders)


def check(
    file: FromPartner,
    name: Annotated[
        str | None, typer.Option("--feed", help="Read and judge it as this feed does.")
    ] = None,
    increment: Annotated[
        bool, typer.Option("--increment", help="The file adds to the list.")
    ] = False,
    region: Region = None,
    number: NumberColumn = "",
    sheet: SheetName = "",
    items: ItemsPath = "",
    dates: DayOrder = None,
    expires_dates: ExpiresOrder = None,
    config: ConfigFiles = None,
    strict: Strict = False,
    form: Output = Format.TABLE,
) -> None:
    """Check a partner's file: accepted and rejected rows, changes, and the gate's verdict.

    Nothing is stored. Without --feed it detects the format, as `feeds detect` does (--region,
    --number, --sheet, --items and --dates answer its questions), and compares the file with no
    list. Without Redis it compares with no list either, and says so. Exit codes: 0 the gate would
    accept it, with a warning if rows are rejected (1 with --strict); 1 the gate would not; 2 the
    file cannot be read.

    Example: ringfence feeds check numbers.csv --feed kh-scam
    """
    settings = settings_of(config)
    told = Told(region, number, sheet, items, dates, expires_dates)
    proposal = None
    if name is None:
        try:
            proposal = _recognised(settings, file, told)
        except InputUnreadable as error:
            text = str(error)
            render(form, {"format": None, "unreadable": text}, lambda: note(text))
            raise typer.Exit(USAGE) from error
        if proposal.question is not None:
            command = asking("feeds check", file, told)
            _ask(file, proposal, command, form)
        feed = _feed_of(settings, proposal)
    else:
        if told != Told():
            names = ", ".join(f"--{name.replace('_', '-')}" for name in asdict(told))
            fail(f"{names} are said by the feed's file: leave them out", USAGE)
        feed = setup_of(settings, name).feed
    found, unknown, rejected = looked_at(
        settings, feed, file, whole=not increment, compared=name is not None
    )

    def draw() -> None:
        if proposal is not None:
            _print_reading(file, proposal)
        _print(file, feed, found, unknown, rejected)

    report = asdict(check_report(feed, found, unknown, rejected))
    render(form, report, draw, rows="rejected")
    if found.read.unreadable:
        raise typer.Exit(USAGE)
    failed = warn_of_rejected(len(rejected), strict=strict)
    if found.decision.verdict is not GateVerdict.ACCEPTED or failed:
        raise typer.Exit(NOTHING_DONE)


def _ask(file: Path, proposal: FeedProposal, command: str, form: Format) -> NoReturn:
    """Ask what has to be known first; nothing can be told of the file before."""
    assert proposal.question is not None

    def draw() -> None:
        say(f"{file}: seems to be {proposal.kind}, but:")
        for line in question_lines(proposal, command):
            say(f"  {line}")
        say("the gate: no version like this would be let in before that is said")

    render(form, {"format": proposal.kind, "question": asdict(proposal.question)}, draw)
    raise typer.Exit(NOTHING_DONE)


def _print_reading(file: Path, proposal: FeedProposal) -> None:
    """Print the columns and the country that were read, so that a wrong one is seen."""
    read = [f"{name} from {place!r}" for name, place in proposal.options.columns.items()]
    if proposal.region is not None:
        read.append(f"national numbers of {proposal.region}")
    if read:
        say(f"{file}: recognised as {proposal.kind}: {', '.join(read)}")


def setup_of(settings: EngineSettings, name: str) -> FeedSetup:
    """Return the feed of that name with its transport and times. Raises ConfigInvalid."""
    folder = Path(settings.feeds.dir)
    paths = feed_paths(folder)
    if name not in paths:
        known = ", ".join(paths) or "there is none"
        raise ConfigInvalid((f"{folder}: no feed {name}; known: {known}",))
    return read_feed(paths[name], os.environ, feed_context(settings))


def recognised_feed(settings: EngineSettings, file: Path) -> Feed:
    """Return a feed that reads `file` as it is recognised, or by its name where it is not.

    A file that has to be asked about is an error with the question.
    """
    try:
        proposal = _recognised(settings, file, Told())
    except InputUnreadable as error:
        fail(str(error), USAGE)
    if proposal.question is not None:
        lines = question_lines(proposal, asking("feeds check", file, Told()))
        fail("\n  ".join((f"{file}: seems to be {proposal.kind}, but:", *lines)), USAGE)
    return _feed_of(settings, proposal)


def _feed_of(settings: EngineSettings, found: FeedProposal) -> Feed:
    context = feed_context(settings)
    return Feed(
        name="check",
        list_name="",
        owner="",
        contact="",
        format=found.kind,
        options=found.options,
        reading=replace(
            READING,
            region=found.region,
            dates=found.dates,
            expires_from=found.expires_from,
            unknown_category="other",
            prefixes=context.prefixes,
        ),
        own=context.own,
    )


def _recognised(settings: EngineSettings, file: Path, told: Told) -> FeedProposal:
    """Return the most likely reading of a file; by its name where no format is recognised.

    Raises InputUnreadable.
    """
    found = detected(settings, file, told)
    region = region_of(told.region)
    return found[0] if found else FeedProposal(format_of(file), 0, "", region=region)


def detected(settings: EngineSettings, file: Path, told: Told) -> tuple[FeedProposal, ...]:
    """Return the ways to read a file, with the answers that a person gave."""
    return told.found(file, _regions(settings, told.region))


def looked_at(
    settings: EngineSettings,
    feed: Feed,
    file: Path,
    *,
    whole: bool = True,
    compared: bool = True,
    sent: By | None = None,
    read_as: ReadAs | None = None,
) -> tuple[Assessed, str, tuple[RejectedSeen, ...]]:
    """Return the findings on a file, why it was compared with nothing ("": it was), bad rows."""
    with tempfile.TemporaryDirectory(prefix="ringfence-check-") as folder:
        versions = VersionFiles(Path(folder), feed.name)
        arrival = _arrival(file, whole=is_whole(feed, file, said=whole))
        arrival = replace(arrival, sent=sent, read_as=read_as)
        versions.place(arrival.id).mkdir(parents=True)
        found, unknown = asyncio.run(_assessed(settings, feed, arrival, versions, compared))
        return found, unknown, _rejected(versions.rejects(arrival.id))


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
    """Return the findings, and why it was compared with nothing ("": it was compared)."""
    around, unknown = around_of(settings), "no --feed was given"
    rejects = versions.rejects(arrival.id)
    if compared:
        try:
            async with (
                await ListStore.connect(settings.list_store()) as store,
                FeedStateStore.open(settings.list_store()) as feed_states,
            ):
                state = await feed_states.state(feed.name)
                again = await is_handed_in_again(store, feed, state.accepted, arrival)
                last = last_of(state, feed.list_name, now_s(), renewal=again)
                found = await assess(store, feed, arrival, around, last, now_s(), rejects)
                return found, ""
        except ListUnknown:
            unknown = f"there is no list {feed.list_name} yet; the first version makes it"
        except (ListStoreDown, ListStoreUnsafe) as fault:
            unknown = f"the list store cannot be asked ({fault})"
    return await assess(None, feed, arrival, around, None, now_s(), rejects), unknown


def _rejected(path: Path) -> tuple[RejectedSeen, ...]:
    """The rejected rows that stand in a rejects file."""
    if not path.exists():
        return ()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [
            {name: csv_cells.plain(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    return tuple(RejectedSeen(line=int(row.pop("line")), **row) for row in rows)


def _print(
    file: Path, feed: Feed, found: Assessed, unknown: str, rejected: Sequence[RejectedSeen]
) -> None:
    read, change = found.read, found.change
    if read.unreadable:
        say(f"{file}: is no {feed.format}: {read.unreadable}")
        return
    parts = [f"{read.good:,} good rows", f"{len(rejected):,} rejected"]
    parts += [f"{read.passed_over:,} passed over"] if read.passed_over else []
    say(f"{file}: {feed.format}, {', '.join(parts)}")
    for row in rejected[:SHOWN_MAX]:
        place = f"line {row.line}" if not row.cell else f"cell {row.cell}"
        say(f"  {place}: {row.reason}: {row.value!r}: {row.what_to_do}")
    if len(rejected) > SHOWN_MAX:
        say(f"  ... and {len(rejected) - SHOWN_MAX:,} more; -o json has them all")
    for line in cleaned_lines(cleaned_seen(read.cleaned)):
        say(f"  {line}")
    for what, count in read.adjusted.items():
        say(f"  {count:,} rows adjusted: {what}")
    if change is not None:
        figures = f"{change.gained:,} numbers would come, {change.lost:,} go"
        say(f"{feed.list_name}: {figures}, {change.updated:,} reports change")
    else:
        say(f"not compared with a list: {unknown}")
    for finding in found.decision.findings:
        say(f"  {finding.verdict}: {finding.reason}: {finding.detail}")
    said = {
        GateVerdict.ACCEPTED: "would go live",
        GateVerdict.SAME: "is the last good version already",
    }
    text = f"would be {found.decision.verdict}"
    say(f"the gate: this version {said.get(found.decision.verdict, text)}")


def detect_(
    file: FromPartner,
    region: Region = None,
    number: NumberColumn = "",
    sheet: SheetName = "",
    items: ItemsPath = "",
    dates: DayOrder = None,
    expires_dates: ExpiresOrder = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Detect the format of a file, and propose a feed's file for it.

    Nothing is stored. National numbers are tried in the country of --region, by default in our
    country and its neighbours. --number, --sheet and --items say where the numbers are, --dates how
    to read 01/02/2026. Exit codes: 1 the format is unknown, or a question needs an answer; 2 the
    file cannot be read.

    Example: ringfence feeds detect numbers.csv > config/feeds/kh-scam.toml
    """
    settings = settings_of(config)
    told = Told(region, number, sheet, items, dates, expires_dates)
    try:
        found = detected(settings, file, told)
    except InputUnreadable as error:
        fail(str(error), USAGE)
    command = asking("feeds detect", file, told)
    reports = [file_report(one, str(file)) for one in found]
    render(form, reports, lambda: _print_proposals(file, found, command))
    if not found or found[0].question is not None:
        raise typer.Exit(NOTHING_DONE)


def _regions(settings: EngineSettings, region: str | None) -> tuple[str, ...]:
    """Return the regions that national numbers are tried in: one, or ours and its neighbours."""
    if only := region_of(region):
        return (only,)
    return tuple(dict.fromkeys((settings.calls.home_country, *NEIGHBOURS)))


def asking(command: str, file: Path, told: Told) -> str:
    """Return a command as it was typed, so that an answer can be added to it."""
    words = ["ringfence", *command.split(), str(file)]
    for name, said in asdict(told).items():
        words += [f"--{name.replace('_', '-')}", said] if said else []
    return " ".join(map(quote, words))


def question_lines(one: FeedProposal, command: str) -> list[str]:
    """Return a proposal's question, its choices, and the words that answer it."""
    asked = one.question
    if asked is None:
        return []
    lines = [
        asked.text,
        *(f"  {one.shown}" + f": {one.against}" * bool(one.against) for one in asked.choices),
    ]
    likely = [choice for choice in asked.choices if choice.is_likely]
    if likely:
        lines += [f"say it: {command} {asked.option} {quote(one.answer)}" for one in likely]
    elif asked.choices:
        lines.append(f"if one of them is all the same: {command} {asked.option} COLUMN")
    return [one_line(line) for line in lines]


def _print_proposals(file: Path, found: tuple[FeedProposal, ...], command: str) -> None:
    """Print the report as comments, so that the whole can be kept as the feed's file."""
    if not found:
        say(f"{file}: no known format; config/feeds has an example of each")
        return
    first, *others = found
    say_comment(f"{file}: {first.kind} ({first.sureness} of 100): {first.why}")
    if first.good:
        wrong = ", ".join(f"{label} {count:,}" for label, count in first.wrong.items())
        say_comment(
            f"{first.good:,} of {first.rows:,} rows tried are good" + (f"; {wrong}" * bool(wrong))
        )
    for line in cleaned_lines(cleaned_seen(first.cleaned)):
        say_comment(line)
    for row in first.examples:
        say_comment("for example " + ", ".join(f"{name} {text!r}" for name, text in row.items()))
    for text in first.notes:
        say_comment(text)
    for one in others:
        asked = f": {one.question.text}" if one.question is not None else ""
        say_comment(f"or {one.kind} ({one.sureness}): {one.why}{asked}")
    for line in question_lines(first, command):
        say_comment(f"? {line}")
    if first.question is None:
        say_comment("Complete what is marked -> and keep this as config/feeds/<name>.toml")
    else:
        say_comment("Until that is said, no command accepts this as a feed's file:")
    say(first.toml(str(file)).rstrip())
