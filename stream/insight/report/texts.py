"""Texts that others wrote, and moments, as a report may show them. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from stream.core.model.agreement import FOREVER
from stream.insight.report.period import day_of, day_words

_UNIT: Final = re.compile(r"(\d) (%|(?:s|min|h|days?|calls?|changes?|appeals?|points?)\b)")
TEXT_MAX: Final = 300
_NUMBER: Final = re.compile(r"\+?(?:\d[ ().-]?){6,}\d")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])\+?[0-9a-fA-F]{12,}(?![0-9A-Za-z])")


def scrubbed(text: str) -> str:
    """The text without what could be a number or a fingerprint, and no longer than bearable.

    A report goes to people who are to see neither, whatever a partner wrote into a message.
    """

    def hide(found: re.Match[str]) -> str:
        return found[0] if _DAY.fullmatch(found[0].strip()) else "(left out)"

    short = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
    return _NUMBER.sub(hide, _HEX.sub("(left out)", short))


def tied(text: str) -> str:
    """The text with each figure tied to its unit, so that no line ends between them."""
    return _UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", text)


def rfc3339(at_s: int) -> str | None:
    """RFC 3339 in UTC; None: never."""
    return None if at_s >= FOREVER else datetime.fromtimestamp(at_s, UTC).isoformat()


def day_text(at_s: int) -> str:
    """The day of a moment, for people."""
    return day_words(day_of(at_s))


def minute_text(at_s: int) -> str:
    """A moment for people, to the minute, in UTC: `25 November 2026, 17:04 UTC`."""
    return f"{day_text(at_s)}, {datetime.fromtimestamp(at_s, UTC):%H:%M} UTC"
