"""Parse the texts of a column: numbers, categories, confidences, times. Pure.

A text that means nothing becomes a reason (`Wrong`), never a guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timezone
from functools import lru_cache
from typing import Any

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts as ByteTexts
from stream.core.model.entry import Category
from stream.core.model.moments import read_rfc3339
from stream.core.numbers.dialled import is_assigned
from stream.core.numbers.number import Kind, Number, parse
from stream.core.numbers.parties import CallParty
from stream.core.numbers.spelling import folded, unescaped, whole_number
from stream.feeds.detection.lookalikes import BUDDHIST_AHEAD, YEARS, DateOrder, MaybeOrder
from stream.feeds.formats.byte_columns import ByteColumn
from stream.feeds.formats.rows import RejectedRow, Rows, Texts, Wrong

TIME_MAX_S = 2**32 - 1
"""Columns hold times in 32 bits: until 2106."""

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+\Z")
_DECIMAL = re.compile(r"\+?\d{5,}[.,]\d{0,2}\Z")
_DAY_CHARS_MAX = 10  # 2026-01-31: with a clock a text is longer
_DAY = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})"
    r"(?:[ T,]+(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AP])\.?M\.?)?)?\Z",
    re.IGNORECASE,
)
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})\2(\d{1,2})(?:[ T]+(\d{1,2})(:.*))?\Z")
_STROKE = re.compile(r"(\+?[0-9][0-9 ().-]{5,23})/ ?([0-9]{1,4})\Z")
_LINES = re.compile(r"(\+?[0-9][0-9 ().-]{5,23}[0-9])-([0-9]{1,2})\Z")
"""The lines of an office as Thailand writes them: 02-141-9993-5 is 02-141-9993 to 02-141-9995."""
_MARKS_AFTER = " ().-"
"""Marks that are allowed between a number and its stroke; none of them is the digit replaced."""
_DIALS_ON = re.compile(r"ext(?:n|ension)?|[,#pwx]", re.IGNORECASE)
_BEYOND = frozenset({"ext", "extension", "isub", "isub-encoding", "postd", "x"})
"""Parameters of a `tel` URI (RFC 3966) that name a part of a line, or what is dialled after it."""
_LEADS = " \t,#.:pwxetnsio"
"""Characters before an extension: marks, pauses, and the letters of `extension`."""
_LINE_DIGITS_MIN = 7
"""Fewer digits after a number are an extension, not a number of their own."""


def as_word(text: str) -> str:
    """Return a partner's word in the form of look-ups: case and blanks do not matter."""
    return " ".join(text.casefold().split())


def category_words(*vocabularies: Mapping[str, Category]) -> dict[str, Category]:
    """Return partners' words by `as_word`; of a word given twice the first counts."""
    found: dict[str, Category] = {}
    for words in reversed(vocabularies):
        found |= {as_word(word): kind for word, kind in words.items()}
    return found


def read_category(text: str, words: Mapping[str, Category] | None = None) -> int | Wrong:
    """Return a category by a partner's word or its label. Case, blanks and dashes do not matter."""
    if words:
        found = words.get(as_word(text))
        if found is not None:
            return int(found)
    name = "_".join(text.upper().replace("-", " ").replace("_", " ").split())
    category = Category.__members__.get(name)
    return Wrong.BAD_CATEGORY if category is None else int(category)


def read_confidence(text: str) -> int | Wrong:
    """Return a whole number from 0 to 100."""
    text = whole_number(folded(text))
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100:
        return int(text)
    return Wrong.BAD_CONFIDENCE


def read_time(text: str) -> int | Wrong:
    """Return seconds since the epoch from ISO 8601 (UTC if it has no zone), seconds or millis.

    Also from days of spreadsheets that begin with the year: 2026/1/31 9:05.
    """
    text = whole_number(folded(text))
    if text.isascii() and text.isdigit():
        # 9 digits begin in 1973, 13 in 2001: a spreadsheet's day number (46000) is neither.
        if len(text) in {9, 10}:
            return int(text) if int(text) <= TIME_MAX_S else Wrong.BAD_DATE
        if len(text) == 13:
            return int(text) // 1000 if int(text) // 1000 <= TIME_MAX_S else Wrong.BAD_DATE
        return Wrong.BAD_DATE
    return _seconds_of(read_rfc3339(_as_iso(text)))


def _as_iso(text: str) -> str:
    """Return a day that begins with its year, and its time, as ISO 8601 has them."""
    if text.endswith(" UTC"):  # as data warehouses export times
        text = f"{text[:-4]}Z"
    found = _YEAR_FIRST.match(text)
    if found is None:
        return text
    year, _, month, day, hour, rest = found.groups()
    return f"{year}-{month:0>2}-{day:0>2}" + (f"T{hour:0>2}{rest}" if hour else "")


def read_end(text: str) -> int | Wrong:
    """Return the end that a text names, as `read_time`; a day alone is valid to its last second."""
    return _day_over(text, read_time(text))


def _day_over(text: str, at_s: int | Wrong) -> int | Wrong:
    """Return the end of the day that begins at `at_s`; as it is where the text has a clock."""
    text = whole_number(folded(text))
    if isinstance(at_s, Wrong) or text.isdigit() or len(text) > _DAY_CHARS_MAX:
        return at_s
    return min(at_s + 86_400, TIME_MAX_S)


@dataclass(frozen=True, slots=True)
class Dates:
    """The spelling of days and times in a file, besides seconds since the epoch.

    `order` "iso": ISO 8601 alone. Else also days as spreadsheets write them: 31/1/2026, or with
    dots or dashes, with or without a time, the day or the month first. `buddhist`: years may be of
    the Buddhist era (2569 is 2026). `zone` is that of times without one. `expires` is the order in
    the column `expires_at`, "": as in the others. `ends`: they are ends, and a day alone counts
    whole.
    """

    order: DateOrder = "iso"
    buddhist: bool = False
    zone: timezone = UTC
    expires: MaybeOrder = ""
    ends: bool = False

    def of(self, field: str) -> "Dates":
        """Return the spelling in the column of one field."""
        ends = field == "expires_at"
        order = self.expires or self.order if ends else self.order
        return replace(self, order=order, expires="", ends=ends)

    @property
    def reader(self) -> "Callable[[str], int | Wrong]":
        """The parser of one text; `read_time` or `read_end` itself for default settings."""
        if replace(self, ends=False) == Dates():
            return read_end if self.ends else read_time
        return self.read

    def read(self, text: str) -> int | Wrong:
        """Return seconds since the epoch."""
        at_s = self._begin_of(text)
        return _day_over(text, at_s) if self.ends else at_s

    def _begin_of(self, text: str) -> int | Wrong:
        text = whole_number(folded(text))
        if text.isascii() and text.isdigit():
            return read_time(text)
        day = _DAY.match(text) if self.order != "iso" else None
        try:
            if day is not None:
                one, _, two, year, hour, minute, second, half = day.groups()
                month, date = (two, one) if self.order == "day-month" else (one, two)
                at = _hour(int(hour or 0), half), int(minute or 0), int(second or 0)
                moment = datetime(self._common(year), int(month), int(date), *at, tzinfo=self.zone)
                return _seconds_of(moment)
            if self.buddhist:
                text = f"{self._common(text[:4]):04d}{text[4:]}"
            return _seconds_of(read_rfc3339(_as_iso(text), self.zone))
        except ValueError:
            return Wrong.BAD_DATE

    def _common(self, year: str) -> int:
        """Return the year of the common era. Leap days need it before the day is checked."""
        # Files mix eras where a spreadsheet wrote some days by itself; no year is of both.
        is_ahead = self.buddhist and int(year) >= YEARS.start + BUDDHIST_AHEAD
        return int(year) - BUDDHIST_AHEAD if is_ahead else int(year)


def _hour(hour: int, half: str | None) -> int:
    """Return an hour of 24 from one of 12 with `half`, a or p; None: it is of 24. ValueError."""
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(f"{hour} is no hour of twelve")
    return hour % 12 + 12 * (half in "pP")


def _seconds_of(moment: datetime | None) -> int | Wrong:
    seconds = 0 if moment is None else int(moment.timestamp())
    return seconds if 0 < seconds <= TIME_MAX_S else Wrong.BAD_DATE


def damage_of(text: str) -> Wrong | None:
    """Return the damage that a spreadsheet did to a number; None: there is none."""
    if _SCIENTIFIC.match(text):
        return Wrong.SCIENTIFIC
    return Wrong.DECIMAL if _DECIMAL.match(text) else None


def after_number(text: str) -> Wrong | None:
    """Return the fault of a text whose number alone would list more, or less, than the text says.

    One extension of a hospital must not block the whole hospital.
    """
    inner = text[text.rfind("<") + 1 :].partition(">")[0].partition("@")[0]
    number, *parameters = unescaped(inner).split(";")
    if not any(map(str.isdigit, number)):
        return None
    for parameter in parameters:
        name, equals, _ = parameter.partition("=")
        if name.strip().lower() in _BEYOND:
            return Wrong.EXTENSION
        if not equals and any(map(str.isdigit, name)):
            return _extension_or_another(name) or Wrong.EXTENSION
    found = _DIALS_ON.search(number)
    if found is None or not CallParty(number[: found.start()].rpartition(":")[2].strip()).dialled:
        return None
    return _extension_or_another(number[found.start() :])


def several_in(text: str, region: str | None) -> tuple[str, ...] | Wrong | None:
    """Return the numbers of `0812345670/1` or `02-141-9993-5`; a reason if unclear.

    None: no few digits follow a stroke or dash after a whole number. A stroke may separate an area
    code too: `089/12345678` is one number. So is a text with a dash that its plan assigns whole.
    """
    if (found := _LINES.match(text)) is not None:
        return _lines_of(found[1], found[2], parse(text, region), region)
    found = _STROKE.match(text)
    whole = found[1].rstrip(_MARKS_AFTER) if found else ""
    first = parse(whole, region) if whole else None
    if not found or first is None or first.kind is not Kind.E164 or not is_assigned(first.text):
        return None
    last = parse(whole[: -len(found[2])] + found[2], region)
    if len(found[2]) == 1 and last.kind is Kind.E164 and last.text > first.text:
        return first.text, last.text
    return Wrong.SEVERAL_NUMBERS


def _lines_of(
    whole: str, end: str, read: Number, region: str | None
) -> tuple[str, ...] | Wrong | None:
    """Return the numbers from `whole` to the one that ends with `end`; `read` is the whole text."""
    first, last = (parse(text, region) for text in (whole, whole[: -len(end)] + end))
    if first.kind is not Kind.E164 or not is_assigned(first.text):
        return None
    if read.kind is Kind.E164 and is_assigned(read.text):
        return None
    is_range = last.kind is Kind.E164 and last.text > first.text
    if not (is_range and first.text.startswith("+66")):  # elsewhere it may be an extension
        return Wrong.SEVERAL_NUMBERS
    return tuple(f"+{number}" for number in range(int(first.text), int(last.text) + 1))


def _extension_or_another(text: str) -> Wrong | None:
    digits = CallParty(text.lower().lstrip(_LEADS).rstrip()).dialled
    if not digits:
        return None
    return Wrong.SEVERAL_NUMBERS if len(digits) >= _LINE_DIGITS_MIN else Wrong.EXTENSION


# Eight digits are read at once, as one word: neighbours are joined to pairs, pairs to fours, fours
# to the value. A byte that is no digit shows in the high half of its place, at once or after six is
# added.
_ZERO = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_MARKS = {4: b"-", 7: b"-", 10: b"T ", 13: b":", 16: b":", 19: b"Z"}


def times_in(texts: ByteTexts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return seconds since the epoch (int64) for each plain time, and a mask of the plain ones.

    Plain are 9 or 10 digits, and ISO 8601 like `2026-01-31T12:00:00Z`, also with a blank for the T
    or without the Z.
    """
    seconds, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    for sizes, read in (((9, 10), _epoch), ((19, 20), _iso)):
        rows = np.flatnonzero(np.isin(texts.sizes, sizes))
        if len(rows):
            found, plain = read(ByteTexts(texts.data, texts.starts[rows], texts.sizes[rows]))
            seconds[rows[plain]] = found[plain]
            good[rows[plain]] = True
    return seconds, good


def eight_digits(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the values of words of eight ASCII digits, little-endian, and a mask of such words."""
    values = words ^ _ZERO
    good = ((values + _SIXES) | values) & _HIGH == 0
    values = values * np.uint64(10) + (values >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    values = values * np.uint64(100) + (values >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return values * np.uint64(10_000) + (values >> np.uint64(32)) & np.uint64(0xFFFFFFFF), good


def _epoch(texts: ByteTexts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    data, starts, more = texts.data, texts.starts, texts.sizes - 8
    # A view of the 8 bytes from each place on: no text is copied before it is chosen.
    windows = np.ndarray((len(data) - 7,), "V8", data, strides=(1,))
    last, good = eight_digits(windows[starts + more].view("<u8"))
    first, second = data[starts].astype(np.int64) - 48, data[starts + 1].astype(np.int64) - 48
    good &= (first >= 0) & (first <= 9) & (second >= 0) & (second <= 9)
    seconds = np.where(more == 2, first * 10 + second, first) * 10**8 + last.astype(np.int64)
    return seconds, good & (seconds <= TIME_MAX_S)


def _iso(texts: ByteTexts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    windows = np.ndarray((len(texts.data) - 19,), "V20", texts.data, strides=(1,))
    # Turned on its side: each place of the layout is one row, and NumPy goes through it in order.
    letters = np.ascontiguousarray(windows[texts.starts].view(np.uint8).reshape(-1, 20).T)
    good = np.ones(len(texts), np.bool_)
    for place, marks in _MARKS.items():
        right = np.isin(letters[place], np.frombuffer(marks, np.uint8))
        good &= right | (texts.sizes == 19) if place == 19 else right
    digits = letters.astype(np.int64) - 48
    good &= ((digits[_DIGITS] >= 0) & (digits[_DIGITS] <= 9)).all(axis=0)
    year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
    month, day, hour, minute, second = (digits[i] * 10 + digits[i + 1] for i in (5, 8, 11, 14, 17))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= (month >= 1) & (month <= 12) & (year >= 1970)
    longest = _DAYS_IN_MONTH[np.where(good, month, 0)] + (leap & (month == 2))
    good &= (day >= 1) & (day <= longest) & (hour <= 23) & (minute <= 59) & (second <= 59)
    days = days_since_epoch(year, month, day)
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    return seconds, good & (seconds > 0) & (seconds <= TIME_MAX_S)


def days_since_epoch(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Days from 1970-01-01 in the Gregorian calendar.

    H. Hinnant, "chrono-Compatible Low-Level Date Algorithms": the year begins in March, so that the
    day that is not always there is its last.
    """
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: NDArray[np.int64] = of_year + of_era * 365 + of_era // 4 - of_era // 100
    return days + era * 146_097 - 719_468


MEMO_MAX = 100_000
"""Distinct texts kept for each column. Most columns have few; times may have many."""
Read = Callable[[str], int | Wrong]
"""Parser of one text: its value, or why it has none."""


class FieldReader:
    """A reader of one column that parses each distinct text once."""

    def __init__(self, name: str, dtype: np.dtype[Any], read: Read, default: int) -> None:
        self.name = name
        self._dtype = dtype
        self._read = read
        self._default = default
        self._memo: dict[str | None, int] = {}
        self._wrong: dict[str | None, Wrong] = {}

    def values(self, texts: Texts | None, rows: int, wrong: dict[int, Wrong]) -> NDArray[Any]:
        """Return the values; put rows whose text means nothing into `wrong`, if they are not."""
        if texts is None:
            return np.full(rows, self._default, self._dtype)
        if len(self._memo) > MEMO_MAX:
            self._memo.clear()
            self._wrong.clear()
        if isinstance(texts, ByteColumn):
            return self._values_in(texts, wrong)
        # Partners repeat a few words, days and names: a million rows are some hundred parses.
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

    def _values_in(self, column: ByteColumn, wrong: dict[int, Wrong]) -> NDArray[Any]:
        """Do the same for a column of bytes: only distinct texts become Python objects."""
        values, left = np.zeros(len(column), self._dtype), np.arange(len(column))
        if self._read in (read_time, read_end):
            seconds, plain = times_in(column.texts)
            values[:], left = seconds, np.flatnonzero(~plain)
        distinct, place = column.at(left).distinct()
        why: dict[int, Wrong] = {}
        values[left] = self.values(distinct, len(distinct), why)[place]
        for row in np.flatnonzero(np.isin(place, list(why))).tolist() if why else ():
            wrong.setdefault(int(left[row]), why[int(place[row])])
        return values


@lru_cache(maxsize=64)
def trunk_zero(region: str | None) -> bytes:
    """Return the country code of a region that dials a 0 before its numbers; b"": it does not."""
    held = region and phonenumbers.PhoneMetadata.metadata_for_region(region.upper(), None)
    return f"+{held.country_code}".encode() if held and held.national_prefix == "0" else b""


def why_no_number(text: str, kind: Kind, region: str | None) -> Wrong:
    """Return why a text, read as `kind`, is no number to list."""
    if not text:
        return Wrong.NO_NUMBER
    if kind is Kind.INVALID:
        national = region is None and text[0] != "+" and sum(c.isdigit() for c in text) >= 7
        return Wrong.NO_COUNTRY if national else Wrong.NOT_A_NUMBER
    return Wrong.NOT_E164


_FIELDS_OF = {
    Wrong.BAD_CATEGORY: ("category",),
    Wrong.BAD_SOURCE: ("source",),
    Wrong.BAD_CONFIDENCE: ("confidence",),
    Wrong.BAD_DATE: ("reported_at", "expires_at"),
    Wrong.EXPIRED: ("expires_at", "reported_at"),
    Wrong.FUTURE: ("reported_at",),
}
"""The fields that a reason may be about; of several the first that has a text."""


def rejected_row(rows: Rows, row: int, why: Wrong, dates: Dates) -> RejectedRow:
    """Return a row with its reason and the wrong text; `dates` is the spelling of its times."""
    field, text = _wrong_text(rows, row, why, dates)
    return RejectedRow(
        rows.lines[row], why, text, _original_of(rows, row), cell_of(rows, row, field)
    )


def cell_of(rows: Rows, row: int, field: str) -> str:
    """Return the cell of a row's field in a spreadsheet; "": it is none, or has no such column."""
    letters = rows.letters.get(field)
    return f"{letters}{rows.lines[row]}" if letters else ""


def _wrong_text(rows: Rows, row: int, why: Wrong, dates: Dates) -> tuple[str, str]:
    """Return the field that is wrong, and its text as the file has it."""
    named = _FIELDS_OF.get(why, ("number",))
    held = [(name, text) for name in named if (text := _text_of(rows, row, name))]
    if why is Wrong.BAD_DATE:
        held = [
            (name, text)
            for name, text in held
            if isinstance(dates.of(name).reader(text.strip()), Wrong)
        ]
    return held[0] if held else (named[0], "")


def _text_of(rows: Rows, row: int, field: str) -> str:
    texts: Texts | None = getattr(rows, field)
    return str(texts[row] or "") if texts is not None else ""


def _original_of(rows: Rows, row: int) -> str:
    """Return the row as the file has it."""
    original = rows.originals[row]
    return original if isinstance(original, str) else ",".join(original)
