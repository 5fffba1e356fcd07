"""A feed's new version on its way into the register: read, compared, judged, stored, told.

Everything that is remembered is written after what it speaks of was done, and what is done twice
changes nothing the second time: so whoever is killed at any step, the next run goes on. A feed
replaces exactly the reports whose source is its own; what others report stays.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from stream.core.allowlist import Allowlist
from stream.core.emergency import EmergencyNumbers
from stream.core.entry import Columns, Entry
from stream.core.faults import ConfigInvalid
from stream.lists.build import columns_of
from stream.lists.feed import ID_CHARS, Feed, FeedState, VersionRecord
from stream.lists.feed_bare import store_bare
from stream.lists.feed_book import FeedBook
from stream.lists.feed_diff import Clock, Difference, difference, owned_by
from stream.lists.feed_reading import VersionRead, read_version
from stream.lists.feed_shelf import Versions
from stream.lists.feed_storing import store
from stream.lists.fetch import Fetched
from stream.lists.files import has_rows
from stream.lists.gate import Judgement, Last, Seen, Verdict, judge
from stream.lists.ingest import CHANGES_MAX, entries_of
from stream.lists.look import Bounds
from stream.lists.merge import empty_columns
from stream.lists.store import Register
from stream.lists.words import By, ListState


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A fetched version: its file, and when it came."""

    fetched: Fetched
    at_s: int

    @property
    def id(self) -> str:
        """What the version is called."""
        return self.fetched.sha256[:ID_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a feed is judged by besides its own file: all circles' keys, emergency numbers."""

    keys: Mapping[str, bytes]
    emergency: Mapping[str, frozenset[str]]

    def key_of(self, circle: str) -> bytes:
        """A circle's key. Raises ConfigInvalid."""
        if circle not in self.keys:
            raise ConfigInvalid((f"no key for circle {circle}: it needs [circles.{circle}]",))
        return self.keys[circle]

    def bounds(self, feed: Feed, allowlist: Allowlist) -> Bounds:
        """What the feed may not bring."""
        return Bounds(
            codes=feed.codes,
            own=feed.own,
            speaks_for=feed.speaks_for,
            emergency=EmergencyNumbers(self.emergency),
            allowlist=allowlist,
        )


@dataclass(frozen=True, slots=True)
class Assessed:
    """A version as far as it can be judged without storing anything."""

    read: VersionRead
    seen: Seen
    judgement: Judgement
    change: Difference | None


async def take_in(
    register: Register,
    book: FeedBook,
    versions: Versions,
    feed: Feed,
    arrival: Arrival,
    around: Surroundings,
    now_s: int,
) -> VersionRecord:
    """Let a version in, or not; what became of it. Whoever calls holds `versions.alone()`.

    Raises Faults of the register; then the version is as if it had not come, and comes again.
    """
    state = await book.state(feed.name)
    known = await _known(book, versions, feed, state, arrival, now_s)
    if known is not None:
        return known
    path = versions.take(arrival.fetched.path, arrival.id)
    arrival = replace(arrival, fetched=replace(arrival.fetched, path=path))
    by = By(f"feed:{feed.name}", f"version {arrival.id}")
    await register.create(feed.list_name, feed.circle, by)
    last = _last(state, renewal=_is_renewal(state, arrival))
    assessed = await assess(register, book, feed, arrival, around, last, now_s, versions)
    record = _record(feed, arrival, assessed, now_s)
    if assessed.judgement.verdict is Verdict.ACCEPTED:
        return await _let_in(register, book, versions, feed, record, assessed, around, by, now_s)
    versions.report(record)
    if assessed.judgement.verdict is Verdict.HELD:
        await book.held(feed.name, feed.list_name, record, by)
    else:
        await book.refused(feed.name, feed.list_name, record, by)
    versions.sweep(_needed(await book.state(feed.name)), feed.keep_s, now_s)
    return record


async def release(
    register: Register,
    book: FeedBook,
    versions: Versions,
    feed: Feed,
    held: VersionRecord,
    around: Surroundings,
    by: By,
    now_s: int,
) -> VersionRecord:
    """Let a held version in on a person's word. Whoever calls holds `versions.alone()`.

    Rows that the gate stopped go live with it, but for emergency numbers, our own, and prefixes
    that are too short.
    """
    path = versions.file(held.id)
    assert path is not None, "the caller looked"
    fetched = Fetched(
        path, held.size, held.sha256, held.remember, held.whole, held.as_of_s, origin=held.origin
    )
    arrival = Arrival(fetched=fetched, at_s=held.at_s)
    assessed = await assess(
        register, book, feed, arrival, around, None, now_s, versions, released=True
    )
    record = _record(feed, arrival, assessed, now_s)
    record = msgspec.structs.replace(
        record, verdict=Verdict.ACCEPTED.value, by=by.actor, why=by.reason
    )
    return await _let_in(register, book, versions, feed, record, assessed, around, by, now_s)


async def refuse(
    book: FeedBook, versions: Versions, feed: Feed, held: VersionRecord, by: By, now_s: int
) -> VersionRecord:
    """A held version never goes live, on a person's word; the same bytes are not judged again."""
    record = msgspec.structs.replace(
        held, verdict=Verdict.REFUSED.value, by=by.actor, why=by.reason, decided_at_s=now_s
    )
    versions.report(record)
    await book.refused(feed.name, feed.list_name, record, by)
    return record


async def assess(
    register: Register | None,
    book: FeedBook | None,
    feed: Feed,
    arrival: Arrival,
    around: Surroundings,
    last: Last | None,
    now_s: int,
    versions: Versions,
    *,
    released: bool = False,
) -> Assessed:
    """Read, compare and judge a version; nothing is stored but its rejected rows.

    Without a register it is compared with nothing.
    """
    fetched = arrival.fetched
    allowlist, state = Allowlist.of(()), None
    if register is not None:
        _, allowed = await register.allow_all()
        allowlist, state = Allowlist.of(allowed), await register.state(feed.list_name)
    key = around.key_of(state.head.circle if state is not None else feed.circle)
    read = await asyncio.to_thread(
        read_version,
        feed,
        fetched.path,
        versions.rejects(arrival.id),
        key,
        around.bounds(feed, allowlist),
        now_s,
        released=released,
    )
    change = None
    if not has_rows(feed.format):
        change = _sizes(last, read)
    elif register is not None and book is not None and state is not None and not read.unreadable:
        held = await _held(register, book, feed, state, read.columns, fetched.whole, key)
        clock = Clock(now_s, feed.renew_s)
        change = await asyncio.to_thread(
            difference, held, read.columns, whole=fetched.whole, clock=clock
        )
    seen = Seen(
        sha256=fetched.sha256,
        whole=fetched.whole,
        unreadable=read.unreadable,
        as_of_s=fetched.as_of_s,
        good=read.good,
        bad=read.bad,
        expired=read.expired,
        gained=None if change is None else change.gained,
        lost=None if change is None else change.lost,
        rows=dict(read.found),
    )
    return Assessed(read, seen, judge(seen, last, feed.gate), change)


def _sizes(last: Last | None, read: VersionRead) -> Difference:
    """What can be said of a bare filter: how many numbers more or less it claims to hold."""
    more = read.good - (last.numbers if last is not None else 0)
    none = empty_columns()
    return Difference(
        none, none, updated=0, numbers=read.good, gained=max(more, 0), lost=max(-more, 0)
    )


async def _known(
    book: FeedBook, versions: Versions, feed: Feed, state: FeedState, arrival: Arrival, now_s: int
) -> VersionRecord | None:
    """What became of these very bytes before; None: they are to be looked at (again)."""
    sha256 = arrival.fetched.sha256
    accepted = state.accepted
    if accepted is not None and accepted.sha256 == sha256:
        if accepted.whole and now_s - accepted.renewed_at_s >= feed.renew_s:
            return None  # its reports without dates are said anew
        _forget(versions, arrival)
        await book.confirmed(feed.name, arrival.at_s, arrival.fetched.remember)
        return msgspec.structs.replace(
            accepted, verdict=Verdict.SAME.value, reason="same", at_s=arrival.at_s
        )
    for record in (state.held, state.refused):
        if record is not None and record.sha256 == sha256 and record.settings == feed.digest:
            _forget(versions, arrival)
            return record
    return None


def _forget(versions: Versions, arrival: Arrival) -> None:
    path = arrival.fetched.path
    if path != versions.file(arrival.id):
        path.unlink(missing_ok=True)


async def _let_in(
    register: Register,
    book: FeedBook,
    versions: Versions,
    feed: Feed,
    record: VersionRecord,
    assessed: Assessed,
    around: Surroundings,
    by: By,
    now_s: int,
) -> VersionRecord:
    assert assessed.change is not None, "it was compared"
    key = around.key_of((await register.state(feed.list_name)).head.circle)
    if has_rows(feed.format):
        stored = await store(
            register, feed, assessed.read.columns, assessed.change, record.whole, key, by, now_s
        )
    else:
        file = versions.file(record.id)
        assert file is not None, "it was just read"
        data = await asyncio.to_thread(file.read_bytes)
        stored = await store_bare(register, feed, data, record.good, key, by, now_s)
    state = await book.state(feed.name)
    before = state.accepted.numbers if state.accepted is not None else 0
    change = assessed.change
    numbers = change.numbers if record.whole else before + change.gained - change.lost
    record = msgspec.structs.replace(
        record,
        numbers=numbers,
        generation=stored.generation,
        rebuilt=stored.rebuilt,
        renewed_at_s=now_s,
    )
    versions.report(record)
    await book.accepted(feed.name, feed.list_name, record, by)
    needed = _needed(await book.state(feed.name))
    await asyncio.to_thread(versions.sweep, needed, feed.keep_s, now_s)
    return record


async def _held(
    register: Register,
    book: FeedBook,
    feed: Feed,
    state: ListState,
    new: Columns,
    whole: bool,
    key: bytes,
) -> Columns:
    """The feed's own reports on the list: all, or for a small increment those of its numbers."""
    if whole or len(new) > CHANGES_MAX:
        _, columns = await entries_of(register, feed.list_name, key)
        return await asyncio.to_thread(owned_by, columns, feed.owns)
    fingerprints: list[int] = np.unique(new.fingerprint).tolist()
    reports = await book.reports(state.head, fingerprints)
    for numbered in state.changes:
        reports[numbered.change.fingerprint] = numbered.change.entries
    wanted = set(fingerprints)
    entries = [
        entry
        for fingerprint, found in reports.items()
        if fingerprint in wanted
        for entry in found
        if feed.owns(entry.source)
    ]
    return columns_from(entries, key)


def columns_from(entries: Sequence[Entry], key: bytes) -> Columns:
    """Entries of known numbers as columns."""
    named = [entry for entry in entries if entry.number is not None]
    if not named:
        return empty_columns()
    sources = {name: place for place, name in enumerate(dict.fromkeys(e.source for e in named))}
    return columns_of(
        np.array([str(entry.number).encode() for entry in named], "S16"),
        key,
        reported_at=np.array([entry.reported_at_s for entry in named], np.uint32),
        expires_at=np.array([entry.expires_at_s for entry in named], np.uint32),
        category=np.array([entry.category for entry in named], np.uint8),
        confidence=np.array([entry.confidence for entry in named], np.uint8),
        source=np.array([sources[entry.source] for entry in named], np.uint16),
        sources=tuple(sources),
    )


def _is_renewal(state: FeedState, arrival: Arrival) -> bool:
    return state.accepted is not None and state.accepted.sha256 == arrival.fetched.sha256


def _last(state: FeedState, *, renewal: bool) -> Last | None:
    if state.accepted is None:
        return None
    accepted = state.accepted
    return Last("" if renewal else accepted.sha256, accepted.numbers, accepted.as_of_s)


def last_of(state: FeedState) -> Last | None:
    """The last accepted version as the gate compares with it."""
    return _last(state, renewal=False)


def _needed(state: FeedState) -> frozenset[str]:
    kept = (state.accepted, state.held)
    return frozenset(record.id for record in kept if record is not None)


def _record(feed: Feed, arrival: Arrival, assessed: Assessed, now_s: int) -> VersionRecord:
    fetched, read, change = arrival.fetched, assessed.read, assessed.change
    judgement = assessed.judgement
    return VersionRecord(
        id=arrival.id,
        sha256=fetched.sha256,
        size=fetched.size,
        at_s=arrival.at_s,
        decided_at_s=now_s,
        whole=fetched.whole,
        verdict=judgement.verdict.value,
        as_of_s=fetched.as_of_s,
        origin=fetched.origin,
        remember=dict(fetched.remember),
        reason=judgement.reason.value if judgement.reason is not None else "",
        findings=tuple(f"{f.reason}: {f.detail}" for f in judgement.findings),
        good=read.good,
        bad=read.bad,
        expired=read.expired,
        passed_over=read.passed_over,
        rejected={wrong.label: count for wrong, count in read.rejected.items()},
        dropped={reason.value: n for reason, n in read.dropped.items() if n},
        adjusted=dict(read.adjusted),
        gained=change.gained if change is not None else 0,
        lost=change.lost if change is not None else 0,
        updated=change.updated if change is not None else 0,
        settings=feed.digest,
    )
