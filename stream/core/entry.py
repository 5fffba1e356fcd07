"""A blocklist entry: one number, or its fingerprint, on one list."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NEVER = 0
"""`expires_at_s` of an entry that does not expire."""


class Category(IntEnum):
    """What the number was reported for. The values are stored: never renumber, only append."""

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

    @property
    def label(self) -> str:
        """The name in decisions, files and metrics, e.g. `call_centre`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Entry:
    """One number on one list.

    `number` is E.164 ("+66812345678"), or None where a partner shared only its fingerprint.
    Times are whole seconds since the epoch; `expires_at_s` may be `NEVER`. `confidence` is 0
    to 100.
    """

    number: str | None
    fingerprint: int
    category: Category
    source: str
    reported_at_s: int
    expires_at_s: int
    confidence: int

    def live(self, now_s: int) -> bool:
        """Whether the entry still counts at `now_s`."""
        return self.expires_at_s == NEVER or now_s < self.expires_at_s


@dataclass(frozen=True, slots=True)
class Columns:
    """Many entries, in columns of one length, sorted by fingerprint, no fingerprint twice.

    `fingerprint` uint64; `number` uint64, the E.164 digits, 0 where only the fingerprint is known;
    `reported_at`, `expires_at` uint32, seconds since the epoch (`NEVER` = 0); `category`,
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

    def find(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row of each fingerprint, -1 where it is not held; int64, shape of `fingerprints`."""
        if not len(self.fingerprint):
            return np.full(len(fingerprints), -1, np.int64)
        at = np.searchsorted(self.fingerprint, fingerprints)
        at[at == len(self.fingerprint)] = 0
        return np.where(self.fingerprint[at] == fingerprints, at, -1)

    def entry(self, row: int) -> Entry:
        """The entry in `row`, as one value."""
        digits = int(self.number[row])
        return Entry(
            number=f"+{digits}" if digits else None,
            fingerprint=int(self.fingerprint[row]),
            category=Category(int(self.category[row])),
            source=self.sources[int(self.source[row])],
            reported_at_s=int(self.reported_at[row]),
            expires_at_s=int(self.expires_at[row]),
            confidence=int(self.confidence[row]),
        )
