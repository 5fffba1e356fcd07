"""Assess a feed's version: read it, compare it with its list, and judge it. Nothing is stored.

`feeds check` prints an assessment, `apply.py` acts on one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import Columns
from stream.core.model.errors import ListUnknown
from stream.feeds.diff import FeedDifference, difference, owned_by
from stream.feeds.feed import ID_CHARS, Feed, FeedState, ReadAs, VersionRecord
from stream.feeds.gate import GateDecision, Last, VersionFacts, decide
from stream.feeds.read import read_version
from stream.feeds.row_checks import Surroundings, VersionRead
from stream.feeds.transports.transport import Fetched
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.heads import By, ListHead, unknown
from stream.lists.store.list_content import CHANGES_MAX, entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Move, rehashed


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A version: its file, and when it came. `sent` handed it in, None: it was fetched.

    `read_as` is how it is read, None: as the feed's file says. `since` is what was remembered of
    the source when it was asked, None: it was not asked for this.
    """

    fetched: Fetched
    at_s: int
    sent: By | None = None
    read_as: ReadAs | None = None
    since: Mapping[str, str] | None = None

    @property
    def id(self) -> str:
        """The name of the version."""
        return self.fetched.sha256[:ID_CHARS]

    @property
    def sent_by(self) -> str:
        """The person or client who handed it in; "": it was fetched."""
        return self.sent.actor if self.sent is not None else ""

    @classmethod
    def again(cls, record: VersionRecord, path: Path) -> "Arrival":
        """Return a version whose file is kept, as it came."""
        fetched = Fetched(
            path,
            record.size,
            record.sha256,
            record.remember,
            record.whole,
            record.as_of_s,
            origin=record.origin,
            published_ms=record.published_ms,
        )
        sent = By(record.sent_by, record.sent_why) if record.sent_by else None
        return cls(fetched=fetched, at_s=record.at_s, sent=sent, read_as=record.read_as)


@dataclass(frozen=True, slots=True)
class Assessed:
    """A version, judged without storing anything."""

    read: VersionRead
    seen: VersionFacts
    decision: GateDecision
    change: FeedDifference | None


async def assess(
    list_store: ListStore | None,
    feed: Feed,
    arrival: Arrival,
    around: Surroundings,
    last: Last | None,
    now_s: int,
    rejects: Path,
    *,
    released: bool = False,
    move: Move | None = None,
) -> Assessed:
    """Read, compare and judge a version; write its rejected rows into the file `rejects`.

    Without a list store it is compared with nothing. `move` takes the list to another key: what is
    a fingerprint alone can then not be compared, and counts as new. `released`: a person let it in.
    """
    feed = feed if arrival.read_as is None else arrival.read_as.over(feed)
    fetched, circle = arrival.fetched, feed.circle
    allowed: Sequence[AllowEntry] = ()
    if list_store is not None:
        _, allowed = await list_store.allow_all()
        circle = (await quick_head(list_store, feed.list_name)).circle
    key = move.key if move is not None else around.key_of(circle)
    read = await asyncio.to_thread(
        read_version,
        feed,
        fetched.path,
        rejects,
        key,
        around.bounds(feed, allowed),
        now_s,
        released=released,
    )
    change = None
    if read.bare:
        change = _sizes(last, read)
    elif list_store is not None and not read.unreadable:
        if move is None:
            held = await _held(list_store, feed, read.columns, fetched.whole, key)
        else:
            # The list is hashed with its old key still, the version with the new one.
            held = await _held(list_store, feed, read.columns, True, move.key_before)
            held = await asyncio.to_thread(rehashed, held, key)
        change = await asyncio.to_thread(
            difference,
            held,
            read.columns,
            own=feed.name,
            whole=fetched.whole,
            now_s=now_s,
            renew_s=feed.renew_s,
            states=feed.format == "snapshot",
        )
    seen = _facts(arrival, around.agreement_over(feed.list_name, now_s), read, change)
    return Assessed(read, seen, decide(seen, last, feed.gate), change)


def _facts(
    arrival: Arrival, agreement_over: str, read: VersionRead, change: FeedDifference | None
) -> VersionFacts:
    return VersionFacts(
        sha256=arrival.fetched.sha256,
        whole=arrival.fetched.whole,
        unreadable=read.unreadable,
        too_coarse=read.too_coarse,
        agreement_over=agreement_over,
        sent_by=arrival.sent_by,
        as_of_s=arrival.fetched.as_of_s,
        good=read.good,
        bad=read.bad,
        expired=read.expired,
        gained=None if change is None else change.gained,
        lost=None if change is None else change.live_lost,
        held=0 if change is None or not arrival.fetched.whole else change.live,
        rows=dict(read.found),
        looks=dict(read.looks),
    )


def _sizes(last: Last | None, read: VersionRead) -> FeedDifference:
    """Compare a bare filter with the last version by size: nothing else of it is known."""
    before = last.numbers if last is not None else 0
    gained, lost = max(read.good - before, 0), max(before - read.good, 0)
    none = empty_columns()
    return FeedDifference(none, none, 0, read.good, gained, lost, live=before, live_lost=lost)


async def _held(
    list_store: ListStore, feed: Feed, new: Columns, whole: bool, key: bytes
) -> Columns:
    """Return the feed's own reports on the list: all, or for a small increment of its numbers."""
    # An increment of a few numbers does not fetch a base of millions from Redis.
    if whole or len(new) > CHANGES_MAX:
        _, columns = await entries_of(list_store, feed.list_name, key)
        return await asyncio.to_thread(owned_by, columns, feed.owns)
    fingerprints: list[int] = np.unique(new.fingerprint).tolist()
    reports = await list_store.reports(feed.list_name, fingerprints)
    entries = [entry for found in reports.values() for entry in found if feed.owns(entry.source)]
    return columns_from(entries)


async def quick_head(list_store: ListStore, name: str) -> ListHead:
    """Return a list's head without the changes since its base, which may be many.

    Raises ListUnknown.
    """
    head = (await list_store.heads()).lists.get(name)
    if head is None:
        raise ListUnknown(unknown(name))
    return head


async def is_handed_in_again(
    list_store: ListStore, feed: Feed, accepted: VersionRecord | None, arrival: Arrival
) -> bool:
    """Return whether the last accepted file is handed in again, and the list changed after it.

    Changes of a few numbers, and removals, were dropped for the file that is handed in now. To say
    that it is live already would be wrong. Where two persons are needed, nothing changes the list
    apart from its versions.
    """
    if accepted is None or arrival.sent is None or feed.gate.second_person:
        return False
    if accepted.sha256 != arrival.fetched.sha256 or not accepted.whole:
        return False
    head = (await list_store.heads()).lists.get(feed.list_name)
    return head is not None and head.generation != accepted.generation


def last_of(state: FeedState, list_name: str, now_s: int, *, renewal: bool = False) -> Last | None:
    """Return the last accepted version as the gate compares it; `renewal`: the same bytes may come.

    A version that was accepted into another list is nothing to compare with. Its age is unknown
    where a clock that was ahead dated it: every other version would be older until then.
    """
    accepted = state.accepted
    if accepted is None or not accepted.is_of_list(list_name):
        return None
    as_of_s = accepted.as_of_s
    if as_of_s is not None and as_of_s > now_s:
        as_of_s = None
    return Last("" if renewal else accepted.sha256, accepted.numbers, as_of_s)
