"""What one text means: a number, a category, a confidence, a time, or why it is none. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timezone
from typing import Literal

from stream.core.model.entry import Category
from stream.core.numbers.parties import Party
from stream.core.numbers.spelling import unescaped
from stream.feeds.formats.rows import Wrong
from stream.feeds.lookalikes import BUDDHIST_AHEAD

TIME_MAX_S = 2**32 - 1

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+\Z")
_DECIMAL = re.compile(r"\+?\d{5,}[.,]\d{0,2}\Z")
_THOUSANDS = re.compile(r"\+?\d{1,3}(?:,\d{3}){2,}\Z")
_DAY = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T,]+(\d{1,2}):(\d\d)(?::(\d\d))?)?\Z")
_DIALS_ON = re.compile(r"ext(?:n|ension)?|[,#pwx]", re.IGNORECASE)
_BEYOND = frozenset({"ext", "extension", "isub", "isub-encoding", "postd", "x"})
"""Parameters of a `tel` URI (RFC 3966) that name a part of a line, or what is dialled after it."""
_LEADS = " \t,#.:pwxetnsio"
"""What stands before an extension: marks, pauses, and the letters of `extension`."""
_LINE_DIGITS_MIN = 7
"""Fewer digits after a number are no number of their own."""
_EXCEL_TEXT = re.compile(r'="([^"]*)"\Z')


def as_word(text: str) -> str:
    """A partner's word as it is looked up: case and blanks do not matter."""
    return " ".join(text.casefold().split())


def category_words(*vocabularies: Mapping[str, Category]) -> dict[str, Category]:
    """Partners' words by `as_word`; of a word given twice the first counts."""
    found: dict[str, Category] = {}
    for words in reversed(vocabularies):
        found |= {as_word(word): kind for word, kind in words.items()}
    return found


def read_category(text: str, words: Mapping[str, Category] | None = None) -> int | Wrong:
    """A category by a partner's word or by its label; case, blanks and dashes do not matter."""
    if words:
        found = words.get(as_word(text))
        if found is not None:
            return int(found)
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
        return _seconds_of(datetime.fromisoformat(text), UTC)
    except ValueError:
        return Wrong.BAD_DATE


@dataclass(frozen=True, slots=True)
class Dates:
    """How a file writes days and times, besides seconds since the epoch.

    `order` "iso": ISO 8601 alone; else also days as spreadsheets write them, 31/1/2026 or with dots
    or dashes, with or without a time, the day first or the month. `buddhist`: years are those of
    the Buddhist era (2569 is 2026). `zone` is that of times that name none.
    """

    order: Literal["iso", "day-month", "month-day"] = "iso"
    buddhist: bool = False
    zone: timezone = UTC

    @property
    def reader(self) -> "Callable[[str], int | Wrong]":
        """What reads one text; `read_time` itself where nothing else was said."""
        return read_time if self == Dates() else self.read

    def read(self, text: str) -> int | Wrong:
        """Seconds since the epoch."""
        if text.isascii() and text.isdigit():
            return read_time(text)
        day = _DAY.match(text) if self.order != "iso" else None
        try:
            if day is not None:
                one, _, two, year, *clock = day.groups()
                month, date = (two, one) if self.order == "day-month" else (one, two)
                parts = [self._common(year), int(month), int(date), *(int(c or 0) for c in clock)]
                moment = datetime(*parts, tzinfo=self.zone)  # type: ignore[arg-type,misc]
                return _seconds_of(moment, self.zone)
            if self.buddhist:
                text = f"{self._common(text[:4]):04d}{text[4:]}"
            return _seconds_of(datetime.fromisoformat(text), self.zone)
        except ValueError:
            return Wrong.BAD_DATE

    def _common(self, year: str) -> int:
        """The year of the common era: taken before the day is looked at, for leap days' sake."""
        return int(year) - BUDDHIST_AHEAD if self.buddhist else int(year)


def _seconds_of(moment: datetime, zone: timezone) -> int | Wrong:
    """Seconds since the epoch; a moment without a zone is one of `zone`."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        return Wrong.BAD_DATE
    return seconds if 0 < seconds <= TIME_MAX_S else Wrong.BAD_DATE


def bare_number(text: str) -> str:
    """The number's text without what spreadsheets put around it."""
    text = text.strip()
    if text.startswith(("'", "=")):
        excel = _EXCEL_TEXT.match(text)
        text = excel[1] if excel else text[1:]
    # Thousands separators change no digit; a comma is no separator that numbers are written with.
    return text.replace(",", "") if "," in text and _THOUSANDS.match(text) else text


def damage_of(text: str) -> Wrong | None:
    """What a spreadsheet did to a number, if it did."""
    if _SCIENTIFIC.match(text):
        return Wrong.SCIENTIFIC
    return Wrong.DECIMAL if _DECIMAL.match(text) else None


def after_number(text: str) -> Wrong | None:
    """What follows the number in `text`, so that the number alone would list more, or less.

    Who has an extension of a company, or of a hospital, would have all of it blocked.
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
    if found is None or not Party(number[: found.start()].rpartition(":")[2].strip()).dialled:
        return None
    return _extension_or_another(number[found.start() :])


def _extension_or_another(text: str) -> Wrong | None:
    digits = Party(text.lower().lstrip(_LEADS).rstrip()).dialled
    if not digits:
        return None
    return Wrong.SEVERAL_NUMBERS if len(digits) >= _LINE_DIGITS_MIN else Wrong.EXTENSION
