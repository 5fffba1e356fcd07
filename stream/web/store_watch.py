"""Figures of the overview that are in Redis: feeds, appeals, and changes of lists."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from stream.appeals.appeal_store import AppealStore
from stream.core.model.errors import Fault
from stream.edge.http.languages import noted
from stream.feeds.feed import FeedState
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.ops.monitor.dashboard import FeedOverview, Overview
from stream.web.page_caches import FeedFolder


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """Figures that the list store has itself, so they need no process that reports them.

    `fault` says why they could not be read; `changes` are audit entries since the last reading,
    the newest of them if there were too many (`changes_cut`).
    """

    feeds: tuple[FeedOverview, ...] = ()
    appeals: Mapping[str, int] = field(default_factory=dict)
    appeals_overdue: int | None = None
    changes: tuple[AuditEntry, ...] = ()
    changes_cut: bool = False
    fault: str = ""

    def onto(self, seen: Overview) -> Overview:
        """Return the figures of processes with ours in place of theirs, where we have them."""
        if self.fault:
            return seen
        return replace(
            seen, feeds=self.feeds, appeals=self.appeals, appeals_overdue=self.appeals_overdue
        )


async def no_store() -> StoreFigures:
    """Return no figures of a list store."""
    return StoreFigures(fault=noted("there is no list store"))


STORE_S_MAX: Final = 2.0
"""Seconds that a reading of the list store may take: the figures of processes do not wait."""
_PAST_S: Final = 86_400
ENTRIES_MAX: Final = 500
"""Audit entries of one reading. More in five seconds are an import, whose marker is there."""


@dataclass(slots=True)
class StoreWatch:
    """The figures of the overview that are in Redis: feeds, appeals, and changes of lists."""

    feeds: FeedFolder
    appeals: AppealStore
    list_store: Callable[[], Awaitable[ListStore]]
    _last: tuple[int, int] | None = field(init=False, default=None)

    async def look(self) -> StoreFigures:
        """Return them as of now, or why they cannot be read."""
        try:
            async with asyncio.timeout(STORE_S_MAX):
                standing, feeds = await self.appeals.standing(), await self._feeds()
                states = {state.value: count for state, count in standing.by_state.items()}
                changes, cut = await self._changes()
                return StoreFigures(feeds, states, standing.overdue, changes, cut)
        except TimeoutError:
            return StoreFigures(fault=noted("the list store does not answer in time"))
        except Fault:
            return StoreFigures(fault=noted("the list store does not answer"))

    async def _feeds(self) -> tuple[FeedOverview, ...]:
        known = await self.feeds.now()
        states = await self.feeds.states(known.setups) if known.setups else {}
        at_s = now_s()
        names = sorted({*known.setups, *filter(None, known.wrong)})
        return tuple(_feed(name, states.get(name), name in known.wrong, at_s) for name in names)

    async def _changes(self) -> tuple[tuple[AuditEntry, ...], bool]:
        """Return the audit's entries since the last reading, the oldest first; whether of more."""
        since_ms = self._last[0] if self._last is not None else (now_s() - _PAST_S) * 1000
        found: list[AuditEntry] = []
        cut = False
        async for entry in (await self.list_store()).past.audit(since_ms):
            if self._last and _place(entry) <= self._last:
                break
            if len(found) == ENTRIES_MAX:
                cut = True
                break
            found.append(entry)
        if found:
            self._last = _place(found[0])
        return tuple(reversed(found)), cut


def _place(entry: AuditEntry) -> tuple[int, int]:
    ms, _, sequence = entry.id.partition("-")
    return int(ms), int(sequence)


def _feed(name: str, state: FeedState | None, wrong: bool, at_s: int) -> FeedOverview:
    if state is None:
        return FeedOverview(name, False, wrong, None, None, None, 0)
    live = state.accepted
    return FeedOverview(
        name,
        held=state.held is not None,
        file_wrong=wrong,
        numbers=live.numbers if live is not None else None,
        accepted_age_s=float(at_s - live.at_s) if live is not None else None,
        confirmed_age_s=float(at_s - state.confirmed_at_s) if state.confirmed_at_s else None,
        failures=state.failures,
    )
