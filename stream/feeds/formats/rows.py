"""Rows of text that every format returns, and rejected rows with their reasons. Pure.

A format takes chunks of lines, or of bytes, and yields one `Rows` for each. `parse.py` decides the
meaning of the texts, by the same rules for all formats.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from stream.core.model.entry import FIELDS, Category
from stream.core.model.errors import CONFIG_WRONG, Fault
from stream.core.numbers.prefix_entries import PrefixFault

Format = Literal[
    "text",
    "csv",
    "workbook",
    "jsonl",
    "json",
    "xml",
    "pybloom",
    "misp",
    "misp-feed",
    "stix",
    "phoneblock",
    "ftc",
    "ringfence",
    "snapshot",
]
COLUMN_FIELDS = ("number", "number_to", *FIELDS[1:])
"""Fields that `columns` may place. `number_to`: the last number of a range that `number` begins."""
LINE_CHARS_MAX = 65_536
"""Longer lines are cut: no entry is so long, and a file of one line must not fill memory."""

Lines = Sequence[str]
"""Lines without their ends."""


class InputUnreadable(Fault):
    """The file as a whole cannot be read in its format; nothing was loaded."""

    exit_code = CONFIG_WRONG


class ColumnsUnknown(InputUnreadable):
    """No column of a table is known as that of the numbers; a person may name it."""


class Wrong(Enum):
    """Reasons why a row is rejected. The value says what to do."""

    UNREADABLE = "the row cannot be read in this format"
    NO_NUMBER = "the row has no number"
    SCIENTIFIC = (
        "a spreadsheet wrote the number in scientific notation and lost digits: "
        "format the column as text there and export it again"
    )
    DECIMAL = "a spreadsheet wrote the number with decimals: format the column as text and export"
    DATE = (
        "a date where the number should be: another column has the numbers; say which in "
        "[columns] of the feed's file, or with --columns"
    )
    NO_COUNTRY = (
        "a national number, or an international one without its +: "
        'say whose with --region TH (in a feed\'s file: region = "TH"), or write +'
    )
    NOT_E164 = "a short code, a name or a withheld number: only whole numbers can be listed"
    NOT_A_NUMBER = "not a telephone number that exists in any numbering plan"
    EXTENSION = (
        "an extension, a subaddress or digits to dial follow the number, and a list blocks the "
        "whole line: write the number alone if all of its callers are meant"
    )
    SEVERAL_NUMBERS = "more than one number in one row: give each a row of its own"
    PREFIX_TOO_SHORT = PrefixFault.PREFIX_TOO_SHORT.value
    RANGE_TOO_WIDE = PrefixFault.RANGE_TOO_WIDE.value
    BAD_PREFIX = PrefixFault.BAD_PREFIX.value
    BAD_CATEGORY = f"an unknown category; known: {', '.join(c.label for c in Category)}"
    BAD_SOURCE = "a source's name has at most 64 characters, and one file at most 60,000 names"
    BAD_DATE = (
        "not a time: write 2026-01-31, 2026-01-31T12:00:00Z or seconds since 1970; "
        "01/02/2026 can be two days: `dates` in a feed's file, or --dates, says which, `era` in "
        "a feed's file whose years"
    )
    BAD_CONFIDENCE = "confidence is a whole number from 0 to 100"
    EXPIRED = "the report has expired already: it would not count; nothing needs to be done"
    FUTURE = (
        "reported, or valid only from, more than 5 minutes in the future: set the clock of the "
        'machine that reports, or have such reports read as of now (future = "clamp")'
    )
    REMOVAL = (
        "the row takes a number off, and an import only adds: use ringfence lists remove, or a feed"
    )
    PATTERN = (
        "a pattern that is more than one number, or several joined by OR, would be read wrongly: "
        "share each number as a pattern [phone-number:value = '+66...'] of its own"
    )

    @property
    def label(self) -> str:
        """The name in reports: `bad_date`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not loaded. `original` is the row as it came, cut if it is long.

    `line` counts from 1. In a JSON document, which may be one line, it counts the objects or
    attributes of the document. `cell` is the wrong cell of a spreadsheet ("B17"), "" elsewhere.
    """

    line: int
    wrong: Wrong
    detail: str
    original: str
    cell: str = ""


Texts = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows as columns of one length; a column that the file does not have is None.

    `lines` are line numbers, `originals` the lines, or their fields. `tags` are words of a row that
    may name its category: the first known one does, if `category` is empty. `removed` marks rows
    that remove a report, None: no row does. `passed_over` counts rows that their own file wants on
    no list. `holds_from_then`: a report for a time ahead is not valid yet, and no clock is wrong.
    Of two rows about a number the later counts. `letters` are the columns of the fields in a
    spreadsheet, whose rows are `lines`.
    """

    lines: Sequence[int]
    originals: Sequence[str | Sequence[str]]
    number: Texts
    category: Texts | None = None
    source: Texts | None = None
    reported_at: Texts | None = None
    expires_at: Texts | None = None
    confidence: Texts | None = None
    unreadable: tuple[RejectedRow, ...] = ()
    tags: Sequence[Sequence[str]] | None = None
    removed: Sequence[bool] | None = None
    passed_over: int = 0
    holds_from_then: bool = False
    letters: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of a feed's files, beyond their format.

    `columns` maps fields of `COLUMN_FIELDS` to their places. In CSV that is a header's text or a
    column counted from 1, in JSON a path of keys ("caller.number"). `encoding` is Python's name,
    None: found from the bytes. `sheet` is that of a workbook, by its name or its place from 1; "":
    the only one. `items` is the path of the array or the elements that are rows, in JSON and XML.
    `unconfirmed`: MISP attributes that are not for detection (`to_ids` false) are rows too.
    """

    columns: Mapping[str, str | int] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str = ""
    items: str = ""
    unconfirmed: bool = False


def range_text(first: str | None, last: str | None) -> str | None:
    """Return a range of two columns as one text. Without a second number it is the first alone."""
    first, last = (first or "").strip(), (last or "").strip()
    return first if not last or last == first else f"{first} to {last}"


ROWS_MAX = 20_000
"""Rows of a chunk, whose Python objects take some 20 MB."""
CHARS_MAX = 16 << 20
"""Characters of a chunk, if its rows are long."""
TAGS_MAX = 100
"""Tags of a row that are read: a hostile row may have a million."""


class Collector:
    """Collects rows that are found one at a time: `drain` yields full chunks, `rest` the last."""

    def __init__(self, *, holds_from_then: bool = False) -> None:
        self._holds_from_then = holds_from_then
        self._rows: list[tuple[int, str, str | None, tuple[str | None, ...]]] = []
        self._tags: list[Sequence[str]] = []
        self._removed: list[bool] = []
        self._unreadable: list[RejectedRow] = []
        self._passed_over = 0
        self._chars = 0

    def add(
        self,
        line: int,
        original: str,
        number: str | None,
        *,
        category: str | None = None,
        source: str | None = None,
        reported_at: str | None = None,
        expires_at: str | None = None,
        confidence: str | None = None,
        tags: Sequence[str] = (),
        removed: bool = False,
    ) -> None:
        """Add a row; `Rows` explains the fields."""
        values = (category, source, reported_at, expires_at, confidence)
        tags = tags[:TAGS_MAX]
        self._chars += len(original) + sum(map(len, tags)) + len(source or "") + len(category or "")
        self._rows.append((line, original, number, values))
        self._tags.append(tags)
        self._removed.append(removed)

    def reject(self, line: int, wrong: Wrong, detail: str, original: str) -> None:
        """Add a row that cannot be read."""
        self._chars += len(original) + len(detail)
        self._unreadable.append(RejectedRow(line, wrong, detail, original))

    def pass_over(self) -> None:
        """Count a row that its own file wants on no list."""
        self._passed_over += 1

    def drain(self) -> Iterator[Rows]:
        """Yield a chunk if there are enough rows for one."""
        if len(self._rows) + len(self._unreadable) >= ROWS_MAX or self._chars > CHARS_MAX:
            yield from self.rest()

    def rest(self) -> Iterator[Rows]:
        """Yield the rows that are left, as a chunk."""
        rows = self._rows
        fields = list(zip(*(row[3] for row in rows), strict=True)) or [()] * 5
        yield Rows(
            lines=[row[0] for row in rows],
            originals=[row[1] for row in rows],
            number=[row[2] for row in rows],
            category=fields[0],
            source=fields[1],
            reported_at=fields[2],
            expires_at=fields[3],
            confidence=fields[4],
            unreadable=tuple(self._unreadable),
            tags=self._tags,
            removed=self._removed,
            passed_over=self._passed_over,
            holds_from_then=self._holds_from_then,
        )
        self._rows, self._tags, self._removed = [], [], []
        self._unreadable, self._passed_over, self._chars = [], 0, 0
