"""The reader's language on pages: which one, its texts, its numbers and spans of time.

English texts are in templates and code, and are the keys of the catalogues: `th.po` and the
others beside this file. They are read at the first page in their language, and not compiled, so
an edit needs no build. Where a catalogue has no text, the page shows the English one.

`python -m tests.tools.catalogues` brings the catalogues up to date. Names of lists and dialects,
codes in records, JSON and commands are never translated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Final

from babel.dates import format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import get_decimal_symbol, get_group_symbol
from babel.support import Translations
from babel.units import format_unit
from fastapi import Request
from markupsafe import Markup, escape

from stream.ops.schema.durations import largest_unit, spelled

ENGLISH: Final = "en"
LANGUAGES: Final = {
    ENGLISH: "English",
    "th": "ไทย",
    "km": "ភាសាខ្មែរ",
    "my": "မြန်မာ",
    "vi": "Tiếng Việt",
    "zh": "简体中文",
}
"""Each language by its code, as its readers call it."""
LANGUAGE_COOKIE: Final = "ringfence-language"
_TAGS: Final = {"zh": "zh-Hans"}
"""Where HTML wants more than the code: the catalogue is in simplified characters."""
_RANGES_MAX: Final = 20
"""Ranges of an Accept-Language header that are looked at; browsers send up to ten."""
_UNITS: Final = {"days": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
"""Units of spans, and how the CLDR names them."""
_reader: ContextVar[str] = ContextVar("language of the reader", default=ENGLISH)


def preferred(accepted: str) -> str:
    """Return the language for an Accept-Language header (RFC 9110, 12.5.4); English by default.

    A range is looked up by its first part: `zh-TW` gets `zh`, which is all there is (RFC 4647,
    3.4). Of two languages with the same weight, the first one counts.
    """
    best, weight = ENGLISH, 0.0
    for one in accepted.split(",")[:_RANGES_MAX]:
        name, _, quality = one.partition(";")
        primary = name.strip().lower().partition("-")[0]
        if primary in LANGUAGES and _weight(quality) > weight:
            best, weight = primary, _weight(quality)
    return best


def _weight(quality: str) -> float:
    """Return the weight of a range; 0, which refuses it, for a weight that cannot be read."""
    name, _, digits = quality.strip().partition("=")
    if not name:
        return 1.0
    whole = digits.strip().replace(".", "", 1)
    plain = name.strip().lower() == "q" and whole.isascii() and whole.isdigit() and len(whole) < 5
    return min(float(digits), 1.0) if plain else 0.0


def read_by(request: Request) -> str:
    """Show texts from here on in the language of the person who asks, and return its code."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    found = chosen if chosen in LANGUAGES else preferred(request.headers.get("accept-language", ""))
    _reader.set(found)
    return found


def reader() -> str:
    """Return the code of the language that texts are shown in now."""
    return _reader.get()


@contextmanager
def reading(language: str) -> Iterator[None]:
    """Show texts in a language within the block."""
    before = _reader.set(language)
    try:
        yield
    finally:
        _reader.reset(before)


def tag(language: str) -> str:
    """Return a language as the attribute `lang` names it."""
    return _TAGS.get(language, language)


@cache
def _catalogue(language: str) -> Translations:
    """Return the texts of a language; about 20 ms, once in a process."""
    compiled = BytesIO()
    with resources.files(__name__).joinpath(f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def gettext(text: str, /, **values: object) -> str:
    """Return a text in the reader's language, with `%(name)s` replaced by values, if any."""
    language = reader()
    found = text if language == ENGLISH else _catalogue(language).gettext(text)
    return found % values if values else found


def ngettext(one: str, more: str, count: int, /, **values: object) -> str:
    """Return the text for a count, by the plural forms of the language; `%(num)s` is the count."""
    return plural(one, more, count) % {"num": many(count), **values}


def plural(one: str, more: str, count: int, /) -> str:
    """Return the form of a text for a count, as templates want it: they put the values in."""
    if reader() == ENGLISH:
        return one if count == 1 else more
    return _catalogue(reader()).ngettext(one, more, count)


def noted(text: str) -> str:
    """Mark a text for the catalogues; it is translated later, where it is shown."""
    return text


def word(code: str) -> str:
    """Return a code of ours as a word: `pending_owner` is "pending owner", or its translation."""
    return gettext(code.replace("_", " ")) if code else ""


def reason(code: str, begins: bool = False) -> Markup | str:
    """Return a reason's code as words, and the code beside where they do not show it.

    `begins`: it is the first word of a sentence.
    """
    english, shown = code.replace("_", " "), word(code)
    translated = shown != english
    if begins:
        shown = capital(shown)
    if not translated:
        return shown
    return Markup('{} <code class="dim">{}</code>').format(escape(shown), code)


def capital(text: str) -> str:
    """Return a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Return a text as a sentence, with the language's own mark at its end."""
    return gettext("%(sentence)s.", sentence=capital(text))


def many(count: float) -> str:
    """Return a count with separated thousands; small ones with a decimal. Digits are Latin."""
    small = count < 10 and count != int(count)
    return separated(f"{count:,.1f}" if small else f"{count:,.0f}")


def rounded(value: float) -> str:
    """Return a figure in three digits, whole from 100 on: `1.37`, `935`, `1,960`."""
    # `.3g` alone writes 1,960 as 1.96e+03.
    return separated(f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


def separated(figure: str) -> str:
    """Return a figure as Python writes it (`1,234.5`) with the language's separators."""
    return figure.translate(_separators(reader()))


@cache
def _separators(language: str) -> dict[int, str]:
    return {ord(","): get_group_symbol(language), ord("."): get_decimal_symbol(language)}


def lasting(seconds: float) -> str:
    """Return a span of time for people: `45 s`, `12 min`, `9 days`."""
    if reader() == ENGLISH:
        return spelled(seconds)
    value, unit = largest_unit(seconds)
    return format_unit(value, f"duration-{_UNITS[unit]}", locale=reader())


def month(first: date) -> str:
    """Return a month for people: `November 2026`. The year is of the common era, in Thai too."""
    return format_skeleton("yMMMM", first, locale=reader())
