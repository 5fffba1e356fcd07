"""What the texts of a row mean: the same rules for every format.

Pure. Any texts at all end as an entry or as a `RejectedRow` with a reason from a closed list.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.entry import Category
from stream.core.number import Kind, parse_many
from stream.lists.formats.rows import RejectedRow, Rows, Texts, Wrong

SOURCES_MAX = 60_000
SOURCE_CHARS_MAX = 64
TIME_MAX_S = 2**32 - 1
_MEMO_MAX = 100_000
"""Distinct texts remembered for each column: most columns hold few, times may hold many."""

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+\Z")
_DECIMAL = re.compile(r"\+?\d{5,}[.,]\d{0,2}\Z")
_THOUSANDS = re.compile(r"\+?\d{1,3}(?:,\d{3}){2,}\Z")
_EXCEL_TEXT = re.compile(r'="([^"]*)"\Z')


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an entry gets where its row says nothing. `region` reads national numbers.

    Times in seconds since the epoch; `expires_at_s` 0: never.
    """

    source: str
    reported_at_s: int
    region: str | None = None
    category: Category = Category.OTHER
    expires_at_s: int = 0
    confidence: int = 100


@dataclass(frozen=True, slots=True)
class Parsed:
    """The good rows of one chunk in columns of one length, and the others.

    `numbers` S16, E.164; times uint32; `source` indexes the parser's `sources`.
    """

    numbers: NDArray[np.bytes_]
    reported_at: NDArray[np.uint32]
    expires_at: NDArray[np.uint32]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    source: NDArray[np.uint16]
    rejected: tuple[RejectedRow, ...]

    def __len__(self) -> int:
        return len(self.numbers)


_Read = Callable[[str], int | Wrong]


class Parser:
    """Reads the rows of one file; holds the names of the sources seen, and what texts meant."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._sources: dict[str, int] = {defaults.source: 0}
        self._columns = (
            _Column("reported_at", np.dtype(np.uint32), read_time, defaults.reported_at_s),
            _Column("expires_at", np.dtype(np.uint32), read_time, defaults.expires_at_s),
            _Column("category", np.dtype(np.uint8), read_category, int(defaults.category)),
            _Column("confidence", np.dtype(np.uint8), read_confidence, defaults.confidence),
            _Column("source", np.dtype(np.uint16), self._read_source, 0),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The names that `Parsed.source` indexes."""
        return tuple(self._sources)

    def parse(self, rows: Rows) -> Parsed:
        """The rows' meaning."""
        # Nearly all are "+" and digits; the others are looked at one by one.
        odd = [row for row, text in enumerate(rows.number) if not (text and text[1:].isdigit())]
        texts = list(rows.number)
        for row in odd:
            texts[row] = _bare(texts[row] or "")
        numbers = parse_many(texts, lambda _: self._defaults.region)
        wrong: dict[int, Wrong] = {
            row: _why(texts[row] or "", Kind(int(numbers.kinds[row])), self._defaults.region)
            for row in np.flatnonzero(numbers.kinds != Kind.E164).tolist()
        }
        # Digits after a decimal point would be read as part of a longer number: looked for first.
        for row in odd:
            if (damage := _damage(texts[row] or "")) is not None:
                wrong[row] = damage
        values = {
            column.name: column.values(getattr(rows, column.name), len(rows), wrong)
            for column in self._columns
        }
        kept = np.ones(len(rows), np.bool_)
        kept[list(wrong)] = False
        arrays: dict[str, Any] = {name: array[kept] for name, array in values.items()}
        rejected = [
            RejectedRow(rows.lines[row], why, _detail(rows, row, why), _original(rows, row))
            for row, why in wrong.items()
        ]
        rejected += rows.unreadable
        rejected.sort(key=lambda row: row.line)
        return Parsed(numbers=numbers.e164[kept], **arrays, rejected=tuple(rejected))

    def _read_source(self, text: str) -> int | Wrong:
        known = self._sources.get(text)
        if known is not None:
            return known
        if len(text) > SOURCE_CHARS_MAX or not text.isprintable():
            return Wrong.BAD_SOURCE
        if len(self._sources) == SOURCES_MAX:
            return Wrong.BAD_SOURCE
        return self._sources.setdefault(text, len(self._sources))


class _Column:
    """One column's reading; each distinct text is read once."""

    def __init__(self, name: str, dtype: np.dtype[Any], read: _Read, default: int) -> None:
        self.name = name
        self._dtype = dtype
        self._read = read
        self._default = default
        self._memo: dict[str | None, int] = {}
        self._wrong: dict[str | None, Wrong] = {}

    def values(self, texts: Texts | None, rows: int, wrong: dict[int, Wrong]) -> NDArray[Any]:
        """The values; a row whose text means nothing goes into `wrong` (the first reason stays)."""
        if texts is None:
            return np.full(rows, self._default, self._dtype)
        if len(self._memo) > _MEMO_MAX:
            self._memo.clear()
            self._wrong.clear()
        for text in set(texts) - self._memo.keys():
            bare = text.strip() if text else ""
            value = self._read(bare) if bare else self._default
            if isinstance(value, Wrong):
                self._wrong[text] = value
            self._memo[text] = 0 if isinstance(value, Wrong) else value
        if self._wrong:
            for row, text in enumerate(texts):
                if text in self._wrong:
                    wrong.setdefault(row, self._wrong[text])
        memo = self._memo
        return np.array([memo[text] for text in texts], self._dtype)


def read_category(text: str) -> int | Wrong:
    """A category by its label; case, blanks and dashes do not matter."""
    name = "_".join(text.upper().replace("-", " ").replace("_", " ").split())
    category = Category.__members__.get(name)
    return Wrong.BAD_CATEGORY if category is None else int(category)


def read_confidence(text: str) -> int | Wrong:
    """A whole number from 0 to 100."""
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100:
        return int(text)
    return Wrong.BAD_CONFIDENCE


def read_time(text: str) -> int | Wrong:
    """Seconds since the epoch, from ISO 8601 (UTC unless it says otherwise), seconds or millis."""
    if text.isascii() and text.isdigit():
        # 9 digits begin in 1973, 13 in 2001: a spreadsheet's day number (46000) is neither.
        if len(text) in {9, 10}:
            return int(text) if int(text) <= TIME_MAX_S else Wrong.BAD_DATE
        if len(text) == 13:
            return int(text) // 1000 if int(text) // 1000 <= TIME_MAX_S else Wrong.BAD_DATE
        return Wrong.BAD_DATE
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return Wrong.BAD_DATE
    return seconds if 0 < seconds <= TIME_MAX_S else Wrong.BAD_DATE


def _bare(text: str) -> str:
    """The number's text without what spreadsheets put around it."""
    text = text.strip()
    if text.startswith(("'", "=")):
        excel = _EXCEL_TEXT.match(text)
        text = excel[1] if excel else text[1:]
    # Thousands separators change no digit; a comma is no separator that numbers are written with.
    return text.replace(",", "") if "," in text and _THOUSANDS.match(text) else text


def _damage(text: str) -> Wrong | None:
    if _SCIENTIFIC.match(text):
        return Wrong.SCIENTIFIC
    return Wrong.DECIMAL if _DECIMAL.match(text) else None


def _why(text: str, kind: Kind, region: str | None) -> Wrong:
    if not text:
        return Wrong.NO_NUMBER
    if kind is Kind.INVALID:
        national = region is None and text[0] != "+" and sum(c.isdigit() for c in text) >= 7
        return Wrong.NO_COUNTRY if national else Wrong.NOT_A_NUMBER
    return Wrong.NOT_E164


_FIELD_OF = {
    Wrong.BAD_CATEGORY: "category",
    Wrong.BAD_SOURCE: "source",
    Wrong.BAD_CONFIDENCE: "confidence",
}


def _detail(rows: Rows, row: int, why: Wrong) -> str:
    """The text that was wrong, as the file has it."""
    if why is Wrong.BAD_DATE:
        texts = [getattr(rows, name) for name in ("reported_at", "expires_at")]
        bad = [
            text[row]
            for text in texts
            if text is not None and text[row] and isinstance(read_time(text[row].strip()), Wrong)
        ]
        return str(bad[0]) if bad else ""
    texts = getattr(rows, _FIELD_OF.get(why, "number"))
    return str(texts[row] or "")


def _original(rows: Rows, row: int) -> str:
    original = rows.originals[row]
    return original if isinstance(original, str) else ",".join(original)
