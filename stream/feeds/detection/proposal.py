"""Proposals to an operator: a way to read a file, its sureness, and open questions.

A proposal's feed file is never complete. It has placeholders where only the operator knows the
answer, and every command refuses a feed file that still has one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stream.feeds.cleaning import CleanedRows
from stream.feeds.detection.lookalikes import MaybeOrder
from stream.feeds.formats.rows import COLUMN_FIELDS, Format, ReadOptions, RejectedRow
from stream.feeds.value_parsers import Dates

LIST_TO_NAME: Final = "XX/partner"
OWNER_TO_NAME: Final = "XX"
CONTACT_TO_NAME: Final = "abuse@example.org"
REGION_TO_NAME: Final = "??"
ORDER_TO_NAME: Final = "??"


@dataclass(frozen=True, slots=True)
class OperatorAnswers:
    """The answers of a person: `regions` of national numbers, and where the numbers are.

    `number` is their column: a header's text, a path of keys, or a place from 1. `sheet` is that of
    a workbook; `items` the path of the rows in JSON or XML. `dates` and `expires_dates` are the
    orders of days, as in a feed's file. "": no answer.
    """

    regions: Sequence[str]
    number: str = ""
    sheet: str = ""
    items: str = ""
    dates: MaybeOrder = ""
    expires_dates: MaybeOrder = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to a question: the value of its option, and its meaning.

    `against` is a reason against it; `is_likely`: it may be right nevertheless.
    """

    answer: str
    shown: str
    against: str = ""
    is_likely: bool = True


@dataclass(frozen=True, slots=True)
class FeedQuestion:
    """A question that a person must answer before a file is read.

    `option` of the command takes the answer (`--number`, `--region`, `--sheet`, `--items`,
    `--dates`, `--expires-dates`); "": there is no answer, the file has to be repaired.
    """

    text: str
    option: str = ""
    choices: tuple[Choice, ...] = ()

    @property
    def is_of_dates(self) -> bool:
        """Return whether the order of days is asked: all else is known by then."""
        return self.option in {"--dates", "--expires-dates"}


@dataclass(frozen=True, slots=True)
class ColumnSeen:
    """One column of a file: `place` is what `[columns]` and `--number` take for it.

    `field` is its meaning, "" where none was found. `why_not` says why it is not the number, ""
    if nothing contradicts it.
    """

    place: str | int
    name: str
    field: str
    examples: tuple[str, ...]
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class FeedProposal:
    """One way to read a file. `sureness` is 0 to 100; `why` is a sentence for the operator.

    Of the `rows` that were tried, `good` are entries; `examples` are the first of them, field ->
    text. `unknown_words` are the partner's categories that have no meaning yet. `options`, `region`
    and `dates` are settings of the feed. With a `question` it must not be used before an answer.
    `notes` are for the operator; `languages` are the countries of its language. `table` has all
    columns, `cleaned` the rows tried whose number was cleaned, `rejected` the first rejected rows.
    """

    kind: Format
    sureness: int
    why: str
    options: ReadOptions = field(default_factory=ReadOptions)
    region: str | None = None
    dates: Dates = Dates()  # noqa: RUF009 -- frozen
    expires_from: Literal["report", "never"] = "report"
    rows: int = 0
    good: int = 0
    examples: tuple[Mapping[str, str], ...] = ()
    unknown_words: tuple[str, ...] = ()
    wrong: Mapping[str, int] = field(default_factory=dict)
    question: FeedQuestion | None = None
    notes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    table: tuple[ColumnSeen, ...] = ()
    cleaned: CleanedRows = field(default_factory=CleanedRows)
    rejected: tuple[RejectedRow, ...] = ()

    @property
    def era(self) -> str:
        """The `era` of the feed's file."""
        return "buddhist" if self.dates.buddhist else "common"

    def toml(self, path: str) -> str:
        """Return a feed file to be completed: the operator answers each `# ->`."""
        lines = [
            f"list = {_quoted(LIST_TO_NAME)}  # -> the list that it fills",
            self._format_line(),
        ]
        if self.kind == "pybloom":
            lines.append(
                "samples = []  # -> numbers that are on it, as +66812345678: they prove it"
            )
        lines += [f"encoding = {_quoted(self.options.encoding)}"] if self.options.encoding else []
        lines += self._part_lines()
        lines += self._region_lines()
        lines += self._date_lines()
        if self.expires_from == "never":
            lines.append('expires_from = "never"  # entries stay until the list drops them')
        lines += ["", "[owner]"]
        lines += [
            f"name = {_quoted(OWNER_TO_NAME)}  # -> country or organisation",
            f"contact = {_quoted(CONTACT_TO_NAME)}  # -> whom to ask about a number on it",
        ]
        lines += ["", "[from]", 'kind = "file"', f"path = {_quoted(path)}"]
        lines += self._column_lines()
        if self.unknown_words:
            lines += ["", "[categories]"]
            lines += [f'{_quoted(word)} = "other"  # ->' for word in self.unknown_words]
        return "\n".join(lines) + "\n"

    @property
    def _names_columns(self) -> bool:
        return self.kind in {"csv", "workbook", "jsonl", "json", "xml"}

    def _part_lines(self) -> list[str]:
        """Return the line of a workbook's sheet, or of the rows' path in JSON or XML."""
        parts = (("sheet", self.options.sheet), ("items", self.options.items))
        option = "" if self.question is None else self.question.option
        return [
            f"{name} = {_quoted(part)}" + "  # -> where the numbers to block are" * (not part)
            for name, part in parts
            if part or option == f"--{name}"
        ]

    def _format_line(self) -> str:
        """Return the line of the format; empty if the question has no other place in the file."""
        asked = self.question
        # Without a line that must be completed, the file would be used with an unsure format.
        option = "" if asked is None else asked.option
        has_line = option == "--region" or (asked is not None and asked.is_of_dates)
        if asked is None or has_line or (option == "--number" and self._names_columns):
            return f"format = {_quoted(self.kind)}"
        return f'format = ""  # -> {_quoted(self.kind)}, if that is what it is'

    def _region_lines(self) -> list[str]:
        if self.question is not None and self.question.option == "--region":
            which = " or ".join(one.answer for one in self.question.choices)
            return [f"region = {_quoted(REGION_TO_NAME)}  # -> whose national numbers: {which}"]
        if self.region is None:
            return []
        return [f"region = {_quoted(self.region)}  # whose national numbers these are"]

    def _date_lines(self) -> list[str]:
        """Return the lines on days, with a placeholder for the order that is asked."""
        asked = self.question if self.question is not None and self.question.is_of_dates else None
        if self.dates == Dates() and asked is None:
            return []
        values = {"dates": self.dates.order, "expires_dates": self.dates.expires, "era": self.era}
        lines = {name: f"{name} = {_quoted(value)}" for name, value in values.items() if value}
        if asked is not None:
            name = asked.option.removeprefix("--").replace("-", "_")
            which = " or ".join(f"{one.answer} ({one.shown})" for one in asked.choices)
            lines[name] = f"{name} = {_quoted(ORDER_TO_NAME)}  # -> {_one_line(which)}"
        return list(lines.values())

    def _column_lines(self) -> list[str]:
        columns = dict(self.options.columns)
        is_asked = self.question is not None and self.question.option == "--number"
        is_asked = is_asked and self._names_columns
        if not columns and not is_asked:
            return []
        lines = ["", "[columns]"]
        if self.question is not None and is_asked:
            which = [one.shown for one in self.question.choices if one.is_likely]
            said = _one_line(" or ".join(which)) or "no column looks like them"
            lines.append(f'number = ""  # -> the numbers to block: {said}')
        for name in COLUMN_FIELDS:
            if name in columns:
                place = columns[name]
                lines.append(f"{name} = {place if isinstance(place, int) else _quoted(place)}")
        return lines


def _one_line(text: str) -> str:
    """Return a text for a comment: no line end of a foreign file may end it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _quoted(text: str | None) -> str:
    """Return a text as TOML's basic string."""
    return json.dumps(text or "", ensure_ascii=False).replace("\x7f", "\\u007f")
