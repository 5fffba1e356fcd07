"""Spans of time as people write them: `10d`, `12h`, `30m`."""

import re

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def seconds_of(span: str) -> int | None:
    """A span in seconds, above 0; None if the text is none."""
    match = _SPAN.fullmatch(span.strip().lower())
    if match is None or not int(match[1]):
        return None
    return int(match[1]) * _UNITS[match[2]]


def wait_of(span: str) -> float | None:
    """A wait in seconds: a span, or one in milliseconds (`200ms`); None if the text is neither."""
    if span.strip().lower().endswith("ms"):
        digits = span.strip()[:-2]
        return int(digits) / 1000 if digits.isdecimal() and 50 <= int(digits) < 10**6 else None
    return seconds_of(span)


def spelled(seconds: float) -> str:
    """A span for people: `45 s`, `12 min`, `3 h`, `9 days`."""
    for size, word in ((2 * 86_400, "days"), (2 * 3600, "h"), (120, "min")):
        if seconds >= size:
            unit = {"days": 86_400, "h": 3600, "min": 60}[word]
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"
