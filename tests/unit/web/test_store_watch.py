"""Figures from the list store for the overview: each change once, and a fault as words."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from stream.core.model.appeal import AppealState
from stream.core.model.errors import ListStoreDown
from stream.feeds.feed import FeedState
from stream.lists.store.audit_entries import AuditEntry
from stream.web.page_caches import Feeds
from stream.web.store_watch import ENTRIES_MAX, StoreWatch


class Store:
    """A list store with two feeds, an appeal and an audit; or without an answer."""

    def __init__(self) -> None:
        self.down = False
        self.audited: list[AuditEntry] = []
        self.past = self

    async def now(self) -> Feeds:
        setups: Any = {"kh": None, "vn": None}
        return Feeds(setups, {"vn": ("line 3: no list",), "": ("no folder",)})

    async def states(self, names: Any) -> dict[str, FeedState]:
        return {"kh": FeedState(fault="away", failures=2), "vn": FeedState(confirmed_at_s=7)}

    async def standing(self) -> Any:
        if self.down:
            raise ListStoreDown("counting appeals: refused")
        return SimpleNamespace(by_state={AppealState.RECEIVED: 3}, overdue=1)

    async def audit(self, since_ms: int = 0) -> AsyncIterator[AuditEntry]:
        for entry in reversed(self.audited):
            if int(entry.id.partition("-")[0]) >= since_ms:
                yield entry

    async def itself(self) -> Any:
        return self

    def change(self, identity: str) -> None:
        self.audited.append(AuditEntry(identity, 1, 1, "a", "r", "KH/x", "add", 2, "", 1, ""))


async def test_each_change_is_read_once() -> None:
    """The second reading has what came since the first, in its order, also of one millisecond."""
    store: Any = Store()
    watch = StoreWatch(store, store, store.itself)
    now_ms = 10**15
    store.change(f"{now_ms}-0")
    assert [one.id for one in (await watch.look()).changes] == [f"{now_ms}-0"]
    store.change(f"{now_ms}-1")
    store.change(f"{now_ms + 5}-0")
    seen = await watch.look()
    assert [one.id for one in seen.changes] == [f"{now_ms}-1", f"{now_ms + 5}-0"]
    assert (await watch.look()).changes == ()
    for step in range(ENTRIES_MAX + 1):
        store.change(f"{now_ms + 6}-{step}")
    many = await watch.look()
    assert (seen.changes_cut, many.changes_cut, len(many.changes)) == (False, True, ENTRIES_MAX)
    assert (seen.appeals, seen.appeals_overdue) == ({"received": 3}, 1)
    told = [(one.name, one.failures, one.file_wrong) for one in seen.feeds]
    assert told == [("kh", 2, False), ("vn", 0, True)]


async def test_a_store_that_is_away_is_told() -> None:
    """The reading of processes goes on; the tiles say why they have no value."""
    store: Any = Store()
    store.down = True
    seen = await StoreWatch(store, store, store.itself).look()
    assert (seen.fault, seen.feeds) == ("the list store does not answer", ())
