"""Compare a feed's new version with the reports that its list has of it. Pure.

A report is known by its number and its source. A report that says again what the list has is no
change. Else a partner's file of a million numbers without dates would be written again at each
fetch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.snapshot import COLUMNS
from stream.core.model.entry import Columns
from stream.lists.snapshot.merge import VersionDiff, empty_columns

REMOVED = 255
"""In `category`: the row is a tombstone, which takes its source's report off. Never stored."""


@dataclass(frozen=True, slots=True)
class FeedDifference:
    """The rows of a new version to write, and the rows on the list to retract.

    `written` are new or changed reports; `updated` counts the changed ones. `numbers` counts what
    the feed lists afterwards, of all that it was compared with. `gained` and `lost` count numbers
    that come and go. `live` counts the numbers with a report that is not over, and `live_lost`
    those of them that go. `fresh` (uint64) are the fingerprints of those gained.
    """

    written: Columns
    retracted: Columns
    updated: int
    numbers: int
    gained: int
    lost: int
    live: int
    live_lost: int
    fresh: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def changes(self) -> int:
        """The number of edits of the list store."""
        return len(self.written) + len(self.retracted)


def rows_of(columns: Columns, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Columns:
    """Return some rows of columns, in their order."""
    arrays = {c.name: getattr(columns, c.name)[rows] for c in COLUMNS}
    return Columns(**arrays, sources=columns.sources)


def owned_by(columns: Columns, owns: Callable[[str], bool]) -> Columns:
    """Return the reports whose source `owns` accepts."""
    owned = np.array([owns(name) for name in columns.sources] or [False])
    return rows_of(columns, owned[columns.source])


def difference(
    held: Columns,
    new: Columns,
    *,
    own: str,
    whole: bool,
    now_s: int,
    renew_s: int,
    states: bool = False,
) -> FeedDifference:
    """Return the changes that `new` makes to `held`, which are reports of feed `own` alone.

    `whole`: a report that is not in `new` is retracted. Else only tombstones retract, and `held`
    may be reduced to the numbers that `new` names. A tombstone without a source has the feed's own
    name. It retracts all reports of its number, except those that `new` has. With `states` any row
    does so, since `new` then has all that holds of its number. `renew_s` is as in `Feed`.
    """
    # Columns are ordered by fingerprint, so all below is sorting and marking in NumPy: no report
    # becomes a Python object.
    ours, theirs = _matched(held, new)
    gone = new.category[theirs] == REMOVED
    other = ~gone & _differs(held, new, ours, theirs, now_s, renew_s)
    is_new = np.ones(len(new), np.bool_)
    is_new[theirs] = False
    is_new &= new.category != REMOVED
    updated = int(np.count_nonzero(other))
    is_new[theirs[other]] = True
    taken = np.full(len(held), whole, np.bool_)
    taken[ours] = gone
    if states or own in new.sources:
        ends = np.ones(len(new), np.bool_)
        if not states:
            ends = (new.category == REMOVED) & (new.source == new.sources.index(own))
        all_of_it = np.isin(held.fingerprint, new.fingerprint[ends])
        all_of_it[ours[~gone]] = False  # the version has that very report
        taken |= all_of_it
    stays = _distinct(new.fingerprint[new.category != REMOVED])
    if not whole:
        stays = np.union1d(stays, held.fingerprint[~taken])
    before = _distinct(held.fingerprint)
    both = _shared(before, stays)
    live = _distinct(held.fingerprint[(held.expires_at == 0) | (held.expires_at > now_s)])
    written = rows_of(new, is_new)
    return FeedDifference(
        written,
        rows_of(held, taken),
        updated,
        len(stays),
        gained=len(stays) - both,
        lost=len(before) - both,
        live=len(live),
        live_lost=len(live) - _shared(live, stays),
        fresh=np.setdiff1d(_distinct(written.fingerprint), before, assume_unique=True),
    )


def _distinct(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each of some ordered fingerprints once. A hash table would take ten times as long."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _shared(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> int:
    """Count the fingerprints in both; each is ordered, and has none twice."""
    if not len(others):
        return 0
    at = np.minimum(np.searchsorted(others, some), len(others) - 1)
    return int(np.count_nonzero(others[at] == some))


def _matched(held: Columns, new: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of both that are the same source's report of the same number."""
    places = {name: place for place, name in enumerate(held.sources)}
    moved = [places.setdefault(name, len(places)) for name in new.sources]
    # One numbering of sources for both: a place in one table means another name in the other.
    source = np.concatenate(
        [held.source.astype(np.int64), np.array(moved or [0], np.int64)[new.source]]
    )
    fingerprint = np.concatenate([held.fingerprint, new.fingerprint])
    order = np.lexsort((source, fingerprint))  # stable: a held row comes before its new one
    first, second = order[:-1], order[1:]
    same = (fingerprint[first] == fingerprint[second]) & (source[first] == source[second])
    return first[same], second[same] - len(held)


def _differs(
    held: Columns,
    new: Columns,
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    now_s: int,
    renew_s: int,
) -> NDArray[np.bool_]:
    """Mark the matched rows that differ. A time that moved on with the clock does not count."""
    differs: NDArray[np.bool_] = held.category[ours] != new.category[theirs]
    differs |= held.confidence[ours] != new.confidence[theirs]
    was, now = held.reported_at[ours].astype(np.int64), new.reported_at[theirs].astype(np.int64)
    moved_on = (now == now_s) & (now - was < renew_s) & (was <= now)
    differs |= (was != now) & ~moved_on
    ended, ends = held.expires_at[ours].astype(np.int64), new.expires_at[theirs].astype(np.int64)
    both = (ended != 0) & (ends != 0)
    # Nobody looks again for up to `renew_s`: the report must not be over by then.
    lasts = ended - now_s > renew_s * 3 // 2
    near = both & lasts & (ends >= ended) & (ends - ended < renew_s)
    differs |= (ended != ends) & ~near
    return differs


def without(columns: Columns, gone: Columns) -> Columns:
    """Return `columns` without the reports whose number and source are in `gone`."""
    kept = np.ones(len(columns), np.bool_)
    kept[_matched(columns, gone)[0]] = False
    return rows_of(columns, kept)


def as_versions(change: FeedDifference | None) -> VersionDiff:
    """Return a change in the form in which versions of a list are compared, for people."""
    old = new = empty_columns()
    if change is not None:
        old, new = change.retracted, change.written
    none = np.empty(0, np.int64)
    return VersionDiff(old, new, np.arange(len(new)), np.arange(len(old)), (none, none))
