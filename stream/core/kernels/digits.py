"""Times and numbers as text, written by kernels."""

from typing import Any

import numpy as np

from stream.core.kernels.jit import inlined

_QUOTE = np.uint8(ord('"'))


@inlined
def two_digits(out: Any, at: Any, number: Any) -> Any:
    """Write a number below 100 with both its digits."""
    out[at] = np.uint8(48 + number // 10)
    out[at + 1] = np.uint8(48 + number % 10)


@inlined
def put_time(out: Any, at: Any, at_ms: Any) -> Any:
    """Write milliseconds since the epoch as RFC 3339 in quotation marks; where it ends.

    It is `calls.wire.timestamp`, and clamps as that does to the years that can be written.

    The date is reckoned in years that begin in March, so that a leap day is their last (Howard
    Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    """
    at_ms = min(max(at_ms, np.int64(0)), np.int64(253402300799999))
    days, milliseconds = at_ms // 86400000, at_ms % 86400000
    days += 719468  # from the first of March of year 0
    era, day_of_era = days // 146097, days % 146097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    day = day - (153 * month + 2) // 5 + 1
    year += era * 400
    month += 3
    if month > 12:
        month -= 12
        year += 1
    seconds, milliseconds = milliseconds // 1000, milliseconds % 1000
    out[at] = _QUOTE
    two_digits(out, at + 1, year // 100)
    two_digits(out, at + 3, year % 100)
    out[at + 5] = ord("-")
    two_digits(out, at + 6, month)
    out[at + 8] = ord("-")
    two_digits(out, at + 9, day)
    out[at + 11] = ord("T")
    two_digits(out, at + 12, seconds // 3600)
    out[at + 14] = ord(":")
    two_digits(out, at + 15, seconds // 60 % 60)
    out[at + 17] = ord(":")
    two_digits(out, at + 18, seconds % 60)
    out[at + 20] = ord(".")
    out[at + 21] = np.uint8(48 + milliseconds // 100)
    two_digits(out, at + 22, milliseconds % 100)
    out[at + 24] = ord("Z")
    out[at + 25] = _QUOTE
    return at + 26


@inlined
def put_decimal(out: Any, at: Any, number: Any) -> Any:
    """Write a number of 0 or more; where it ends."""
    size, rest = 1, number
    while rest >= 10:
        rest //= 10
        size += 1
    end = at + size
    rest = number
    for place in range(size):
        out[end - 1 - place] = np.uint8(48 + rest % 10)
        rest //= 10
    return end
