"""Matches of a batch of numbers, in columns: one row for each number and list."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.model.confidence import WeighedReports
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import Match


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Every (number, list) where the list holds the number or may hold it.

    `rows` int64 is the number's place in the batch; `lists` int64 is the list's index in its
    `Blocklists`. They are sorted by row, then list, without duplicates. `confirmed` is bool.
    `category`, `confidence` uint8 and `expires_at_s` int64 (seconds since the epoch, `NEVER` = 0)
    combine the number's reports (`core.model.confidence`); they are 0 in an unconfirmed match.
    `prefix` uint8: digits of the prefix whose reports these are, 0 for the number's own reports.
    `outside` uint8 (`core.policy.list_scope.Outside`): why the list may not name the number, 0 if
    it may.
    """

    rows: NDArray[np.int64]
    lists: NDArray[np.int64]
    confirmed: NDArray[np.bool_]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    expires_at_s: NDArray[np.int64]
    prefix: NDArray[np.uint8]
    outside: NDArray[np.uint8]

    @classmethod
    def blank(cls, rows: NDArray[np.int64], lists: NDArray[np.int64]) -> Self:
        """Return unconfirmed matches whose other columns a caller may still fill."""
        hits = len(rows)
        # Rows of one array: one allocation for four columns.
        small, large = np.zeros((4, hits), np.uint8), np.zeros(hits, np.int64)
        sure = np.zeros(hits, np.bool_)
        return cls(rows, lists, sure, small[0], small[1], large, small[2], small[3])

    @classmethod
    def confirmed_of(
        cls, rows: NDArray[np.int64], lists: NDArray[np.int64], found: WeighedReports
    ) -> Self:
        """Return confirmed matches of those numbers that match."""
        kept = np.flatnonzero(found.matches)
        none = np.zeros((2, len(kept)), np.uint8)
        return cls(
            rows[kept],
            lists[kept],
            found.matches[kept],
            found.category[kept],
            found.confidence[kept],
            found.expires_at_s[kept],
            *none,
        )

    @classmethod
    def together(cls, parts: Iterable["Matches"]) -> "Matches":
        """Merge `parts`, which share no pair and are in order, into one in order."""
        held = [part for part in parts if len(part)]
        if not held:
            return NO_MATCHES
        if len(held) == 1:
            return held[0]
        columns = zip(*(part.columns for part in held), strict=True)
        whole = cls(*map(np.concatenate, columns))
        return whole.at(np.lexsort((whole.lists, whole.rows)))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The columns, in the order of their fields."""
        return (
            self.rows,
            self.lists,
            self.confirmed,
            self.category,
            self.confidence,
            self.expires_at_s,
            self.prefix,
            self.outside,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def by_row(self) -> dict[int, list[Match]]:
        """Return the matches of each row that has any: rows ascending, in list order."""
        found: dict[int, list[Match]] = {}
        for row, index, confirmed, *entry, outside in zip(
            *(column.tolist() for column in self.columns), strict=True
        ):
            match = Match(index, True, *entry) if confirmed else Match(index, False)
            found.setdefault(row, []).append(match._replace(outside=Outside(outside)))
        return found

    def without(self, lists: Collection[int]) -> Self:
        """Return the matches without those of `lists` (by index)."""
        return self.at(np.flatnonzero(~np.isin(self.lists, list(lists))))

    def first(self, count: int) -> Self:
        """Return the first `count` matches, sharing memory with these."""
        return type(self)(*(column[:count] for column in self.columns))

    def at(self, places: NDArray[np.int64]) -> Self:
        """Return the matches at `places`, in that order."""
        return type(self)(*(column[places] for column in self.columns))


NO_MATCHES = Matches.blank(np.zeros(0, np.int64), np.zeros(0, np.int64))
