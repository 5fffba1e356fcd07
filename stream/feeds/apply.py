"""A feed's new version on its way into the list store: read, compared, judged, stored, recorded.

Everything that is remembered is written after what it speaks of was done, and what is done twice
changes nothing the second time: so after a kill at any step the next run goes on. A feed
replaces exactly the reports whose source is its own; what others report stays.
"""

import asyncio
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from stream.feeds.assess import (
    Arrival,
    Assessed,
    Surroundings,
    assess,
    is_whole,
    last_of,
    quick_head,
)
from stream.feeds.feed import Feed, FeedState, VersionRecord
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateReason, Verdict
from stream.feeds.state_store import FeedStateStore
from stream.feeds.store import Content, leave, lists_to_leave, store, store_bare
from stream.feeds.subprocess_job import Limits, WorkFailed, apart
from stream.feeds.transport import Fetched
from stream.feeds.version_files import Versions
from stream.lists.snapshot.merge import empty_columns
from stream.lists.snapshot.version_diff import Difference as Whole
from stream.lists.store.enforcement_counts import FRESH_MAX, Effect
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Move, move_of
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms, now_s
from stream.ops.kernels import FOLDER, warm_up


async def take_in(
    register: ListStore,
    book: FeedStateStore,
    versions: Versions,
    feed: Feed,
    arrival: Arrival,
    around: Surroundings,
    now_s: int,
) -> VersionRecord:
    """Let a version in, or not; what became of it. The caller holds `versions.deciding()`.

    Raises Faults of the list store; then the version is as if it had not come, and comes again.
    """
    state = await book.state(feed.name)
    move = await _move(register, feed, arrival.fetched, around)
    known = None
    if move is None:  # what was refused for want of a key is looked at again when that is here
        known = await _known(book, versions, feed, state, arrival, around, now_s)
    if known is not None:
        # A run that was killed after its last step here left a file of before.
        await asyncio.to_thread(versions.sweep, _needed(state), feed.keep_s, now_s)
        return known
    path = versions.take(arrival.fetched.path, arrival.id)
    whole = is_whole(feed, path, said=arrival.fetched.whole)
    arrival = replace(arrival, fetched=replace(arrival.fetched, path=path, whole=whole))
    by = By(f"feed:{feed.name}", f"version {arrival.id}")
    await register.create(feed.list_name, feed.circle, by)
    last = last_of(state, feed.list_name, renewal=_is_renewal(state, arrival))
    assessed = await assess(register, feed, arrival, around, last, now_s, versions, move=move)
    record = _record(feed, arrival, assessed, now_s)
    if assessed.judgement.verdict is Verdict.ACCEPTED:
        return await _let_in(
            register, book, versions, feed, record, assessed, around, move, by, now_s
        )
    versions.report(record)
    if assessed.judgement.verdict is Verdict.HELD:
        await book.held(feed.name, feed.list_name, record, by)
    else:
        await book.refused(feed.name, feed.list_name, record, by)
    versions.sweep(_needed(await book.state(feed.name)), feed.keep_s, now_s)
    return record


async def release(
    register: ListStore,
    book: FeedStateStore,
    versions: Versions,
    feed: Feed,
    held: VersionRecord,
    around: Surroundings,
    by: By,
    now_s: int,
) -> VersionRecord:
    """Apply a held version on a person's word. The caller holds `versions.deciding()`.

    Rows that the gate stopped go live with it, but for emergency numbers, our own, and prefixes
    that are too short. Raises InputUnreadable for a file that cannot be used, and as `take_in`.
    """
    arrival = _arrived(versions, held)
    move = await _move(register, feed, arrival.fetched, around)
    assessed = await assess(
        register, feed, arrival, around, None, now_s, versions, released=True, move=move
    )
    if assessed.read.unreadable:  # held by a version of ours, or settings, that took it
        why = f"version {held.id} of feed {feed.name} cannot be let in: {assessed.read.unreadable}"
        do = f"ringfence feeds refuse {feed.name} --version {held.id} --reason TEXT"
        raise InputUnreadable(f"{why}. Refuse it: `{do}`")
    record = _record(feed, arrival, assessed, now_s)
    record = msgspec.structs.replace(
        record, verdict=Verdict.ACCEPTED.value, by=by.actor, why=by.reason
    )
    return await _let_in(register, book, versions, feed, record, assessed, around, move, by, now_s)


async def would_change(
    register: ListStore,
    book: FeedStateStore,
    versions: Versions,
    feed: Feed,
    held: VersionRecord,
    around: Surroundings,
    now_s: int,
) -> Whole:
    """Return what a held version would add to its list and remove from it; store nothing."""
    arrival = _arrived(versions, held)
    move = await _move(register, feed, arrival.fetched, around)
    last = last_of(await book.state(feed.name), feed.list_name)
    with TemporaryDirectory(prefix="ringfence-diff-") as folder:  # its rejected rows are known
        apart = Versions(Path(folder), feed.name)
        apart.place(held.id).mkdir(parents=True)
        found = await assess(
            register, feed, arrival, around, last, now_s, apart, released=True, move=move
        )
    old = new = empty_columns()
    if found.change is not None:
        old, new = found.change.retracted, found.change.written
    none = np.empty(0, np.int64)
    return Whole(old, new, np.arange(len(new)), np.arange(len(old)), (none, none))


def _arrived(versions: Versions, held: VersionRecord) -> Arrival:
    """Return a version that waits, as it came."""
    path = versions.file(held.id)
    assert path is not None, "the caller looked"
    fetched = Fetched(
        path,
        held.size,
        held.sha256,
        held.remember,
        held.whole,
        held.as_of_s,
        origin=held.origin,
        published_ms=held.published_ms,
    )
    return Arrival(fetched=fetched, at_s=held.at_s)


async def _move(
    register: ListStore, feed: Feed, fetched: Fetched, around: Surroundings
) -> Move | None:
    """Return the move of our list that a whole list asks for; None: it asks for none."""
    if feed.format != "snapshot" or not is_whole(feed, fetched.path, said=fetched.whole):
        return None
    head = (await register.heads()).lists.get(feed.list_name)
    if head is None:
        return None
    return await asyncio.to_thread(move_of, fetched.path, head.circle, around.keys)


async def refuse(
    book: FeedStateStore, versions: Versions, feed: Feed, held: VersionRecord, by: By, now_s: int
) -> VersionRecord:
    """Return a held version never goes live, on a person's word.

    The same bytes are not judged again.
    """
    record = msgspec.structs.replace(
        held, verdict=Verdict.REFUSED.value, by=by.actor, why=by.reason, decided_at_s=now_s
    )
    versions.report(record)
    await book.refused(feed.name, feed.list_name, record, by)
    return record


async def _known(
    book: FeedStateStore,
    versions: Versions,
    feed: Feed,
    state: FeedState,
    arrival: Arrival,
    around: Surroundings,
    now_s: int,
) -> VersionRecord | None:
    """Return the verdict on these very bytes from before; None: judge them (again)."""
    sha256 = arrival.fetched.sha256
    accepted = state.accepted
    known = accepted is not None and accepted.sha256 == sha256 and accepted.is_meant_as(feed)
    # Reports without dates are said again in time, unless that was stopped by the gate before.
    due = accepted is not None and accepted.whole and now_s - accepted.renewed_at_s >= feed.renew_s
    if accepted is not None and known and not due:
        _forget(versions, arrival)
        await book.confirmed(feed.name, arrival.at_s, arrival.fetched.remember)
        return msgspec.structs.replace(
            accepted, verdict=Verdict.SAME.value, reason="same", at_s=arrival.at_s
        )
    for record in (state.held, state.refused):
        same = record is not None and record.sha256 == sha256 and record.is_meant_as(feed)
        if record is not None and same and record.settings == feed.digest:
            over = record.reason == GateReason.AGREEMENT_EXPIRED.value
            if over and not around.agreement_over(feed.list_name, now_s):
                return None  # it was extended: what waited for that is looked at again
            _forget(versions, arrival)
            return record
    return None


def _forget(versions: Versions, arrival: Arrival) -> None:
    path = arrival.fetched.path
    if path != versions.file(arrival.id):
        path.unlink(missing_ok=True)


async def _let_in(
    register: ListStore,
    book: FeedStateStore,
    versions: Versions,
    feed: Feed,
    record: VersionRecord,
    assessed: Assessed,
    around: Surroundings,
    move: Move | None,
    by: By,
    now_s: int,
) -> VersionRecord:
    assert assessed.change is not None, "it was compared"
    key = move.key if move is not None else await _key(register, feed, around)
    read = assessed.read
    if read.hashed:  # before it is live: the gate saw no number of it, so matching has to look
        await book.bound(feed.list_name, feed.scope, by)
    if read.bare:
        to = move.circle if move is not None else ""
        stored = await store_bare(register, feed, read.filter_data, key, by, now_s, to)
    else:
        stored = await store(
            register,
            feed,
            Content(read.columns, record.whole, read.filter_data, read.late),
            assessed.change,
            key,
            by,
            now_s,
            move,
        )
    last = (await book.state(feed.name)).accepted
    to_leave = lists_to_leave(last, feed.list_name)
    if record.whole:
        for name in to_leave:
            await leave(register, feed, name, around.keys, by, now_s)
        to_leave = ()
    before = last.numbers if last is not None and last.is_of_list(feed.list_name) else 0
    whole_at_s = last.whole_at_s if last is not None else 0
    change = assessed.change
    numbers = change.numbers if record.whole else before + change.gained - change.lost
    record = msgspec.structs.replace(
        record,
        numbers=numbers,
        generation=stored.generation,
        rebuilt=stored.rebuilt,
        renewed_at_s=now_s,
        whole_at_s=record.at_s if record.whole else whole_at_s,
        to_leave=to_leave,
    )
    versions.report(record)
    effect = Effect(now_ms(), record.published_ms, tuple(change.fresh[:FRESH_MAX].tolist()))
    await book.accepted(feed.name, feed.list_name, record, by, effect)
    needed = _needed(await book.state(feed.name))
    await asyncio.to_thread(versions.sweep, needed, feed.keep_s, now_s)
    return record


async def _key(register: ListStore, feed: Feed, around: Surroundings) -> bytes:
    return around.key_of((await quick_head(register, feed.list_name)).circle)


def _is_renewal(state: FeedState, arrival: Arrival) -> bool:
    return state.accepted is not None and state.accepted.sha256 == arrival.fetched.sha256


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
        published_ms=fetched.published_ms,
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
        list_name=feed.list_name,
        meaning=feed.meaning,
    )


LARGE_BYTES = 8 << 20
"""From here on the compiled kernels are worth the 0.6 s that they take to load, if a worker on this
machine has compiled them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedJob:
    """All that is needed to let a version in, or not."""

    register: ListStoreSettings
    state_dir: Path
    feed: Feed
    arrival: Arrival
    around: Surroundings


async def done_apart(job: FeedJob, limits: Limits, *, within_s: float) -> VersionRecord:
    """Apply the version in a process of its own. Raises WorkFailed, which names the version."""
    # Both ends are this program; nothing from outside is ever unpickled.
    try:
        answer = await apart(_work, pickle.dumps(job), limits, within_s=within_s)
    except WorkFailed as failed:
        fetched = job.arrival.fetched
        origin = f" of {fetched.origin}" if fetched.origin else ""
        what = f"version {job.arrival.id}{origin}, {fetched.size:,} bytes"
        raise failed.of(what) from failed
    record: VersionRecord = pickle.loads(answer)  # noqa: S301
    return record


def _work(packed: bytes) -> bytes:
    job: FeedJob = pickle.loads(packed)  # noqa: S301
    if job.arrival.fetched.size >= LARGE_BYTES:
        warm_up(job.state_dir / FOLDER, may_compile=False)
    return pickle.dumps(asyncio.run(_take_in(job)))


async def _take_in(job: FeedJob) -> VersionRecord:
    versions = Versions(job.state_dir, job.feed.name)
    async with (
        await ListStore.connect(job.register) as register,
        FeedStateStore.open(job.register) as book,
    ):
        with versions.deciding():
            return await take_in(
                register, book, versions, job.feed, job.arrival, job.around, now_s()
            )
