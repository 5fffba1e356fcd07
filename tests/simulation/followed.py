"""The lists of one worker in a simulation: the product's own, and what was in force when.

Each value that calls are decided with is held against the book the moment it is taken.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from stream.core.filters.blocklists import Blocklists, LiveList
from stream.engine.live_lists import LiveLists
from stream.lists.follower.refresh import Refresher
from stream.ops.kernels import KernelStatus
from tests.simulation.loop import VirtualLoop
from tests.simulation.store.published import ALLOWLIST, Book, Content

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InForce:
    """The blocked numbers by moment, over all workers. `numbers` maps fingerprints to them.

    `check` holds the lists of a worker against the book, and calls `bug` with what is wrong.
    """

    def __init__(
        self, loop: VirtualLoop, book: Book, numbers: Mapping[int, str], bug: Callable[[str], None]
    ) -> None:
        self.loop, self.book, self.numbers = loop, book, numbers
        self.used: dict[str, set[frozenset[str]]] = {}
        self.free_ms: dict[str, int] = {}
        """The last moment at which a watched process did not block a number."""
        self._bug = bug
        self._contents: dict[tuple[int, int], tuple[Any, Any, Content]] = {}

    def verdicts(self, caller: str, decided_at: str) -> set[str]:
        """Return the verdicts that the lists of that moment allow; none: no lists were taken."""
        used = self.used.get(decided_at, set())
        return {"block" if caller in blocked else "allow" for blocked in used}

    def take(self, who: str, refresher: Refresher) -> None:
        """Note that calls are decided with these lists now, and check them."""
        blocked = self.check(who, refresher)
        at = _EPOCH + timedelta(milliseconds=self.loop.wall_ms)
        text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.used.setdefault(text, set()).add(blocked)

    def watch(self, who: str, refresher: Refresher) -> None:
        """Note which numbers are not blocked now, and check the lists."""
        free = set(self.numbers.values()) - self.check(who, refresher)
        self.free_ms.update(dict.fromkeys(free, self.loop.wall_ms))

    def check(self, who: str, refresher: Refresher) -> frozenset[str]:
        """Return the numbers that a worker blocks now."""
        current = refresher.current
        blocked: set[str] = set()
        for live in current.lists:
            content = self.content(live)
            blocked |= content.keys()
            for wrong in self._wrong(live, content, refresher):
                self._bug(f"{who}: {live.name} at generation {live.generation}: {wrong}")
        allowed = frozenset(current.allow.numbers)
        versions = self.book.versions.get(ALLOWLIST, {}).values()
        if allowed and not any(allowed == (v.content or {}).keys() for v in versions):
            self._bug(f"{who}: an allowlist that never was: {sorted(allowed)}")
        return frozenset(blocked - allowed)

    def content(self, live: LiveList) -> Content:
        """Return the numbers of a live list with their sources."""
        key = (id(live.snapshot), id(live.overlay))
        if key not in self._contents:
            # Kept with what it came from, so that no other value gets the same ids.
            self._contents[key] = (live.snapshot, live.overlay, dict(self._read(live)))
        return self._contents[key][2]

    def _read(self, live: LiveList) -> Iterator[tuple[str, frozenset[str]]]:
        held: dict[int, set[str]] = {}
        columns = live.snapshot.columns if live.snapshot is not None else None
        if columns is not None:
            rows = zip(columns.fingerprint.tolist(), columns.source.tolist(), strict=True)
            for fingerprint, source in rows:
                held.setdefault(fingerprint, set()).add(columns.sources[source])
        for fingerprint, entries in live.overlay.entries.items():
            held[fingerprint] = {entry.source for entry in entries}
        for fingerprint, sources in held.items():
            if sources:
                yield self.numbers[fingerprint], frozenset(sources)

    def _wrong(self, live: LiveList, content: Content, refresher: Refresher) -> Iterator[str]:
        sync, name = refresher._sync, live.name
        if live.snapshot is None:
            return
        mark = sync.get(name)
        if not refresher._compared:
            if mark is not None and content not in self.book.kept(
                name, mark.generation, mark.chain
            ):
                yield f"{_told(content)} was on the disk, and is of no version"
            return
        moves = name in sync.stale or name in sync.reading or name in sync.failed
        if mark is not None and mark.generation == live.generation and not moves:
            known = self.book.find(name, mark.chain)
            versions = [known.content] if known else self.book.at(name, live.generation)
            if content not in versions:
                told = list(map(_told, versions))
                yield f"{_told(content)} was never published: {' or '.join(told) or 'nothing'} was"
            return
        # Steps ahead of a list that is read again count at once, each of them exactly.
        for number in set(self.numbers.values()):
            if content.get(number) not in self.book.sources(name, number, live.generation):
                yield f"{number} of {sorted(content.get(number, ()))} was never published"


def _told(content: Content | None) -> str:
    if content is None:
        return "no list"
    return " ".join(
        f"{number[-3:]}:{'+'.join(sorted(content[number]))}" for number in sorted(content)
    )


class SimulatedLists(LiveLists):
    """The product's lists; kernels are switched on already, and no garbage collector is tuned."""

    async def load(self) -> KernelStatus:
        """Load the last good lists."""
        self.refresher.load_last_good()
        return KernelStatus("", 0.0)

    async def wait_loaded(self) -> None:
        """Wait until there are lists."""
        await self.refresher.wait_loaded()


class FollowedLists(SimulatedLists):
    """Lists of which each value that is taken is checked."""

    watched: InForce
    who: str
    decides: bool

    def current(self) -> Blocklists:
        """Return the lists: calls are decided with them now, where it `decides`."""
        (self.watched.take if self.decides else self.watched.watch)(self.who, self.refresher)
        return super().current()
