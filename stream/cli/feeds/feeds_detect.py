"""`ringfence feeds detect`: what format a file is in, and a feed's file to begin with."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.list_store import NOTHING_DONE, USAGE, Region, fail, now_s, say
from stream.cli.output import print_json
from stream.config.settings import EngineSettings
from stream.feeds.detection.detect import detect
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.formats.rows import InputUnreadable
from stream.ops.schema import checks

NEIGHBOURS = (
    *("TH", "KH", "MM", "LA", "VN", "MY", "SG", "ID", "PH", "BN"),
    *("CN", "HK", "TW", "JP", "KR", "IN", "AU", "GB", "US"),
)
"""Regions that national numbers are tried in, after our own country."""
FileName = Annotated[Path, typer.Argument(help="A file as the partner sends it.", exists=True)]

NumberColumn = Annotated[
    str,
    typer.Option(
        "--number", metavar="COLUMN", help="The numbers to block: a column's header, or its place."
    ),
]


def detect_(
    file: FileName,
    region: Region = None,
    number: NumberColumn = "",
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Say what format a file is in, and propose a feed's file for it.

    Nothing is stored. With --region national numbers are tried there alone, else in our own country
    and its neighbours. --number says which column has the numbers to block, where that is asked.
    Exit code 1: it is nothing that is known, or something has to be said first; 2: it cannot be
    read.

    Example: ringfence feeds detect numbers.csv > config/feeds/kh-scam.toml
    """
    if region is not None and (wrong := checks.country(region)) is not None:
        fail(f"--region {wrong}", USAGE)
    settings = settings_of(config)
    try:
        regions = (region,) if region else regions_of(settings)
        found = detect(file, regions, now_s(), number)
    except InputUnreadable as error:
        fail(str(error), USAGE)
    if as_json:
        print_json([_as_json(one, file) for one in found])
    elif found:
        _print(file, found, asking("feeds detect", file, region, number))
    else:
        say(f"{file}: no known format; config/feeds has an example of each")
    if not found or found[0].question is not None:
        raise typer.Exit(NOTHING_DONE)


def regions_of(settings: EngineSettings) -> tuple[str, ...]:
    """The regions that national numbers are tried in, our own country first."""
    return tuple(dict.fromkeys((settings.calls.home_country, *NEIGHBOURS)))


def asking(command: str, file: Path, region: str | None, number: str) -> str:
    """A command as it was typed, so that an answer can be added to it."""
    words = ["ringfence", *command.split(), str(file)]
    words += ["--region", region] if region else []
    words += ["--number", number] if number else []
    return " ".join(map(quote, words))


def question_lines(one: FeedProposal, command: str) -> list[str]:
    """A proposal's question, its choices, and what to type for an answer."""
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
    return [_one_line(line) for line in lines]


def _one_line(text: str) -> str:
    """A foreign text as one line of comment: none of its characters may end the comment."""
    return "".join(char if char.isprintable() else " " for char in text)


def _as_json(one: FeedProposal, file: Path) -> dict[str, object]:
    asked = one.question
    return {
        "format": one.kind,
        "sureness": one.sureness,
        "why": one.why,
        **asdict(one.options),
        "region": one.region,
        "dates": one.dates.order,
        "era": one.era,
        "rows": one.rows,
        "good": one.good,
        "rejected": dict(one.wrong),
        "examples": [dict(row) for row in one.examples],
        "unknown_words": list(one.unknown_words),
        "notes": list(one.notes),
        "question": asdict(asked) if asked is not None else None,
        "feed": one.toml(str(file)),
    }


def _print(file: Path, found: tuple[FeedProposal, ...], command: str) -> None:
    """The report as comments, so that the whole can be kept as the feed's file."""
    first, *others = found
    _comment(f"{file}: {first.kind} ({first.sureness} of 100): {first.why}")
    if first.good:
        wrong = ", ".join(f"{label} {count:,}" for label, count in first.wrong.items())
        _comment(
            f"{first.good:,} of {first.rows:,} rows tried are good" + (f"; {wrong}" * bool(wrong))
        )
    for row in first.examples:
        _comment("for example " + ", ".join(f"{name} {text!r}" for name, text in row.items()))
    for note in first.notes:
        _comment(note)
    for one in others:
        asked = f": {one.question.text}" if one.question is not None else ""
        _comment(f"or {one.kind} ({one.sureness}): {one.why}{asked}")
    for line in question_lines(first, command):
        _comment(f"? {line}")
    if first.question is None:
        _comment("Complete what is marked -> and keep this as config/feeds/<name>.toml")
    else:
        _comment("Until that is said, no command accepts this as a feed's file:")
    say(first.toml(str(file)).rstrip())


def _comment(text: str) -> None:
    say(f"# {_one_line(text)}")
