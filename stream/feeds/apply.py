"""Apply a feed's new version: assess it, store it in its list, and write down what became of it.

A record is written after the step that it records, and a repeated step changes nothing. So after a
kill at any step the next run goes on. A feed replaces exactly the reports whose source is its own.
Reports of others stay.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from stream.feeds.assess import Arrival, Assessed, assess, is_handed_in_again, last_of, quick_head
from stream.feeds.diff import as_versions
from stream.feeds.feed import Feed, FeedState, VersionRecord
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateReason, GateVerdict, Last
from stream.feeds.read import is_whole
from stream.feeds.row_checks import Surroundings
from stream.feeds.state_store import FeedStateStore
from stream.feeds.store import ListWriter, lists_to_leave, verdict_basis
from stream.feeds.transports.transport import Fetched
from stream.feeds.version_files import FILE, VersionFiles
from stream.lists.snapshot.merge import VersionDiff
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Move, move_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Applier:
    """Decides on versions of one feed at one moment, and applies them.

    `around` is as in `assess`. The caller holds `versions.deciding()`: two processes that decide at
    once would both compare with a list that the other one changes. Methods raise the list store's
    faults; then the version is as if it had not come, and comes again.
    """

    list_store: ListStore
    states: FeedStateStore
    versions: VersionFiles
    feed: Feed
    around: Surroundings
    now_s: int

    async def take_in(self, arrival: Arrival) -> VersionRecord:
        """Assess a fetched version, apply it if the gate accepts it, and return its record."""
        feed, versions = self.feed, self.versions
        state = await self.states.state(feed.name)
        fetched = arrival.fetched
        if arrival.since is not None and not is_whole(feed, fetched.path, said=fetched.whole):
            state.refuse_gap(feed.name, arrival.since)
        move = await self._move(arrival.fetched)
        # A version that was refused for want of a key is assessed again once the key is here.
        judged_by = await verdict_basis(self.list_store, feed, self.around)
        known = await self._known(state, arrival, judged_by) if move is None else None
        if known is not None:
            # A run that was killed after its last step here left a file of before.
            await self._sweep(state)
            return known
        path = versions.take(arrival.fetched.path, arrival.id)
        whole = is_whole(feed, path, said=arrival.fetched.whole)
        arrival = replace(arrival, fetched=replace(arrival.fetched, path=path, whole=whole))
        by = arrival.sent or By(f"feed:{feed.name}", f"version {arrival.id}")
        await self.list_store.create(feed.list_name, feed.circle, by)
        accepted = state.accepted
        # The same bytes came this far because they are due again: the gate must not call them SAME.
        renewal = accepted is not None and accepted.sha256 == arrival.fetched.sha256
        last = last_of(state, feed.list_name, self.now_s, renewal=renewal)
        assessed = await self._assess(arrival, last, move)
        record = self._record(arrival, assessed, judged_by)
        if assessed.decision.verdict is GateVerdict.ACCEPTED:
            return await self._let_in(record, assessed, move, by)
        versions.report(record)
        # One version waits. The live one, read again and held, waits once that is decided: then it
        # is assessed again.
        held = assessed.decision.verdict is GateVerdict.HELD and not state.still_waits_after(record)
        await (self.states.held if held else self.states.refused)(feed, record, by)
        await self._sweep(await self.states.state(feed.name))
        return record

    async def release(self, held: VersionRecord, by: By) -> VersionRecord:
        """Apply a held version as a person decided.

        Rows that the gate stopped go live with it, except those of `NEVER_LIVE`. Raises
        InputUnreadable for a file that cannot be used, and ChangeConflict for a person who handed
        it in.
        """
        held.refuse_sender(by.actor)
        arrival = self._kept(held)
        move = await self._move(arrival.fetched)
        assessed = await self._assess(arrival, None, move, released=True)
        if why := assessed.read.unreadable:  # other settings, or an older Ringfence, held it
            name = self.feed.name
            do = f"ringfence feeds refuse {name} --version {held.id} --reason TEXT"
            raise InputUnreadable(
                f"version {held.id} of feed {name} cannot be let in: {why}. Refuse it: `{do}`"
            )
        record = msgspec.structs.replace(
            self._record(arrival, assessed, held.settings),
            verdict=GateVerdict.ACCEPTED.value,
            by=by.actor,
            why=by.reason,
        )
        return await self._let_in(record, assessed, move, by)

    async def refuse(self, version: VersionRecord, by: By) -> VersionRecord:
        """Refuse a version as a person decided. The same bytes are not assessed again.

        The live one is not renewed either. Its reports stay until the list is rolled back.
        """
        record = msgspec.structs.replace(
            version,
            verdict=GateVerdict.REFUSED.value,
            by=by.actor,
            why=by.reason,
            decided_at_s=self.now_s,
        )
        self.versions.report(record)
        await self.states.refused(self.feed, record, by)
        return record

    async def would_change(self, held: VersionRecord) -> VersionDiff:
        """Return what a held version would add to its list and remove from it. Store nothing."""
        arrival = self._kept(held)
        move = await self._move(arrival.fetched)
        state = await self.states.state(self.feed.name)
        last = last_of(state, self.feed.list_name, self.now_s)
        with TemporaryDirectory(prefix="ringfence-diff-") as folder:  # its rejected rows are known
            rejects = Path(folder) / "rejects"
            found = await self._assess(arrival, last, move, released=True, rejects=rejects)
        return as_versions(found.change)

    async def _assess(
        self,
        arrival: Arrival,
        last: Last | None,
        move: Move | None,
        *,
        released: bool = False,
        rejects: Path | None = None,
    ) -> Assessed:
        return await assess(
            self.list_store,
            self.feed,
            arrival,
            self.around,
            last,
            self.now_s,
            rejects or self.versions.rejects(arrival.id),
            released=released,
            move=move,
        )

    def _kept(self, held: VersionRecord) -> Arrival:
        """Return a version that waits, as it came."""
        path = self.versions.file(held)
        assert path is not None, "the caller looked"
        return Arrival.again(held, path)

    async def _move(self, fetched: Fetched) -> Move | None:
        """Return the move to another circle that a whole list asks for; None: it asks for none."""
        feed = self.feed
        if feed.format != "snapshot" or not is_whole(feed, fetched.path, said=fetched.whole):
            return None
        head = (await self.list_store.heads()).lists.get(feed.list_name)
        if head is None:
            return None
        return await asyncio.to_thread(move_of, fetched.path, head.circle, self.around.keys)

    async def _known(
        self, state: FeedState, arrival: Arrival, judged_by: str
    ) -> VersionRecord | None:
        """Return the verdict on these very bytes from before; None: assess them (again)."""
        feed, accepted, fetched = self.feed, state.accepted, arrival.fetched
        same = accepted is not None and (
            (accepted.sha256, accepted.read_as) == (fetched.sha256, arrival.read_as)
        )
        if accepted is not None and same and accepted.is_meant_as(feed):
            if accepted.verdict == GateVerdict.REFUSED:  # by a person, since it went live
                self._forget(arrival)
                return accepted
            # Reports without dates are renewed in time, unless the gate stopped that before; also
            # those of a clock that was so far ahead, which would live on until then.
            is_due = accepted.whole and abs(self.now_s - accepted.renewed_at_s) >= feed.renew_s
            if not is_due and not await is_handed_in_again(
                self.list_store, feed, accepted, arrival
            ):
                self._forget(arrival)
                await self.states.confirmed(feed.name, arrival.at_s, fetched.remember)
                return msgspec.structs.replace(
                    accepted, verdict=GateVerdict.SAME.value, reason="same", at_s=arrival.at_s
                )
        for record in (state.held, state.refused):
            if record is None or (record.sha256, record.settings) != (fetched.sha256, judged_by):
                continue
            if record.read_as != arrival.read_as:
                continue
            if record.is_meant_as(feed):
                if self._may_differ(record, state, fetched.as_of_s):
                    return None
                if record is state.held and self.versions.file(record) is None:
                    self.versions.take(fetched.path, record.id)  # a person can let it in again
                self._forget(arrival)
                return record
        return None

    def _may_differ(self, record: VersionRecord, state: FeedState, as_of_s: int | None) -> bool:
        """Return whether the gate may judge the same bytes, now made at `as_of_s`, otherwise."""
        list_name = self.feed.list_name
        if record.reason == GateReason.AGREEMENT_EXPIRED:  # it may have been extended
            return not self.around.agreement_over(list_name, self.now_s)
        if record.reason == GateReason.OLDER:  # its owner may have given it a new date
            last = last_of(state, list_name, self.now_s)
            return last is None or not last.ahead_s(as_of_s)
        # By a clock that was ahead, its reports may have been over.
        return not record.by and self.now_s < record.decided_at_s

    def _forget(self, arrival: Arrival) -> None:
        path = arrival.fetched.path
        if path != self.versions.place(arrival.id) / FILE:
            path.unlink(missing_ok=True)

    async def _let_in(
        self, record: VersionRecord, assessed: Assessed, move: Move | None, by: By
    ) -> VersionRecord:
        """Store an accepted version; write its record after everything that the record states."""
        feed, read, change = self.feed, assessed.read, assessed.change
        assert change is not None, "it was compared"
        if read.hashed:  # before it is live: the gate saw no number of it, so matching has to look
            await self.states.bound(feed.list_name, feed.scope, by)
        writer = ListWriter(self.list_store, feed, by, self.now_s)
        if move is not None:
            key = move.key
        else:
            head = await quick_head(self.list_store, feed.list_name)
            key = self.around.key_of(head.circle)
        if read.bare:
            stored = await writer.store_bare(read.filter_data, key, move.circle if move else "")
        else:
            stored = await writer.store(read, change, key, move, whole=record.whole)
        last = (await self.states.state(feed.name)).accepted
        to_leave = lists_to_leave(last, feed.list_name)
        # An increment does not say all that the feed reports: the old list keeps the rest till
        # then.
        if record.whole:
            for name in to_leave:
                await writer.leave(name, self.around.keys)
            to_leave = ()
        before = last.numbers if last is not None and last.is_of_list(feed.list_name) else 0
        whole_at_s = last.whole_at_s if last is not None else 0
        record = msgspec.structs.replace(
            record,
            numbers=change.numbers if record.whole else before + change.gained - change.lost,
            generation=stored.generation,
            rebuilt=stored.rebuilt,
            renewed_at_s=self.now_s,
            whole_at_s=record.at_s if record.whole else whole_at_s,
            to_leave=to_leave,
        )
        # The file's report first: what Redis names can then be shown. A kill between the two leaves
        # a report that the next run writes again.
        self.versions.report(record)
        await self.states.accepted(feed, record, by, change.fresh)
        await self._sweep(await self.states.state(feed.name))
        return record

    async def _sweep(self, state: FeedState) -> None:
        needed = frozenset(one.id for one in (state.accepted, state.held) if one is not None)
        await asyncio.to_thread(self.versions.sweep, needed, self.feed.keep_s, self.now_s)

    def _record(self, arrival: Arrival, assessed: Assessed, judged_by: str) -> VersionRecord:
        feed, fetched = self.feed, arrival.fetched
        read, change, decision = assessed.read, assessed.change, assessed.decision
        return VersionRecord(
            id=arrival.id,
            sha256=fetched.sha256,
            size=fetched.size,
            at_s=arrival.at_s,
            decided_at_s=self.now_s,
            whole=fetched.whole,
            verdict=decision.verdict.value,
            # A date in the future would make each later version an older one.
            as_of_s=None if fetched.as_of_s is None else min(fetched.as_of_s, self.now_s),
            origin=fetched.origin,
            published_ms=fetched.published_ms,
            remember=dict(fetched.remember),
            reason=decision.reason.value if decision.reason is not None else "",
            findings=tuple(f"{f.reason}: {f.detail}" for f in decision.findings),
            good=read.good,
            bad=read.bad,
            expired=read.expired,
            passed_over=read.passed_over,
            rejected={wrong.label: count for wrong, count in read.rejected.items()},
            dropped={reason.value: n for reason, n in read.dropped.items() if n},
            adjusted=dict(read.adjusted),
            cleaned=dict(read.cleaned.labels),
            gained=change.gained if change is not None else 0,
            lost=change.lost if change is not None else 0,
            updated=change.updated if change is not None else 0,
            settings=judged_by,
            list_name=feed.list_name,
            meaning=feed.meaning,
            sent_by=arrival.sent_by,
            sent_why=arrival.sent.reason if arrival.sent is not None else "",
            read_as=arrival.read_as,
        )
