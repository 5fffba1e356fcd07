"""Follow one feed: fetch it on its schedule, work on it apart, try again with back-off.

No feed waits for another. A fault is counted, remembered and logged once for each change; only a
bug ends a follower.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from stream.core.model.errors import ChangeConflict, Fault, FeedDown, FeedFault, ListStoreDown
from stream.feeds.assess import Arrival
from stream.feeds.feed import FeedState, ReadAs, VersionRecord, in_words
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.follow.feed_fetcher import Drop, FeedFetcher, put_away
from stream.feeds.follow.subprocess_job import FeedJob, WorkFailed, done_apart
from stream.feeds.follow.workplace import Workplace
from stream.feeds.gate import OF_FAULTS, GateVerdict
from stream.feeds.read import is_whole
from stream.feeds.transports.transport import Fetched, Transport, Unchanged
from stream.feeds.version_files import VersionFiles
from stream.lists.store.heads import By
from stream.ops.clock import monotonic_s, now_s
from stream.ops.retry import Backoff

log = logging.getLogger(__name__)

SMALL_BYTES: Final = 1 << 20
"""A smaller version does not wait for a place among the large ones: it takes a second at most."""
BUSY_S: Final = 2.0
"""Seconds until the next try while a person pulls the feed: a pull takes seconds."""
STORE_FAULT: Final = "register"
"""The kind of every fault that is not the feed's own."""
BOUND_S: Final = 60.0
"""Seconds between two comparisons of what the feed may list with what its list says."""
WRITTEN_S: Final = 10
"""Seconds between two notes that nothing is new."""
FIRST_S_MAX: Final = 10.0
"""Feeds that are due at a start begin within these seconds, not all in one moment."""

WATCH_S: Final = 5.0
"""Seconds between two looks at the state of a feed whose versions are handed in."""
KEPT_S: Final = 10.0
"""A process is kept for a fetch that follows so soon. A drop folder is read several times a second,
and a fork for each would be most of the work. Else it ends, and its memory is free."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A file that was handed in: its name where it comes from, by whom, and how it is read."""

    name: str
    by: By
    read_as: ReadAs | None = None


class Follower:
    """Follows one feed until cancelled. `quiet`: the caller prints the outcomes.

    `sent`: `setup` has one file that was handed in, and `pull` works on it.
    """

    def __init__(
        self,
        setup: FeedSetup,
        place: Workplace,
        *,
        quiet: bool = False,
        sent: HandedIn | None = None,
    ) -> None:
        self.setup = setup
        self.tried = False
        self._place = place
        self._versions = VersionFiles(place.state_dir, setup.feed.name)
        self._backoff = Backoff(place.settings.retry_s_first, place.settings.retry_s_most)
        self._said = ""
        self._quiet = quiet
        self._sent = sent
        self._is_drop = setup.source.kind == "folder"
        self._bound_s = -BOUND_S  # due at the first try
        self._failures = 0
        """Faults in a row in this process, for when the state cannot be read."""

    async def run(self) -> None:
        """Fetch again and again, until cancelled; of a pushed feed only show its state."""
        if self.setup.source.is_pushed:
            await self._watch()
        fetcher = FeedFetcher(self.setup.source, self._place.limits)
        try:
            wait_s = await self._first_wait_s()
            while True:
                if wait_s > KEPT_S:
                    await fetcher.end()
                await asyncio.sleep(wait_s)
                wait_s = await self._turn(fetcher)
        finally:
            await fetcher.end()

    async def _watch(self) -> NoReturn:
        """Show what others hand in and decide, until cancelled."""
        while True:
            try:
                self._show(await self._place.states.state(self.setup.feed.name))
            except Fault as fault:
                self._tell_fault(*kind_of(fault))
            else:
                self._tell_well()
            self.tried = True
            await asyncio.sleep(WATCH_S)

    async def _first_wait_s(self) -> float:
        """Return the first wait. A restart does not fetch early: partners count requests."""
        name = self.setup.feed.name
        try:
            state = await self._place.states.state(name)
        except Fault as fault:
            self._tell_fault(*kind_of(fault))
            return random.uniform(0, FIRST_S_MAX)  # noqa: S311 - jitter, no secret
        self._show(state)
        due_s = state.tried_at_s + self.setup.every_s - now_s()
        if state.fault or due_s <= 0:
            return random.uniform(0, min(FIRST_S_MAX, self.setup.every_s))  # noqa: S311
        return float(min(due_s, self.setup.every_s))

    async def _turn(self, transport: Transport) -> float:
        """Try once; return the seconds until the next try."""
        try:
            with self._versions.fetching() as mine:
                self._place.metrics.state_foreign.set(self.setup.feed.name, 0)
                if not mine:
                    return BUSY_S  # a person pulls it by hand now
                _, again_s = await self._try(transport)
        except Fault as fault:
            return await self._failed(fault)
        return again_s

    async def pull(self, *, whole: bool = False) -> VersionRecord | None:
        """Try once now, for a person; return the record, None: nothing new.

        `whole`: ask for the whole list, also of a source of increments. Raises ChangeConflict while
        another process fetches the feed, and Faults.
        """
        with self._versions.fetching() as mine:
            if not mine:
                text = "is fetched by another process just now: try again in a moment"
                raise ChangeConflict(f"feed {self.setup.feed.name} {text}")
            fetcher = FeedFetcher(self.setup.source, self._place.limits)
            try:
                record, _ = await self._try(fetcher, whole=whole)
            except Fault as fault:
                if self._sent is None:  # a file that cannot be used is no fault of the feed
                    await self._failed(fault)
                raise
            finally:
                await fetcher.end()
        return record

    async def _try(
        self, transport: Transport, *, whole: bool = False
    ) -> tuple[VersionRecord | None, float]:
        feed, place = self.setup.feed, self._place
        self._versions.clear_incoming()
        state = await place.states.state(feed.name)
        await self._bind()
        place.metrics.register_up.set(1)
        at_s = now_s()
        due = self._due_again(state, at_s)
        again = None if due is None else await self._renewal(due, state, at_s)
        needs_whole = whole or self._is_whole_due(state, at_s) or state.is_meant_otherwise(feed)
        # Where the kept file is damaged or gone, the source has to send it again.
        needs_whole |= due is not None and again is None
        remembered = {} if needs_whole or self._sent is not None else state.remembered
        if self._is_drop and state.held is not None and not state.held.whole:
            # Changes build on those before them, and a person can release only the last that waits.
            got: Fetched | Unchanged = Unchanged(state.remembered)
        else:
            got = await self._fetch(transport, remembered)
            self._refuse_to_overtake(state, got)
        record, more = None, False
        if isinstance(got, Unchanged):
            if again is not None:
                record = await self._work(again)
                record = record if state.is_meant_otherwise(feed) else None  # nothing new came
            elif due is not None and self._is_drop:  # which nobody can ask for the file again
                lost = f"the file of version {due.id} is damaged here, or gone. So its reports are"
                so = f"not renewed, and end: move it from done/ to {due.origin} again"
                raise FeedDown(FeedFault.MISSING, f"{lost} {so}")
            elif self._is_well_known(state, got, at_s):
                self._show(state)  # what a person released or refused meanwhile
                place.metrics.confirmed.set(feed.name, at_s)
                self._as_accepted()
                self.tried = True
                return None, max(self._usual_s(), got.wait_s_min)
            else:
                self._as_accepted()
            await place.states.confirmed(feed.name, at_s, got.remember)
        else:
            record = await self._work(self._arrival(got, at_s, state.remembered))
            # It may be the first of many increments or files: what waits is fetched without delay.
            more = record.verdict == GateVerdict.ACCEPTED and not record.whole
            if isinstance(transport, Drop) and self._is_drop:
                await put_away(transport, got, record)
                more = True
        await place.states.tried(feed.name, at_s, "", "", 0)
        self._failures = 0
        self._tell_well()
        self._show(await place.states.state(feed.name))
        self.tried = True
        self._backoff.reset()
        usual_s = 0.0 if more else self._usual_s()
        return record, max(usual_s, got.wait_s_min)

    def _refuse_to_overtake(self, state: FeedState, got: Fetched | Unchanged) -> None:
        """Refuse changes that are handed in while others wait: they build on those before them.

        Raises ChangeConflict.
        """
        held, feed = state.held, self.setup.feed
        if self._sent is None or isinstance(got, Unchanged) or held is None or held.whole:
            return
        if got.sha256 != held.sha256 and not is_whole(feed, got.path, said=got.whole):
            text = f"version {held.id} of feed {feed.name} waits for a person, and these changes"
            do = "come after it: hand them in again once it is released or refused"
            raise ChangeConflict(f"{text} {do}")

    def _arrival(self, got: Fetched, at_s: int, since: Mapping[str, str]) -> Arrival:
        if self._sent is None:
            return Arrival(fetched=got, at_s=at_s, since=since)
        # Its path is that of a temporary file, and nothing is fetched from there again.
        got = replace(got, origin=self._sent.name, remember={}, as_of_s=at_s)
        return Arrival(fetched=got, at_s=at_s, sent=self._sent.by, read_as=self._sent.read_as)

    async def _bind(self) -> None:
        """Write the feed's scope at its list from time to time, if the feed brings hashes.

        So a changed feed file counts at once, and a Redis that lost the scope gets it again.
        """
        feed = self.setup.feed
        if feed.format not in {"snapshot", "pybloom"} or monotonic_s() - self._bound_s < BOUND_S:
            return
        by = By(f"feed:{feed.name}", f"may_list of {self.setup.path.name}")
        await self._place.states.bound_again(feed.list_name, feed.scope, by)
        self._bound_s = monotonic_s()

    def _is_well_known(self, state: FeedState, got: Unchanged, at_s: int) -> bool:
        """Return whether this was written a moment ago: a folder is read several times a second."""
        same = not state.fault and dict(got.remember) == dict(state.remembered)
        return same and 0 <= at_s - state.tried_at_s < WRITTEN_S

    def _is_whole_due(self, state: FeedState, at_s: int) -> bool:
        """Return whether a whole version is due after increments.

        One from that far in the future came while the clock was wrong, and counts as none.
        """
        last, every_s = state.accepted, self.setup.whole_every_s
        return bool(every_s) and last is not None and abs(at_s - last.whole_at_s) >= every_s

    async def _fetch(
        self, transport: Transport, remembered: Mapping[str, str]
    ) -> Fetched | Unchanged:
        name, place, began_s = self.setup.feed.name, self._place, monotonic_s()
        try:
            # A decoder without an end would not let the transport's own deadline come.
            async with asyncio.timeout(place.settings.fetch_s_max):
                got = await transport.fetch(remembered, self._versions.incoming)
        except TimeoutError as error:
            text = f"no end within [feeds] fetch_s_max = {place.settings.fetch_s_max:g}"
            raise FeedDown(FeedFault.TIMEOUT, text) from error
        finally:
            place.metrics.fetch.labels(name).observe(monotonic_s() - began_s)
        result = "unchanged" if isinstance(got, Unchanged) else "fetched"
        place.metrics.fetches.labels(name, result).inc()
        return got

    def _usual_s(self) -> float:
        return self.setup.every_s + random.uniform(0, self.setup.jitter_s)  # noqa: S311

    def _due_again(self, state: FeedState, at_s: int) -> VersionRecord | None:
        """Return the last good version if it is due once more.

        So its reports without dates are renewed, and a changed feed file takes effect.
        """
        last, feed = state.accepted, self.setup.feed
        if last is None or not last.whole or last.verdict == GateVerdict.REFUSED:
            return None
        if abs(at_s - last.renewed_at_s) < feed.renew_s and not state.is_meant_otherwise(feed):
            return None
        return last

    async def _renewal(self, last: VersionRecord, state: FeedState, at_s: int) -> Arrival | None:
        """Return a version as it comes once more, None: its file is not kept here whole."""
        path = await asyncio.to_thread(self._versions.file, last)
        if path is None:
            return None
        fetched = Arrival.again(last, path).fetched
        # Its changes were counted when they came: no publication is measured twice.
        fetched = replace(fetched, remember=state.remembered, published_ms=())
        return Arrival(fetched=fetched, at_s=at_s)

    async def _work(self, arrival: Arrival) -> VersionRecord:
        if arrival.fetched.size <= SMALL_BYTES:
            record = await self._work_now(arrival)
        else:
            async with self._place.places:
                record = await self._work_now(arrival)
        if record.decided_at_s >= arrival.at_s or record.verdict == GateVerdict.SAME:
            self._count(record)  # else it was counted when it was decided
        # A version that a person refused needs no attention.
        refused = record.verdict == GateVerdict.REFUSED and not record.by
        self._place.metrics.refused.set(self.setup.feed.name, refused)
        return record

    async def _work_now(self, arrival: Arrival) -> VersionRecord:
        place = self._place
        job = FeedJob(
            list_store=place.list_store,
            state_dir=place.state_dir,
            kernels=place.kernels,
            feed=self.setup.feed,
            arrival=arrival,
            around=place.surroundings(),
        )
        return await done_apart(job, place.limits, within_s=place.settings.version_s_max)

    async def _failed(self, fault: Fault) -> float:
        """Remember and report a fault; return the wait until the next try."""
        self.tried = True
        feed, metrics = self.setup.feed, self._place.metrics
        if isinstance(fault, ListStoreDown):
            metrics.register_up.set(0)
        kind, detail = kind_of(fault)
        metrics.state_foreign.set(feed.name, kind == FeedFault.STATE_FOREIGN)
        reason = OF_FAULTS.get(fault.reason) if isinstance(fault, FeedDown) else None
        self._failures += 1
        metrics.fetches.labels(feed.name, kind).inc()
        if reason is not None:
            metrics.versions.labels(feed.name, GateVerdict.REFUSED, reason).inc()
            metrics.refused.set(feed.name, 1)
        self._tell_fault(kind, detail)
        # Redis may be the fault itself. Then this process counts, and the gauge still rises.
        try:
            state = await self._place.states.state(feed.name)
            failures = state.failures + 1
            await self._place.states.tried(feed.name, now_s(), kind, detail[:500], failures)
            if reason is not None and state.fault != kind:
                await self._place.states.refused_unseen(feed.name, feed.list_name, reason, detail)
            metrics.failures.set(feed.name, failures)
        except Fault as other:
            log.warning("%s: cannot be written down: %s", feed.name, other)
            metrics.failures.set(feed.name, self._failures)
        asked_s = fault.retry_after_s if isinstance(fault, FeedDown) else None
        return max(self._backoff.next_s(), asked_s or 0.0)

    def _count(self, record: VersionRecord) -> None:
        feed, metrics = self.setup.feed, self._place.metrics
        metrics.versions.labels(feed.name, record.verdict, record.reason).inc()
        if record.verdict == GateVerdict.SAME:
            return
        metrics.rows.labels(feed.name, "good").inc(record.good)
        metrics.rows.labels(feed.name, "passed_over").inc(record.passed_over)
        for what, count in record.rejected.items():
            metrics.rows.labels(feed.name, what).inc(count)
        if self._quiet:
            return
        level = logging.INFO if record.verdict == GateVerdict.ACCEPTED else logging.WARNING
        log.log(level, "%s: %s", feed.name, in_words(record), extra={"list": feed.list_name})

    def _as_accepted(self) -> None:
        """Clear the gauge: the source has the accepted version, unless it is a drop folder."""
        if not self._is_drop:
            self._place.metrics.refused.set(self.setup.feed.name, 0)

    def _show(self, state: FeedState) -> None:
        name, metrics = self.setup.feed.name, self._place.metrics
        metrics.held.set(name, state.held is not None)
        metrics.confirmed.set(name, state.confirmed_at_s)
        accepted = state.accepted
        metrics.accepted.set(name, accepted.at_s if accepted is not None else 0)
        metrics.numbers.set(name, accepted.numbers if accepted is not None else 0)
        metrics.failures.set(name, state.failures)

    def _tell_fault(self, fault: str, detail: str) -> None:
        if self._said != fault and not self._quiet:
            self._said = fault
            log.warning("%s: %s: %s", self.setup.feed.name, fault, detail)

    def _tell_well(self) -> None:
        if self._said:
            self._said = ""
            log.info("feed recovered feed=%s", self.setup.feed.name)


def kind_of(fault: Fault) -> tuple[str, str]:
    """Return a fault as a label from a closed list, and in words."""
    if isinstance(fault, FeedDown | WorkFailed):
        return fault.reason.value, fault.detail
    return STORE_FAULT, f"{type(fault).__name__}: {fault}"
