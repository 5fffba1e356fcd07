"""Times in columns of bytes, many at once: those spellings that nearly all files have. Pure.

What is read here means the same as `read_time` says of the text; all others are left to it.
"""

import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.feeds.values import TIME_MAX_S

_ZERO = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_MARKS = {4: b"-", 7: b"-", 10: b"T ", 13: b":", 16: b":", 19: b"Z"}


def times_in(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds since the epoch of each text that is a plain time, and which are (bool).

    Plain are 9 or 10 digits, and ISO 8601 like `2026-01-31T12:00:00Z`, with a blank for the T, or
    without the Z.
    """
    seconds, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    for sizes, read in (((9, 10), _epoch), ((19, 20), _iso)):
        rows = np.flatnonzero(np.isin(texts.sizes, sizes))
        if len(rows):
            found, plain = read(Texts(texts.data, texts.starts[rows], texts.sizes[rows]))
            seconds[rows[plain]] = found[plain]
            good[rows[plain]] = True
    return seconds, good


def eight_digits(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The numbers that words of eight ASCII digits (little-endian) spell, and which are such."""
    values = words ^ _ZERO
    good = ((values + _SIXES) | values) & _HIGH == 0
    values = values * np.uint64(10) + (values >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    values = values * np.uint64(100) + (values >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return values * np.uint64(10_000) + (values >> np.uint64(32)) & np.uint64(0xFFFFFFFF), good


def _epoch(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    data, starts, more = texts.data, texts.starts, texts.sizes - 8
    windows = np.ndarray((len(data) - 7,), "V8", data, strides=(1,))
    last, good = eight_digits(windows[starts + more].view("<u8"))
    first, second = data[starts].astype(np.int64) - 48, data[starts + 1].astype(np.int64) - 48
    good &= (first >= 0) & (first <= 9) & (second >= 0) & (second <= 9)
    seconds = np.where(more == 2, first * 10 + second, first) * 10**8 + last.astype(np.int64)
    return seconds, good & (seconds <= TIME_MAX_S)


def _iso(texts: Texts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    windows = np.ndarray((len(texts.data) - 19,), "V20", texts.data, strides=(1,))
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
