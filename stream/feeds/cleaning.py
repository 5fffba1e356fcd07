"""Clean a number's text of what offices, keyboards and spreadsheets put into it. Pure.

A number is listed as it was meant: `๐๘๑...`, `'0812345678`, a text with marks of direction. Each
kind of cleaning is counted, with examples, so that a person sees what was done to a file.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from stream.core.numbers.spelling import BLANKS, folded

SAMPLES_MAX: Final = 3
"""Examples kept of each kind: enough for a person to see what was done."""
SHOWN_CHARS: Final = 40

_THOUSANDS = re.compile(r"\+?\d{1,3}(?:,\d{3}){2,}\Z")
_WHOLE = re.compile(r"([1-9]\d{4,14})\.0\Z|([1-9]\d{9,14})[.,]00?\Z")
"""A whole number as pandas writes it (812345678.0), or with two decimals. Of up to 15 digits
none is lost. Fewer digits before `.00` are a sum of money."""
_EXCEL_TEXT = re.compile(r'="([^"]*)"\Z')
_QUOTES: Final = frozenset("'\u2019\u2018\u02bc\u00b4`")
"""Apostrophes before a number: a spreadsheet's mark of a text, also as word processors turn it."""


class Cleaned(Enum):
    """Kinds of cleaning. The value says what was done."""

    DIGITS = "digits of another script were read as 0 to 9"
    MARKS = "marks that show nothing (direction, zero width, soft hyphen) were left out"
    BLANKS = "blanks or dashes of another kind were read as plain ones"
    APOSTROPHE = "a spreadsheet's mark of a text was left out"
    THOUSANDS = "thousands separators were left out"
    DECIMALS = "zeros after the decimal point were left out"
    LOST_ZERO = "a leading zero that a spreadsheet dropped was put back"

    @property
    def label(self) -> str:
        """The name in reports: `lost_zero`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class CleanedRow:
    """One number that was cleaned: its line, its text in the file, and the number that was read."""

    line: int
    before: str
    after: str
    cell: str = ""


@dataclass(slots=True)
class CleanedRows:
    """Counts of cleaned rows by kind, with the first rows of each."""

    counts: Counter[Cleaned] = field(default_factory=Counter)
    samples: dict[Cleaned, list[CleanedRow]] = field(default_factory=dict)

    def add(self, kinds: Iterable[Cleaned], row: CleanedRow) -> None:
        """Count a row."""
        for kind in kinds:
            self.counts[kind] += 1
            kept = self.samples.setdefault(kind, [])
            if len(kept) < SAMPLES_MAX:
                kept.append(row)

    def update(self, other: "CleanedRows") -> None:
        """Add the counts of a later part of the file."""
        self.counts.update(other.counts)
        for kind, rows in other.samples.items():
            kept = self.samples.setdefault(kind, [])
            kept += rows[: SAMPLES_MAX - len(kept)]

    @property
    def labels(self) -> Mapping[str, int]:
        """The counts by the kinds' names in reports."""
        return {kind.label: count for kind, count in self.counts.items()}


def bare_number(text: str) -> str:
    """Return a number's text without the marks that spreadsheets put around it."""
    text = text.strip()
    if text.startswith("="):
        excel = _EXCEL_TEXT.match(text)
        text = excel[1] if excel else text[1:]
    elif text[:1] in _QUOTES:
        text = text[1:].removesuffix("'").strip()
    if (whole := _WHOLE.match(text)) is not None:
        return whole[1] or whole[2]
    # Thousands separators change no digit; a comma is no separator that numbers are written with.
    return text.replace(",", "") if "," in text and _THOUSANDS.match(text) else text


def clean_number(text: str) -> tuple[str, tuple[Cleaned, ...]]:
    """Return a number's text in ASCII without marks around it, and the kinds of cleaning."""
    if text.isascii():
        plain, kinds = text, []
    else:
        # Marks at the very ends hide an apostrophe or `=` from `bare_number`.
        plain, kinds = folded(text.strip(BLANKS)), _kinds(text)
    bare = bare_number(plain)
    stripped = plain.strip()
    if bare != stripped:
        if stripped[:1] in _QUOTES or stripped[:1] == "=":
            kinds.append(Cleaned.APOSTROPHE)
        else:
            kinds.append(Cleaned.DECIMALS if _WHOLE.match(stripped) else Cleaned.THOUSANDS)
    return bare, tuple(kinds)


def _kinds(text: str) -> list[Cleaned]:
    """Return the kinds of cleaning that folding a text to ASCII does."""
    found = set()
    for sign in text:
        if sign.isascii():
            continue
        category = unicodedata.category(sign)
        if unicodedata.decimal(sign, None) is not None:
            found.add(Cleaned.DIGITS)
        elif category == "Cf":
            found.add(Cleaned.MARKS)
        elif category in {"Zs", "Pd"} or not folded(sign).strip() or folded(sign).isascii():
            found.add(Cleaned.BLANKS)
    return [kind for kind in Cleaned if kind in found]
