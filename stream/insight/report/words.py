"""Words for figures, names and moments: separators, units, and "not measured" where nothing was."""

import re
from datetime import UTC, datetime
from math import floor
from typing import Final

from stream.core.model.agreement import is_country
from stream.insight.report.figure_catalogue import Unit, Want
from stream.insight.report.figures import Value
from stream.insight.report.period import day_of, day_words

NOT_MEASURED: Final = "not measured"
FEW: Final = 30
"""Per cent of fewer than that say more than there is to say."""
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3600, 60
_SMALL: Final = 0.1
"""A smaller change is neither better nor worse: times are counted in steps of 5 %."""


def shown(value: Value, unit: Unit) -> str:
    """Return a figure for people: `12,345`, `3 min 20 s`, `99.2 %`, or that it was not measured."""
    if value is None:
        return NOT_MEASURED
    if unit is Unit.SECONDS:
        return duration(value)
    if unit is Unit.SHARE:
        return share(value)
    return f"{value:,}"


def share(part: float) -> str:
    """Per cent, rounded down: `100 %` is said of all and of nothing less."""
    assert 0 <= part <= 1, "a share is of a whole"
    tenths = floor(part * 1000 + 1e-9)
    if part and not tenths:
        return "below 0.1 %"
    if part < 1:
        tenths = min(tenths, 999)
    whole, rest = divmod(tenths, 10)
    return f"{whole}.{rest} %" if rest or 0 < part < 1 else f"{whole} %"


def duration(seconds: float) -> str:
    """Return a time in at most two units: `0.24 s`, `45 s`, `3 min 20 s`, `4 h`, `2 days 3 h`."""
    if seconds < 1:
        return f"{seconds:.2f} s" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    # Rounded before it is cut into units: never `1 min 60 s`.
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S - 0.5:
        return _two(round(seconds), _MINUTE_S, "min", 1, "s")
    if seconds < 2 * _DAY_S - 30:
        return _two(round(seconds / _MINUTE_S) * _MINUTE_S, _HOUR_S, "h", _MINUTE_S, "min")
    return _two(round(seconds / _HOUR_S) * _HOUR_S, _DAY_S, "days", _HOUR_S, "h")


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    many, rest = divmod(seconds, large)
    first = f"{many} {large_name}"
    return f"{first} {rest // small} {small_name}" if rest >= small else first


def change(value: Value, before: Value, unit: Unit, want: Want) -> str:
    """Return the change of a figure: `+12 %`, `+2, worse`; "" where one of both is not known.

    Of small counts the difference, of shares points, of all others per cent, or times.
    """
    if value is None or before is None:
        return ""
    if value == before:
        return "the same"
    text, large = _moved(value, before, unit)
    if large and want is not Want.NEITHER:
        better = (value > before) is (want is Want.MORE)
        text += ", better" if better else ", worse"
    return text.replace("-", "\N{MINUS SIGN}")


def _moved(value: float, before: float, unit: Unit) -> tuple[str, bool]:
    """Return the change in words, and whether it is large."""
    if unit is Unit.SHARE:
        points = (value - before) * 100
        return (f"{points:+.1f} points", True) if abs(points) >= 0.1 else ("about the same", False)
    if unit is not Unit.SECONDS and max(value, before) < FEW:
        return f"{value - before:+,}", True
    if not before:
        return "before: none", True
    if not value:
        return "down to none", True
    moved = value / before - 1
    if moved >= 1:  # people read "12.5 times" faster than "+1,150 %"
        return f"{value / before:,.1f} times", True
    text = f"{moved * 100:+.0f} %"
    return ("about the same" if text in {"+0 %", "-0 %"} else text), abs(moved) >= _SMALL


def many(count: int, one: str, several: str = "") -> str:
    """`1 change`, `12,345 changes`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def capital(text: str) -> str:
    """Return the text as a sentence begins."""
    return text[:1].upper() + text[1:]


_WITH_ARTICLE: Final = ("Philippines", "Netherlands", "Maldives", "Bahamas", "Comoros")
_ARTICLE_BEGINS: Final = ("United ", "Central African", "Dominican Rep", "Czech Rep")


def country_name(code: str) -> str:
    """`Cambodia` for KH, by CLDR as libphonenumber carries it; what is no country stays itself."""
    # 0.3 s and 90 MB, which every command and worker would carry: only reports need it.
    from phonenumbers.geodata.locale import LOCALE_DATA  # noqa: PLC0415

    names = LOCALE_DATA.get(code, {}) if is_country(code) else {}
    name = names.get("en", "")
    if name.startswith("*"):  # the same as in another language
        name = names.get(name[1:], "")
    return name or code


def in_sentence(code: str) -> str:
    """Return the same within a sentence: `the Philippines`."""
    name = country_name(code)
    article = name in _WITH_ARTICLE or name.startswith(_ARTICLE_BEGINS) or name.endswith("Islands")
    return f"the {name}" if article else name


def worded(word: str) -> str:
    """Return a word of ours for people: `call centre` for call_centre."""
    return word.replace("_", " ")


_UNIT: Final = re.compile(r"(\d) (%|(?:s|min|h|days?|calls?|changes?|appeals?|points?)\b)")
TEXT_MAX: Final = 300
_NUMBER: Final = re.compile(r"\+?(?:\d[ ().-]?){6,}\d")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])\+?[0-9a-fA-F]{12,}(?![0-9A-Za-z])")


def scrubbed(text: str) -> str:
    """Return the text without what could be a number or a fingerprint, and no longer than bearable.

    A report goes to people who are to see neither, whatever a partner wrote into a message.
    """

    def hide(found: re.Match[str]) -> str:
        return found[0] if _DAY.fullmatch(found[0].strip()) else "(left out)"

    short = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
    return _NUMBER.sub(hide, _HEX.sub("(left out)", short))


def tied(text: str) -> str:
    """Return the text with each figure tied to its unit, so that no line ends between them."""
    return _UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", text)


def day_text(at_s: int) -> str:
    """Return the day of a moment, for people."""
    return day_words(day_of(at_s))


def minute_text(at_s: int) -> str:
    """Return a moment for people, to the minute, in UTC: `25 November 2026, 17:04 UTC`."""
    return f"{day_text(at_s)}, {datetime.fromtimestamp(at_s, UTC):%H:%M} UTC"
