"""The corpus of `feeds detect`: files of many offices, plain ones and traps, and what must be said.

`tests/golden/detect/feeds/<case>/` has one `input.*` and `expected.toml`:

    about     what the file is, and what the trap in it
    expect    "proposal", "question", "unreadable" or "nothing"
    numbers   who may be listed, in E.164; everybody else in the file is innocent
    number, region, dates, expires_dates, era, format, encoding, sheet, items, expires   as proposed
    asked     the likely answers that are offered; answer: the right one
    owner     whose file it is (TH); home: the country where it is looked at (TH)
    held      the gate holds it, for this reason; live: what it may do after a person's release
    says      words of the question or the error
"""

import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stream.cli.feeds.feed_check import NEIGHBOURS
from stream.feeds.detection.detect import detect
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.formats.rows import InputUnreadable

GOLDEN = Path(__file__).parents[1] / "golden" / "detect"
NOW_S = 1_795_564_800  # 2026-11-25T00:00:00Z


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        (found,) = self.folder.glob("input*")
        return found

    @property
    def expected(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "expected.toml").read_text())

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.expected.get("home", "TH"), *NEIGHBOURS)))

    @property
    def answer(self) -> tuple[str, ...]:
        return tuple(self.expected.get("answer", ()))


def feed_cases() -> list[Case]:
    """All files that a newcomer may take for a list."""
    return [Case(folder) for folder in sorted((GOLDEN / "feeds").iterdir())]


def call_cases() -> list[Case]:
    """All files that a newcomer may take for call records."""
    return [Case(folder) for folder in sorted((GOLDEN / "calls").iterdir())]


@cache
def outcome(case: Case, *answer: str) -> tuple[str, FeedProposal | None, str]:
    """Return a case's result: "proposal", "question"...; the proposal, or the error's words."""
    said = dict(zip(answer[::2], answer[1::2], strict=True))
    regions = (said["--region"],) if "--region" in said else case.regions
    words: list[Any] = [said.get(f"--{name}", "") for name in ("number", "sheet", "items", "dates")]
    try:
        found = detect(case.path, regions, NOW_S, *words)
    except InputUnreadable as error:
        return "unreadable", None, str(error)
    if not found:
        return "nothing", None, ""
    first = found[0]
    return ("proposal" if first.question is None else "question"), first, ""


def said_of(one: FeedProposal) -> dict[str, Any]:
    """Return a proposal under the names of `expected.toml`, without its empty parts."""
    number = one.options.columns.get("number")
    said = {
        "number": unicodedata.normalize("NFC", number) if isinstance(number, str) else number,
        "region": one.region,
        "dates": one.dates.order if one.dates.order != "iso" else None,
        "expires_dates": one.dates.expires or None,
        "era": one.era if one.dates.buddhist else None,
        "format": one.kind,
        "encoding": one.options.encoding,
        "sheet": one.options.sheet or None,
        "items": one.options.items or None,
        "expires": one.expires_from if one.expires_from != "report" else None,
    }
    return {name: value for name, value in said.items() if value is not None}
