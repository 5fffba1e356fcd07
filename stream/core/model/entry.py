"""A blocklist entry: what one source reports of one number, or prefix, on one list.

Several sources may report the same number; one source counts once: its new report replaces its old
one. What a prefix entry covers is written `+8552390*`: all numbers that begin so.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NEVER = 0
"""`expires_at_s` of an entry that does not expire."""


class Category(IntEnum):
    """Reason for a report of a number. The values are stored: never renumber, only append."""

    OTHER = 0
    CALL_CENTRE = 1
    IMPERSONATION = 2
    INVESTMENT = 3
    ROMANCE = 4
    LOAN = 5
    PARCEL = 6
    JOB = 7
    GAMBLING = 8
    WANGIRI = 9
    ROBOCALL = 10
    SPAM = 11
    LEGITIMATE = 12
    """The source says that the number is *not* a scammer's (MISP sighting type 1, PhoneBlock's
    A_LEGITIMATE). It lowers what the others say, and never makes a match by itself."""

    @property
    def label(self) -> str:
        """The name in decisions, files and metrics, for example `call_centre`."""
        return self.name.lower()


PREFIX_MARK = 1 << 60
"""This bit of a number's code says that it is a prefix entry's."""
DIGITS_END = 10**15
"""E.164 numbers have at most 15 digits: the digits in a code are below this."""


def code_of(text: str) -> int:
    """Return the code of a number ("+66812345678") or a prefix entry ("+8552390*") in a column.

    It is the digits as one number, with `PREFIX_MARK` for a prefix entry. No country code begins
    with 0, so no digit is lost. Raises ValueError for any other text.
    """
    digits, mark = (text[1:-1], PREFIX_MARK) if text.endswith("*") else (text[1:], 0)
    code = int(digits) if text[:1] == "+" and digits.isascii() and digits.isdigit() else 0
    # 14 digits are the longest prefix: one of 15 would be a whole number.
    if not 0 < code < (DIGITS_END // 10 if mark else DIGITS_END) or digits[0] == "0":
        raise ValueError("neither + and digits nor a prefix entry")
    return code | mark


def text_of(code: int) -> str | None:
    """Return the text of a code; None where it is 0: only the fingerprint is known."""
    if code & PREFIX_MARK:
        return f"+{code ^ PREFIX_MARK}*"
    return f"+{code}" if code else None


def runs(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the `counts[i]` rows from `first[i]` on, for each i, one after the other; int64."""
    # `arange` counts through all runs; what is added takes each back to where it begins.
    return np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


@dataclass(frozen=True, slots=True)
class Entry:
    """Report of one source about one number on one list.

    `number` is E.164 ("+66812345678") or a prefix ("+8552390*"), or None where a partner shared
    only its fingerprint. Times are whole seconds since the epoch; `expires_at_s` may be `NEVER`.
    `confidence` is 0 to 100, when it was reported; `core.model.confidence` says what it is now.
    """

    number: str | None
    fingerprint: int
    category: Category
    source: str
    reported_at_s: int
    expires_at_s: int
    confidence: int

    def live(self, now_s: int) -> bool:
        """Return whether the entry still counts at `now_s`."""
        return self.expires_at_s == NEVER or now_s < self.expires_at_s


@dataclass(frozen=True, slots=True)
class Columns:
    """Many entries, in columns of one length, sorted by fingerprint, then source.

    A fingerprint may stand in several rows, a report each; a fingerprint and a source only once.
    `fingerprint` uint64; `number` uint64, see `code_of`, 0 if only the fingerprint is known.
    `reported_at`, `expires_at` uint32 are seconds since the epoch (`NEVER` = 0). `category`,
    `confidence` uint8; `source` uint16, an index into `sources`. Arrays may be read-only maps of
    files.
    """

    fingerprint: NDArray[np.uint64]
    number: NDArray[np.uint64]
    reported_at: NDArray[np.uint32]
    expires_at: NDArray[np.uint32]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    source: NDArray[np.uint16]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.fingerprint)

    @property
    def begins(self) -> NDArray[np.bool_]:
        """Return whether each row is the first of its number; bool, in time linear in the rows."""
        first = np.ones(len(self), np.bool_)
        np.not_equal(self.fingerprint[1:], self.fingerprint[:-1], out=first[1:])
        return first

    @property
    def numbers(self) -> int:
        """Count of distinct numbers; at most as many as rows. Looks at every row."""
        return int(np.count_nonzero(self.begins))

    def prefixes(self) -> "Columns":
        """Return the rows of prefix entries, as columns of their own. Looks at every row."""
        rows = np.flatnonzero(self.number >= np.uint64(PREFIX_MARK))
        return Columns(
            self.fingerprint[rows],
            self.number[rows],
            self.reported_at[rows],
            self.expires_at[rows],
            self.category[rows],
            self.confidence[rows],
            self.source[rows],
            self.sources,
        )

    def span(self, fingerprint: int) -> range:
        """Return the rows of the number with `fingerprint`, empty where it is not held."""
        wanted = np.uint64(fingerprint)
        first, last = (np.searchsorted(self.fingerprint, wanted, s) for s in ("left", "right"))
        return range(int(first), int(last))

    def find(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.int64]:
        """First row of each fingerprint, -1 where it is not held; int64, one a fingerprint."""
        if not len(self.fingerprint):
            return np.full(len(fingerprints), -1, np.int64)
        at = np.searchsorted(self.fingerprint, fingerprints)
        at[at == len(self.fingerprint)] = 0
        return np.where(self.fingerprint[at] == fingerprints, at, -1)

    def reports(self, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return all rows of the numbers whose first rows are `at`, and where each one's begin."""
        counts = np.searchsorted(self.fingerprint, self.fingerprint[at], "right") - at
        return np.cumsum(counts) - counts, runs(at, counts)

    def named(self, fingerprints: NDArray[np.uint64], now_s: int) -> NDArray[np.bool_]:
        """Return which numbers have a row against them that names them, live at `now_s`; bool."""
        found = np.zeros(len(fingerprints), np.bool_)
        at = self.find(fingerprints)
        held = np.flatnonzero(at >= 0)
        if not len(held):
            return found
        first, rows = self.reports(at[held])
        ends = self.expires_at[rows].astype(np.int64)
        said = (self.number[rows] != 0) & (self.category[rows] != Category.LEGITIMATE)
        said &= (ends == NEVER) | (now_s < ends)
        found[held] = np.logical_or.reduceat(said, first)
        return found

    def entry(self, row: int) -> Entry:
        """Return the entry in `row`, as one value."""
        return Entry(
            number=text_of(int(self.number[row])),
            fingerprint=int(self.fingerprint[row]),
            category=Category(int(self.category[row])),
            source=self.sources[int(self.source[row])],
            reported_at_s=int(self.reported_at[row]),
            expires_at_s=int(self.expires_at[row]),
            confidence=int(self.confidence[row]),
        )


FIELDS = ("number", "category", "source", "reported_at", "expires_at", "confidence")
"""The fields of a row, in the order of an export's columns."""
