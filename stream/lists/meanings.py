"""What one text means: a number, a category, a confidence, a time, or why it is none. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from stream.core.entry import Category
from stream.lists.formats.rows import Wrong

TIME_MAX_S = 2**32 - 1

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+\Z")
_DECIMAL = re.compile(r"\+?\d{5,}[.,]\d{0,2}\Z")
_THOUSANDS = re.compile(r"\+?\d{1,3}(?:,\d{3}){2,}\Z")
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
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
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
