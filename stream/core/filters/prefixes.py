"""The prefix entries of all lists of one moment, matched with a batch of numbers.

Compared with numbers they are few, and each stands for many. So they are kept apart from the
filters, all in memory. A table by the first six digits rules nearly every number out. The others
are looked up once for each length that prefixes have, from the longest.

In one list, the longest prefix with a live report counts, even if its reports only say that its
numbers are legitimate. In this way a list excludes a part of a range that it blocks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.matches import NO_MATCHES, Matches
from stream.core.filters.overlay import Change
from stream.core.model.confidence import Decay, Reports, standing
from stream.core.model.entry import NEVER, PREFIX_MARK, Category, Columns, Entry, code_of, runs
from stream.core.numbers.codes import texts_of
from stream.core.numbers.e164 import E164_DIGITS_MAX, HEAD_DIGITS, cells_of, heads_of, ordinals_of
from stream.core.numbers.prefix_entries import is_prefix


@dataclass(frozen=True, slots=True)
class ListPrefixes:
    """One list's prefix entries: those of its snapshot, and those that changed since.

    `columns` are the snapshot's; `base` are its rows of prefixes, None: there are none. `changed`
    has all reports of each changed prefix, by its fingerprint; (): it was removed. `spared` are the
    numbers since reported as legitimate, by fingerprint. `spared_before` are those of the snapshot,
    uint64, sorted; None: not looked for, since the list has no prefixes. Nothing else can override
    a prefix without being a match.
    """

    columns: Columns | None = None
    base: Columns | None = None
    changed: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    spared: frozenset[int] = frozenset()
    spared_before: NDArray[np.uint64] | None = None

    def with_changes(self, changes: Sequence[Change]) -> Self:
        """Return these after `changes` to the list; the same value if no change concerns them."""
        mine = {change.fingerprint: change.entries for change in changes if self._is_mine(change)}
        spared = {change.fingerprint for change in changes if _spares(change)} - self.spared
        if not mine and not spared:
            return self
        return replace(self, changed={**self.changed, **mine}, spared=self.spared | spared)

    def looked_through(self) -> Self:
        """Return these with the snapshot's spared numbers, if they matter."""
        if self.spared_before is not None or (self.base is None and not self.changed):
            return self
        spared = np.zeros(0, np.uint64)
        if self.columns is not None:
            rows = np.flatnonzero(self.columns.category == Category.LEGITIMATE)
            spared = self.columns.fingerprint[rows]
        return replace(self, spared_before=spared)

    @property
    def spares_any(self) -> bool:
        """Return whether a number may override the list's prefixes without being a match."""
        return bool(self.spared) or (self.spared_before is not None and len(self.spared_before) > 0)

    def may_spare(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which numbers were reported as legitimate, even if the report expired; bool."""
        found = np.zeros(len(fingerprints), np.bool_)
        if self.spared_before is not None:
            found |= is_in(fingerprints, self.spared_before)
        if self.spared:
            since = [fingerprint in self.spared for fingerprint in fingerprints.tolist()]
            found |= np.array(since, np.bool_)
        return found

    def _is_mine(self, change: Change) -> bool:
        if change.entries:
            return is_prefix(change.entries[0].number or "")
        # A removed number is no prefix, or changes nothing here.
        return change.fingerprint in self.changed or (
            self.base is not None and bool(len(self.base.span(change.fingerprint)))
        )


def _spares(change: Change) -> bool:
    return any(report.category is Category.LEGITIMATE for report in change.entries)


def is_in(values: NDArray[Any], held: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which `values` are in the sorted `held`; bool. `np.isin` takes ten times as long."""
    if not len(held):
        return np.zeros(len(values), np.bool_)
    at = np.searchsorted(held, values)
    at[at == len(held)] = 0  # above all: compared with the first, from which it differs
    found: NDArray[np.bool_] = held[at] == values
    return found


class _Rows(NamedTuple):
    """Reports in columns: `number` uint64 as in `Columns`, the others as in `Reports`."""

    number: NDArray[Any]
    lists: NDArray[Any]
    category: NDArray[Any]
    confidence: NDArray[Any]
    reported_at_s: NDArray[Any]
    expires_at_s: NDArray[Any]


class _Level(NamedTuple):
    """The prefixes of one length: `ordinals` uint64, sorted, each once.

    Prefix i has the members `first[i]` to `first[i + 1]` (int64).
    """

    digits: int
    ordinals: NDArray[np.uint64]
    first: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PrefixTable:
    """All lists' prefixes. A member is one prefix of one list; its reports are adjacent.

    `heads` is bool[10^6], true if a number with these first six digits may have a listed prefix.
    `levels` are sorted from the longest prefixes to the shortest.
    """

    by_list: tuple[ListPrefixes, ...]
    heads: NDArray[np.bool_]
    levels: tuple[_Level, ...]
    reports: Reports

    @classmethod
    def of(cls, by_list: Iterable[ListPrefixes]) -> Self:
        """Return the table of the lists' prefixes, in the order of the lists."""
        held = tuple(prefixes.looked_through() for prefixes in by_list)
        rows = _rows(held)
        texts = texts_of(rows.number & ~np.uint64(PREFIX_MARK))
        digits, ordinals = np.char.str_len(texts) - 1, ordinals_of(texts)
        heads = np.zeros(10**HEAD_DIGITS if len(texts) else 0, np.bool_)
        heads[heads_of(texts[digits >= HEAD_DIGITS])] = True
        for text in texts[digits < HEAD_DIGITS].tolist():
            heads[cells_of(text[1:].decode())] = True
        order = np.lexsort((rows.lists, ordinals, -digits))
        rows = _Rows(*(column[order] for column in rows))
        digits, ordinals = digits[order], ordinals[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (
            (digits[1:] != digits[:-1])
            | (ordinals[1:] != ordinals[:-1])
            | (rows.lists[1:] != rows.lists[:-1])
        )
        first = np.flatnonzero(begins)
        listed = np.ones(len(order), np.bool_)
        return cls(
            held,
            heads,
            tuple(_levels(digits[first], ordinals[first])),
            Reports(first, rows.lists, listed, *rows[2:]),
        )

    def with_changes(self, index: int, changes: Sequence[Change]) -> Self:
        """Return the table after `changes` to list `index`; itself if no change concerns it."""
        before = self.by_list[index]
        held = before.with_changes(changes)
        if held is before:
            return self
        by_list = (*self.by_list[:index], held, *self.by_list[index + 1 :])
        # The table is rebuilt as a whole, 2 ms for 10,000 prefixes: they change rarely.
        if held.changed == before.changed:
            return replace(self, by_list=by_list)
        return self.of(by_list)

    def __len__(self) -> int:
        return len(self.reports.first)

    def match(self, e164: NDArray[np.bytes_], decay: Decay, now_s: int) -> Matches:
        """Match each number (S16, all E.164) with the longest live prefix of each list.

        A match is `confirmed` unless the prefix's reports only say that its numbers are legitimate.
        Reports that expired before `now_s`, in seconds since the epoch, do not count. `decay` is as
        in `core.model.confidence`.
        """
        if not len(self):
            return NO_MATCHES
        rows = np.flatnonzero(self.heads[heads_of(e164)])
        if not len(rows):
            return NO_MATCHES
        rows, members, digits = self._hits(rows, ordinals_of(e164[rows]))
        if not len(rows):
            return NO_MATCHES
        reports = self._reports(members)
        live = (reports.expires_at_s == NEVER) | (now_s < reports.expires_at_s)
        lists = reports.lists[reports.first]
        pairs = rows * len(self.by_list) + lists
        # A stable sort: for each row and list the longest prefix comes first, as in `levels`.
        order = np.argsort(pairs, kind="stable")
        order = order[np.logical_or.reduceat(live, reports.first)[order]]
        chosen = order[np.diff(pairs[order], prepend=-1) != 0]
        said = standing(reports, decay, now_s)
        return Matches(
            rows[chosen],
            lists[chosen],
            said.matches[chosen],
            said.category[chosen],
            said.confidence[chosen],
            said.expires_at_s[chosen],
            digits[chosen],
            np.zeros(len(chosen), np.uint8),  # a prefix is digits, so the gate has checked it
        )

    def _hits(
        self, rows: NDArray[np.int64], ordinals: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return each row and member whose prefix its number has, and the prefix's digits."""
        found = []
        for level in self.levels:
            wanted = ordinals & ~_after(level.digits)
            at = np.searchsorted(level.ordinals, wanted)
            at[at == len(level.ordinals)] = 0
            hit = np.flatnonzero(level.ordinals[at] == wanted)
            first = level.first[at[hit]]
            counts = level.first[at[hit] + 1] - first
            members = runs(first, counts)
            digits = np.full(len(members), level.digits, np.uint8)
            found.append((np.repeat(rows[hit], counts), members, digits))
        hit_rows, members, digits = map(np.concatenate, zip(*found, strict=True))
        return hit_rows, members, digits

    def _reports(self, members: NDArray[np.int64]) -> Reports:
        """Return the reports of these members, in their order."""
        whole = self.reports
        first = whole.first[members]
        counts = np.append(whole.first[1:], len(whole.lists))[members] - first
        begins = np.cumsum(counts) - counts
        at = runs(first, counts)
        columns: tuple[NDArray[Any], ...] = (
            *(whole.lists, whole.speaks, whole.category, whole.confidence),
            *(whole.reported_at_s, whole.expires_at_s),
        )
        return Reports(begins, *(column[at] for column in columns))


def _rows(by_list: Sequence[ListPrefixes]) -> _Rows:
    """Return all reports of the lists' prefixes."""
    parts = [_NO_ROWS]
    for index, held in enumerate(by_list):
        if held.base is not None:
            changed = np.array(sorted(held.changed), np.uint64)
            kept = np.flatnonzero(~is_in(held.base.fingerprint, changed))
            parts.append(
                _Rows(
                    held.base.number[kept],
                    np.full(len(kept), index),
                    held.base.category[kept],
                    held.base.confidence[kept],
                    held.base.reported_at[kept].astype(np.int64),
                    held.base.expires_at[kept].astype(np.int64),
                )
            )
        entries = [entry for reports in held.changed.values() for entry in reports]
        parts.append(
            _Rows(
                np.array([code_of(entry.number or "") for entry in entries], np.uint64),
                np.full(len(entries), index),
                np.array([entry.category for entry in entries], np.uint8),
                np.array([entry.confidence for entry in entries], np.uint8),
                np.array([entry.reported_at_s for entry in entries], np.int64),
                np.array([entry.expires_at_s for entry in entries], np.int64),
            )
        )
    return _Rows(*map(np.concatenate, zip(*parts, strict=True)))


def _levels(digits: NDArray[np.int64], ordinals: NDArray[np.uint64]) -> Iterator[_Level]:
    """Yield the levels of members with these `digits`, descending, and these `ordinals`."""
    for length in sorted(set(digits.tolist()), reverse=True):
        mine = np.flatnonzero(digits == length)
        known, first = np.unique(ordinals[mine], return_index=True)
        yield _Level(length, known, np.append(first, len(mine)) + mine[0])


def _after(digits: int) -> np.uint64:
    """Return the bits of an ordinal that hold the digits after its first `digits`."""
    return np.uint64((1 << 4 * (E164_DIGITS_MAX - digits)) - 1)


_NO_ROWS = _Rows(
    np.zeros(0, np.uint64),
    np.zeros(0, np.int64),
    np.zeros(0, np.uint8),
    np.zeros(0, np.uint8),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
)
NO_PREFIXES = PrefixTable.of(())
"""An empty table: there are no lists."""
