"""Spans of time as people write them: `10d`, `12h`, `30m`."""

import re

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def seconds_of(span: str) -> int | None:
    """Return a span in seconds, above 0; None if the text is none."""
    match = _SPAN.fullmatch(span.strip().lower())
    if match is None or not int(match[1]):
        return None
    return int(match[1]) * _UNITS[match[2]]


def wait_of(span: str) -> float | None:
    """Return a wait in seconds: a span, or milliseconds (`200ms`); None if the text is neither."""
    if span.strip().lower().endswith("ms"):
        digits = span.strip()[:-2]
        return int(digits) / 1000 if digits.isdecimal() and 50 <= int(digits) < 10**6 else None
    return seconds_of(span)


def spelled(seconds: float) -> str:
    """Return a span for people: `45 s`, `12 min`, `3 h`, `9 days`."""
    value, unit = largest_unit(seconds)
    return f"{value} {unit}"


def largest_unit(seconds: float) -> tuple[int, str]:
    """Return a span as a rounded count of its largest unit: days, h, min, s or ms."""
    for length, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return round(seconds / length), unit
    return (round(seconds), "s") if seconds >= 1 or not seconds else (round(seconds * 1000), "ms")
