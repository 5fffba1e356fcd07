"""`ringfence feeds detect`: what format a file is in, and a feed's file to begin with."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stream.commands.base import AsJson, ConfigFiles, print_json, settings_of
from stream.commands.register import NOTHING_DONE, USAGE, Region, fail, now_s, say
from stream.config import Settings
from stream.lists.detect import Proposal, detect
from stream.lists.formats.rows import InputUnreadable
from stream.ops import checks

NEIGHBOURS = ("TH", "KH", "MM", "LA", "VN", "MY", "SG", "ID", "PH", "BN", "GB", "US")
"""Regions that national numbers are tried in, after our own country."""
FileName = Annotated[Path, typer.Argument(help="A file as the partner sends it.", exists=True)]


def detect_(
    file: FileName, region: Region = None, config: ConfigFiles = None, as_json: AsJson = False
) -> None:
    """Say what format a file is in, and propose a feed's file for it.

    Nothing is stored. With --region national numbers are tried there alone, else in our own country
    and its neighbours. Exit code 1: it is nothing that is known, 2: it can not be read.

    Example: ringfence feeds detect numbers.csv > config/feeds/kh-scam.toml
    """
    if region is not None and (wrong := checks.country(region)) is not None:
        fail(f"--region {wrong}", USAGE)
    settings = settings_of(config)
    try:
        found = detect(file, (region,) if region else regions_of(settings), now_s())
    except InputUnreadable as error:
        fail(str(error), USAGE)
    if as_json:
        print_json([_as_json(one, file) for one in found])
    elif found:
        _print(file, found)
    else:
        say(f"{file}: nothing that is known; README, Formats, says what there is")
    if not found:
        raise typer.Exit(NOTHING_DONE)


def regions_of(settings: Settings) -> tuple[str, ...]:
    """The regions that national numbers are tried in, our own country first."""
    return tuple(dict.fromkeys((settings.calls.home_country, *NEIGHBOURS)))


def _as_json(one: Proposal, file: Path) -> dict[str, object]:
    return {
        "format": one.kind,
        "sureness": one.sureness,
        "why": one.why,
        **asdict(one.options),
        "region": one.region,
        "rows": one.rows,
        "good": one.good,
        "rejected": dict(one.wrong),
        "examples": [dict(row) for row in one.examples],
        "unknown_words": list(one.unknown_words),
        "feed": one.toml(str(file)),
    }


def _print(file: Path, found: tuple[Proposal, ...]) -> None:
    """The report as comments, so that the whole can be kept as the feed's file."""
    first, *others = found
    say(f"# {file}: {first.kind} ({first.sureness} of 100): {first.why}")
    if first.rows:
        wrong = ", ".join(f"{label} {count:,}" for label, count in first.wrong.items())
        say(
            f"# {first.good:,} of {first.rows:,} rows tried are good" + (f"; {wrong}" * bool(wrong))
        )
    for row in first.examples:
        say("# for example " + ", ".join(f"{name} {text!r}" for name, text in row.items()))
    for one in others:
        say(f"# or {one.kind} ({one.sureness}): {one.why}")
    say("# Complete what is marked -> and keep this as config/feeds/<name>.toml")
    say(first.toml(str(file)).rstrip())
