"""Recognise texts that are no telephone numbers: dates, serial ids, amounts. Pure.

Numbering plans do not help here. `20/11/2569` is a possible number of Bangkok, the seven digits of
a ticket are one of Brunei, and 150,000,000 rupiah are one of Jakarta. One such text proves nothing,
so everything but dates with separators is judged by a whole column.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Final, Literal

from stream.core.numbers.prefix_entries import range_ends
from stream.core.numbers.spelling import folded, whole_number

DateOrder = Literal["iso", "day-month", "month-day"]
"""The order of day and month in a column of days; "iso": the year comes first."""
MaybeOrder = Literal["", "iso", "day-month", "month-day"]
"""The same; "": not said."""
YEARS: Final = range(1900, 2101)
_COMPACT_YEARS: Final = range(1990, 2041)
"""Fewer years where a date is digits alone: by chance one number in 3,000 is such a date."""
BUDDHIST_AHEAD: Final = 543
"""Years by which the Buddhist era, as Thailand counts it, is ahead of the common one."""
STEP_MAX: Final = 20
"""Ids grow by small steps. A million sorted numbers of one country have few so small steps."""
SHARE: Final = 0.8
"""A column looks like something if this share does; dirty rows and totals are the rest."""
_DATES_SHARE: Final = 0.2
"""Dates need less: only one number in 3,000 looks like one."""
_FEW: Final = 3
"""One or two texts may look like anything by chance."""
LOOKED_MAX: Final = 20_000
"""Texts that are looked at: enough to tell dates from numbers. More only costs time."""
_AT_ONCE_MAX: Final = 2_000
"""Texts of one chunk, so that the sample is of the whole file and not of its beginning."""

_NUMBER = re.compile(r"['=\"]*\+?[0-9\s\-.()/]{7,24}[*#]*\"?\Z")
_NUMBER_CHARS_MAX: Final = 40
"""No telephone number is longer. It bounds what regular expressions look at."""
_NUMBER_DIGITS_MAX: Final = 16
_DOTTED_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z")
_SCHEMES = ("tel:", "sip:", "sips:")
_CLOCK = (
    r"(?:[ T,]+\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d{1,9})?)?"
    r"(?: ?[AaPp]\.?[Mm]\.?| ?น\.)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)?"
)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_CLOCK}\Z")
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_CLOCK}\Z")
_SHORT_YEAR = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{2}}){_CLOCK}\Z")
_COMPACT = re.compile(r"(\d{8})(?:[ T]?(\d\d)(\d\d)(\d\d)?)?\Z")
_EPOCHS = (range(1_400_000_000, 2_000_000_000), range(1_400_000_000_000, 2_000_000_000_000))
_EPOCH_SPAN_S: Final = 5 * 366 * 86_400
"""Reports lie within some years. Telephone numbers of ten digits are spread wider."""
_THOUSANDS = re.compile(r"[1-9]\d{0,2}([,. '])\d{3}(?:\1\d{3})*\Z")
_DECIMAL = re.compile(r"(\d+)[.,](\d{1,2})\Z")
_SEPARATORS = str.maketrans("", "", ",. '")
_SUM_DIGITS_MAX: Final = 9
"""More digits before `.00` are a telephone number that a spreadsheet read as a sum."""
_FRACTION = re.compile(r"[+-]?(?:0|[1-9]\d{0,2})[.,]\d{4,}\Z")
"""Degrees of latitude and longitude, mostly."""
_SERIAL = re.compile(r"(?:3[5-9]|4\d|5[0-4])\d{3}(?:[.,]\d+)?\Z")
"""A spreadsheet's day number, from 1995 to 2050."""


class Looks(StrEnum):
    """Kinds of columns that hold no telephone numbers."""

    DATES = "dates"
    IDS = "ids"
    AMOUNTS = "amounts"


def is_date(text: str) -> bool:
    """Return whether a text is a day with separators and a whole year, with or without a time.

    20/11/2569, 2026-11-20, 11/20/2026 14:30: the order and the era do not matter. No telephone
    number is written so: three groups of which one is a year and the others are a day and a month.
    """
    text = folded(text)
    if (found := _YEAR_LAST.match(text)) is not None:
        one, _, two, year = found.group(1, 2, 3, 4)
    elif (found := _YEAR_FIRST.match(text)) is not None:
        year, _, one, two = found.group(1, 2, 3, 4)
    else:
        return False
    return _is_day(int(year), int(one), int(two), YEARS)


def is_like_date(text: str) -> bool:
    """Return whether a text may be a date, also where it may be a number: 20261120, 20/11/69."""
    text = folded(text)
    if is_date(text):
        return True
    if (found := _SHORT_YEAR.match(text)) is not None:
        one, two, three = map(int, found.group(1, 3, 4))
        return _is_month_and_day(one, two) or _is_month_and_day(two, three)
    return _is_compact(text) or _SERIAL.match(text) is not None


def _is_compact(text: str) -> bool:
    """Return whether a text is a day, with or without a time, of digits alone."""
    found = _COMPACT.match(text)
    if found is None:
        return False
    day, hour, minute, _ = found.groups()
    if hour is not None and (int(hour) > 23 or int(minute) > 59):
        return False
    four, two, last = int(day[:4]), int(day[4:6]), int(day[6:])
    if _is_day(four, two, last, _COMPACT_YEARS):
        return True
    return _is_day(int(day[4:]), int(day[:2]), int(day[2:4]), _COMPACT_YEARS)


def _is_day(year: int, one: int, two: int, years: range) -> bool:
    common = year if year in years else year - BUDDHIST_AHEAD
    if common not in years:
        return False
    return _is_in_calendar(common, one, two) or _is_in_calendar(common, two, one)


def _is_in_calendar(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _is_month_and_day(one: int, two: int) -> bool:
    return min(one, two) in range(1, 13) and max(one, two) in range(1, 32)


@dataclass(frozen=True, slots=True)
class Style:
    """The style of days in a column, by the names of a feed's `dates` and `era`.

    `unclear` are texts that are another day in the other order. There are none where a day above
    12 tells the order of all, or where each text is one day in both.
    """

    dates: DateOrder
    era: str
    unclear: tuple[str, ...] = ()


def style_of(texts: Sequence[str]) -> Style | None:
    """Return the style in which most of the texts write days; None: none that a feed can name."""
    texts = [folded(text) for text in texts]
    last = [found for text in texts if (found := _YEAR_LAST.match(text)) is not None]
    first = [found for text in texts if (found := _YEAR_FIRST.match(text)) is not None]
    if 2 * len(last) >= len(texts) > 0:
        years = [int(found[4]) for found in last]
        days = sum(int(found[1]) > 12 for found in last)
        months = sum(int(found[3]) > 12 for found in last)
        found_unclear = tuple(one[0] for one in last if _is_unclear(one))
        # Some days that fit only one order, and some that fit only the other, prove nothing.
        unclear = found_unclear if bool(days) == bool(months) else ()
        return Style("month-day" if months > days else "day-month", _era(years), unclear)
    if 2 * len(first) >= len(texts) > 0:
        return Style("iso", _era([int(found[1]) for found in first]))
    return None


def _is_unclear(found: re.Match[str]) -> bool:
    one, two = int(found[1]), int(found[3])
    return one != two and 0 < one <= 12 and 0 < two <= 12


def _era(years: Sequence[int]) -> str:
    ahead = sum(year >= YEARS.start + BUDDHIST_AHEAD for year in years)
    return "buddhist" if 2 * ahead > len(years) else "common"


def looks_like_number(text: str) -> bool:
    """Return whether a text could be a telephone number and is no date, IP address or fraction."""
    text = folded(text).strip()
    if len(text) <= 2 * _NUMBER_CHARS_MAX and (ends := range_ends(text)) is not None:
        return all(map(_looks_like_one, ends))
    return _looks_like_one(text)


def _looks_like_one(text: str) -> bool:
    if text[:5].lower().startswith(_SCHEMES):
        text = text[text.index(":") + 1 :].partition("@")[0].partition(";")[0]
    return (
        len(text) <= _NUMBER_CHARS_MAX
        and 7 <= sum(c.isdigit() for c in text) <= _NUMBER_DIGITS_MAX
        and _NUMBER.match(text) is not None
        and not is_date(text)
        and not is_fraction(text)
        and _DOTTED_QUAD.match(text) is None
    )


def is_fraction(text: str) -> bool:
    """Return whether a text is a decimal fraction, as a degree of latitude is."""
    return _FRACTION.match(text) is not None


def _is_round(text: str) -> bool:
    """Return whether a text is a sum of money that ends with two zeros.

    150000, 1,250,000, 300.00.
    """
    whole = text
    if (found := _DECIMAL.match(text)) is not None:
        whole = found[1]
        if len(whole) <= _SUM_DIGITS_MAX and found[2] in {"0", "00"}:
            return True
    elif (found := _THOUSANDS.match(text)) is not None:
        whole = text.translate(_SEPARATORS)
    return len(whole) > 3 and whole.isdigit() and whole[0] != "0" and whole.endswith("00")


def bare_id(text: str) -> int | None:
    """Return the value of a text that may be an id; None: it is written like a telephone number.

    A text with `+`, a trunk prefix (0812345600) or separators is no id. So numbers of one block,
    bought by a gang, stay numbers where they are written in full. Zeros in front of an id (000001)
    only fill it up.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    if text[0] == "0" and not text.startswith("000"):
        return None
    return int(text)


@dataclass(slots=True)
class ColumnTally:
    """Counts over the texts of a column, and the look that follows from them."""

    texts: int = 0
    days: int = 0
    dates: int = 0
    fractions: int = 0
    rounds: int = 0
    steps: int = 0
    small: int = 0
    epochs: list[int] = field(default_factory=list, repr=False)

    def add(self, texts: Iterable[str | None]) -> None:
        """Count more texts of the column, in their order. Those in E.164 cost next to nothing."""
        ids: list[int] = []
        for raw in texts:
            text = whole_number(folded(raw).strip(" \t\"'")) if raw else ""
            if not text:
                continue
            self.texts += 1
            if text[0] == "+" and "." not in text:
                continue
            self._add(text, ids)
        ids.sort()  # a file may have them in any order
        self.steps += max(len(ids) - 1, 0)
        self.small += sum(1 <= two - one <= STEP_MAX for one, two in pairwise(ids))

    def _add(self, text: str, ids: list[int]) -> None:
        self.days += is_date(text)
        self.dates += is_like_date(text)
        self.fractions += is_fraction(text)
        self.rounds += _is_round(text)
        value = bare_id(text)
        if value is not None:
            ids.append(value)
            if any(value in epochs for epochs in _EPOCHS):
                self.epochs.append(value if value in _EPOCHS[0] else value // 1000)

    def looks(self) -> tuple[Looks, str] | None:
        """Return the look of the column and figures for a person; None: it looks like numbers.

        Of one or two texts all must look so: chance is small enough from three on.
        """
        few = min(_FEW, self.texts)
        if not self.texts:
            return None
        dates = max(self.dates, self._times())
        if self.days and self.days >= _DATES_SHARE * self.texts:
            return Looks.DATES, f"{self.days:,} of {self.texts:,} are days"
        if dates >= few and dates >= _DATES_SHARE * self.texts:
            return Looks.DATES, f"{dates:,} of {self.texts:,} could be dates or times"
        if self.small + 1 >= _FEW and self.small >= SHARE * max(self.steps, SHARE * self.texts - 1):
            detail = f"{self.small:,} of {self.steps:,} follow another by {STEP_MAX} or less"
            return Looks.IDS, detail
        if self.fractions >= few and self.fractions >= SHARE * self.texts:
            return Looks.AMOUNTS, f"{self.fractions:,} of {self.texts:,} are fractions"
        money = self.rounds >= SHARE * self.texts / 2 and self.rounds >= few
        if money:
            return Looks.AMOUNTS, f"{self.rounds:,} of {self.texts:,} are round sums"
        return None

    def _times(self) -> int:
        """Count the texts that are seconds since 1970, if they lie as close together as reports."""
        found = self.epochs
        if len(found) < SHARE * self.texts or max(found) - min(found) > _EPOCH_SPAN_S:
            return 0
        return len(found)


def sampled(texts: Sequence[str | None], tally: ColumnTally) -> None:
    """Add the first texts of a chunk, until the tally has enough of them."""
    if tally.texts < LOOKED_MAX:
        tally.add(texts[:_AT_ONCE_MAX])
