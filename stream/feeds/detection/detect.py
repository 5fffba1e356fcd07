"""Detect the formats that a file may have, and propose a feed's settings for each.

`candidates` reads the first bytes. `detect` tries each candidate on the file. A proposal has the
count of good rows, the region of national numbers, and the partner's words without a meaning.
Whatever is unclear becomes a question, never a guess: a wrong column or country would list innocent
numbers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stream.feeds.detection.foreign_files import may_be_workbook, what_it_is
from stream.feeds.detection.format_candidates import candidates, sheet_candidates
from stream.feeds.detection.lookalikes import MaybeOrder
from stream.feeds.detection.proposal import Choice, FeedProposal, FeedQuestion, OperatorAnswers
from stream.feeds.detection.table_proposals import with_life
from stream.feeds.detection.try_proposal import tried
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.transports.misp_folder import MANIFEST, is_folder, read_folder

HEAD_BYTES = 256 << 10
"""Bytes that decide on the format. A whole file of gigabytes would take minutes."""


def detect(
    path: Path,
    regions: Sequence[str],
    now_s: int,
    number: str = "",
    sheet: str = "",
    items: str = "",
    dates: MaybeOrder = "",
    expires_dates: MaybeOrder = "",
) -> tuple[FeedProposal, ...]:
    """Return the ways to read a file, the likeliest first; (): no known format.

    `regions` are tried for national numbers in their order, our own country first. The answers are
    as in `OperatorAnswers`. Raises InputUnreadable if the file cannot be read, or is of a known
    kind that is no feed.
    """
    asked = OperatorAnswers(regions, number, sheet, items, dates, expires_dates)
    try:
        head = b"" if path.is_dir() else file_head(path)
        if may_be_workbook(head):
            sheets = [with_life(path, one) for one in sheet_candidates(path, head, asked)]
            found = [tried(path, one, asked, now_s) for one in sheets]
            return _one_part(found, "--sheet")
        if what := what_it_is(head):
            _refuse(path, head, what)
        if is_folder(path):
            return (_folder(path),)
        found = candidates(head, path.stat().st_size, asked)
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    good = [tried(path, with_life(path, one), asked, now_s) for one in found]
    return _one_part(good, "--items")


def _one_part(found: Sequence[FeedProposal], option: str) -> tuple[FeedProposal, ...]:
    """Return the likeliest first, or a question where several parts of a file have numbers.

    Parts are a workbook's sheets and a document's arrays. Elements of XML lie in each other: the
    outermost that has the numbers is one part with those in it.
    """
    ranked = tuple(sorted(found, key=lambda one: (_is_unclear(one), -one.sureness)))
    clear = [one for one in ranked if not _is_unclear(one) and _part_of(one)]
    if len(clear) < 2 or clear[0] is not ranked[0]:
        return ranked
    if clear[0].kind == "xml":
        best = max(clear, key=lambda one: (one.good, -len(_part_of(one))))
        return (best, *(one for one in ranked if one is not best))
    what = "sheet" if option == "--sheet" else "array"
    choices = tuple(Choice(_part_of(one), f"{_part_of(one)!r} ({_examples(one)})") for one in clear)
    asks = FeedQuestion(f"more than one {what} may have the numbers to block", option, choices)
    options = replace(clear[0].options, sheet="", items="")
    return (replace(clear[0], options=options, question=asks),)


def _is_unclear(one: FeedProposal) -> bool:
    """Return whether a person may still find that the file is something else."""
    return one.question is not None and not one.question.is_of_dates


def _part_of(one: FeedProposal) -> str:
    return one.options.sheet or one.options.items


def _examples(one: FeedProposal) -> str:
    return ", ".join(row["number"] for row in one.examples if "number" in row)


def file_head(path: Path) -> bytes:
    """Return the bytes that decide on a file's format. Raises InputUnreadable."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error


def _refuse(path: Path, head: bytes, what: str) -> None:
    """Refuse a file of a kind that is no feed; a packed folder of MISP events may be one."""
    if head.startswith(b"PK") or not is_folder(path):
        raise InputUnreadable(f"{path} is {what}")
    try:
        _folder(path)
    except InputUnreadable as error:
        raise InputUnreadable(f"{path} is {what}") from error


def _folder(path: Path) -> FeedProposal:
    """Propose a MISP feed's folder. Raises InputUnreadable for other folders."""
    try:
        next(read_folder(path), None)
    except InputUnreadable as error:
        text = f"{error}. A list that is packed has to be unpacked first"
        raise InputUnreadable(text) from error
    return FeedProposal("misp-feed", 90, f"a folder or an archive with a {MANIFEST}")
