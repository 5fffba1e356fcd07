"""What every format reads into: rows of text, not yet looked at, and rows that it could not read.

Pure. A format takes chunks of lines and gives one `Rows` for each; what the texts mean is decided
in `lists/parse.py`, the same for all formats.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from stream.core.entry import Category
from stream.core.faults import Fault

LINE_CHARS_MAX = 65_536
"""A longer line is cut: no entry is that long, and a file of one line must not fill memory."""

Lines = list[str]
"""Lines without their ends."""


class InputUnreadable(Fault):
    """The file as a whole can not be read as what it should be; nothing was loaded."""


class Wrong(Enum):
    """Why a row was rejected, and what to do about it."""

    UNREADABLE = "the row can not be read in this format"
    NO_NUMBER = "the row has no number"
    SCIENTIFIC = (
        "a spreadsheet wrote the number in scientific notation and lost digits: "
        "format the column as text there and export it again"
    )
    DECIMAL = "a spreadsheet wrote the number with decimals: format the column as text and export"
    NO_COUNTRY = (
        "a national number, or an international one without its +: "
        "say whose with --region TH, or write +"
    )
    NOT_E164 = "a short code, a name or a withheld number: only whole numbers can be listed"
    NOT_A_NUMBER = "not a telephone number that exists in any numbering plan"
    BAD_CATEGORY = f"an unknown category; known: {', '.join(c.label for c in Category)}"
    BAD_SOURCE = "a source's name has at most 64 characters, and one file at most 60,000 names"
    BAD_DATE = (
        "not a time: write 2026-01-31, 2026-01-31T12:00:00Z or seconds since 1970; "
        "dates like 01/02/2026 mean two days"
    )
    BAD_CONFIDENCE = "confidence is a whole number from 0 to 100"

    @property
    def label(self) -> str:
        """The name in reports: `bad_date`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not loaded. `line` counts from 1; `original` is the row as it came."""

    line: int
    wrong: Wrong
    detail: str
    original: str


Texts = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows in columns of one length; a column that the file has not is None.

    `lines` are their line numbers, `originals` what they came from: the line, or its fields.
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

    def __len__(self) -> int:
        return len(self.number)


FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
"""The fields of a row, by the names that files use for them too."""


def line_chunks(texts: Iterable[str]) -> Iterator[Lines]:
    """Lines from pieces of text whose lines end in a line feed; too long ones are cut.

    Carriage returns have become line feeds before, as Python's universal newlines do it.
    """
    carry = ""
    for text in texts:
        lines = (carry + text).split("\n")
        carry = lines.pop()[:LINE_CHARS_MAX]
        if lines:
            yield [line if len(line) <= LINE_CHARS_MAX else line[:LINE_CHARS_MAX] for line in lines]
    if carry:
        yield [carry]
