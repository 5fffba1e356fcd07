"""Propose the columns of one table: which is read as what, and the question that is open. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from stream.feeds.detection.column_names import regions_hinted, says, says_at
from stream.feeds.detection.guess_columns import EXAMPLES, ColumnCandidate, ColumnGuess, guess
from stream.feeds.detection.proposal import (
    Choice,
    ColumnSeen,
    FeedProposal,
    FeedQuestion,
    OperatorAnswers,
)
from stream.feeds.detection.try_proposal import assigned_share, dates_in, without_guess
from stream.feeds.formats.csv import folded_name
from stream.feeds.formats.rows import COLUMN_FIELDS, InputUnreadable, Wrong
from stream.feeds.value_parsers import Dates


def guessed_columns(
    one: FeedProposal,
    names: Sequence[str],
    names_in_file: Sequence[str],
    columns: Sequence[Sequence[str]],
    asked: OperatorAnswers,
) -> Iterator[FeedProposal]:
    """Yield a proposal with the guessed columns, or with a question about them."""
    said = _place_of(asked.number, names, names_in_file) if asked.number else None
    has_paths = one.kind in {"jsonl", "json", "xml"}
    reads = says_at if has_paths else says
    found = guess(names, columns, assigned_share(asked.regions), said, reads, one.options.items)
    places: dict[int, str | int] = {at: names_in_file[at] or at + 1 for at in range(len(names))}
    fields = dict(found.fields)
    notes = list(_notes(found))
    texts: dict[str, list[str]] = {
        name: [text.strip() for text in columns[fields[name]] if text.strip()]
        for name in ("reported_at", "expires_at")
        if name in fields
    }
    dates, unclear = dates_in(texts, asked, {name: places[at] for name, at in fields.items()})
    if days := texts.get("reported_at"):
        reader = dates.of("reported_at").reader
        if 2 * sum(not isinstance(reader(text), Wrong) for text in days) < len(days):
            del fields["reported_at"]
            notes.append(f"days like {days[0]!r} cannot be read: reports get the file's time")
    asks = _of_ends(texts.get("expires_at", ()), dates, places.get(fields.get("expires_at", -1)))
    if unclear is not None:  # it is asked once the numbers are known
        dates = without_guess(dates, unclear)
    named = {name: places[fields[name]] for name in COLUMN_FIELDS if name in fields}
    if has_paths and all(name == place for name, place in named.items()):
        named = {}
    one = replace(
        one,
        options=replace(one.options, columns=named),
        dates=dates,
        question=asks,
        notes=tuple(notes),
        table=_table(names, columns, places, found),
        languages=_languages(one, names, columns),
    )
    if "number" in found.fields:
        yield one
    elif columns_asked := found.asked or found.passed:
        answers = {column.at: str(places[column.at]) for column in columns_asked}
        yield replace(one, question=question_on(found, columns_asked, answers))


def _of_ends(ends: Sequence[str], dates: Dates, place: str | int | None) -> FeedQuestion | None:
    """Return a question where most ends cannot be read: a block must not outlast its own."""
    reader = dates.of("expires_at").reader
    wrong = [text for text in ends if isinstance(reader(text), Wrong)]
    if 2 * len(wrong) <= len(ends):
        return None
    do = "have them written as 2026-12-31, or leave the column out"
    return FeedQuestion(f"column {place!r}: ends like {wrong[0]!r} cannot be read: {do}")


_WRITTEN_IN: Final = {
    "cp874": "TH",
    "cp1258": "VN",
    "cp932": "JP",
    "cp949": "KR",
    "gb18030": "CN",
    "big5": "TW",
}
"""The region of each old encoding."""


def _languages(
    one: FeedProposal, names: Sequence[str], columns: Sequence[Sequence[str]]
) -> tuple[str, ...]:
    """Return the countries that a table's encoding, names or else texts point to."""
    home = _WRITTEN_IN.get(one.options.encoding or "")
    if home is not None:
        return (home, "HK") if home == "TW" else (home,)
    return regions_hinted(names, [text for column in columns for text in column[:20]])


def _place_of(said: str, names: Sequence[str], in_file: Sequence[str]) -> int:
    """Return the column that a person named by its header, its path or its place from 1."""
    for at, name in enumerate(names):
        if said == in_file[at] or (folded_name(name) == folded_name(said) and name.strip()):
            return at
    if said.isdecimal() and 1 <= int(said) <= len(names):
        return int(said) - 1
    known = ", ".join(repr(name.strip()) for name in names if name.strip())
    raise InputUnreadable(f"no column {said!r}: name one of {known or len(names)}, or its place")


_STAYS: Final = re.compile(
    r"\bdno\b|do[ _-]not[ _-]originate|never[ _-]originate|unallocated|unassigned"
    r"|not[ _-]in[ _-]use|inbound[ _-]only|invalid[ _-]numbers?|numbering"
    r"|numbers?[ _-]allocat|allocat\w+[ _-]of[ _-]numbers",
    re.IGNORECASE,
)
"""Words of lists of numbers that may never call: these have no end, and their dates report none."""
_GIVEN: Final = re.compile(r"attribution|allocat|assign", re.IGNORECASE)  # of a range's date


def with_life(path: Path, one: FeedProposal) -> FeedProposal:
    """Return a proposal whose entries stay if the file is a numbering plan's, or a DNO list.

    The words are in the file's name, in its header or in its first texts. In a list of reports, a
    remark or the name of a case may have them too: only its numbers' column counts.
    """
    columns = one.options.columns
    names = {column.field: column.name for column in one.table if column.field}
    if "expires_at" in names or not one.table:
        return one
    texts = [path.stem, one.why, names.get("number", "")]
    if "reported_at" not in names:
        texts += [text for column in one.table for text in (column.name, *column.examples)]
    day = names.get("reported_at")
    is_plan = "number_to" in names and (day is None or _GIVEN.search(day) is not None)
    if not is_plan and not any(_STAYS.search(text[:200]) for text in texts):
        return one
    note = "no end dates: entries stay until the list drops them (expires_from)"
    kept = {name: place for name, place in columns.items() if name != "reported_at"}
    table = tuple(
        replace(column, field="") if column.field == "reported_at" else column
        for column in one.table
    )
    return replace(
        one,
        options=replace(one.options, columns=kept),
        expires_from="never",
        notes=(*one.notes, note),
        table=table,
    )


def question_on(
    found: ColumnGuess, columns: Sequence[ColumnCandidate], answers: Mapping[int, str]
) -> FeedQuestion:
    """Return the question which of `columns` has the numbers; `answers` are their places."""
    why = found.why or "no column looks like the numbers to block"
    choices = tuple(
        Choice(answers[one.at], one.shown, one.why_not, is_likely=one.is_likely) for one in columns
    )
    return FeedQuestion(why, "--number", choices)


def _table(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    places: Mapping[int, str | int],
    found: ColumnGuess,
) -> tuple[ColumnSeen, ...]:
    """Return all columns with their first texts, for a person to check."""
    fields = {at: name for name, at in found.fields.items()}
    against = {one.at: one.why_not for one in (*found.passed, *found.asked)}
    return tuple(
        ColumnSeen(
            places[at],
            name.strip(),
            fields.get(at, ""),
            tuple(dict.fromkeys(text.strip() for text in columns[at] if text.strip()))[:EXAMPLES],
            against.get(at, ""),
        )
        for at, name in enumerate(names)
    )


def _notes(found: ColumnGuess) -> Iterator[str]:
    """Yield notes on columns of digits that are no numbers, so that a person can check."""
    if "number" in found.fields:
        for one in found.passed:
            if one.at != found.fields["number"]:
                yield f"not the number: {one.label}: {one.why_not}"
            else:
                yield f"you said that {one.label} is the number; {one.why_not}"
