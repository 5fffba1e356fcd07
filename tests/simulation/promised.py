"""Promises about changes of lists: each is enforced within a second, and none is lost.

A second where nothing is broken; after a fault, or a process' start, as long as it takes to find
the list store again. A fail-over may lose what no replica had. What a running worker knew of that
comes back, and nothing else is ever lost.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from stream.lists.follower.refresh import Refresher
from tests.simulation.store.ensemble import Ensemble
from tests.simulation.store.published import ALLOWLIST, Book, Version, ancestors
from tests.simulation.worker import HostedService
from tests.simulation.world import World

PROMISE_S = 1.0
"""A change is enforced within so much, and the look at it."""
RECOVERED_S, STARTED_S = 25.0, 3.0
"""So long after a disturbance that holds again: connections are given up, heads are compared. And
so long after a process starts, or goes on."""
_DISTURBING = {
    **dict.fromkeys(("block", "cut", "fail", "forget", "heal", "kill", "power"), RECOVERED_S),
    **dict.fromkeys(("start", "resume"), STARTED_S),
}
"""By the first word of a timeline's events."""
_ENDS, _FOLLOWERS = ("kill", "power"), ("worker-", "door-")
_ELSEWHERE = ("kafka-", "client-", "192.0.2.")
"""Parts of the names of hosts that hold no lists: brokers, and who asks a door."""
_TOUCH_ALL = ("create", "delete", "import", "rollback")


@dataclass
class Promises:
    """Watches the changes of one history. `bug` is called with what no fault explains."""

    world: World
    store: Ensemble
    book: Book
    names: tuple[str, ...]
    bug: Callable[[str], None]
    acknowledged: set[str] = field(default_factory=set)
    """Reasons of the changes that their publisher was told are made."""
    worst_s: float = 0.0
    """Longest wait of a change while nothing was broken."""
    _lasting: int = 0
    _quiet_s: float = 0.0
    _looked: int = 0
    _known: dict[tuple[str, int, str], Version] = field(default_factory=dict)
    """The last version that each life of a worker knew, by list."""

    async def while_(self, fault: Callable[[], Awaitable[None]]) -> None:
        """Play a fault of the list store, or what a person does after one."""
        self._lasting += 1
        try:
            await fault()
        finally:
            self._lasting -= 1
            self._quiet_s = max(self._quiet_s, self.world.loop.time() + RECOVERED_S)

    # In time.

    def look(self, followers: Iterable[tuple[HostedService, Refresher]]) -> None:
        """Look whether each worker enforces what is due. Called often."""
        loop = self.world.loop
        for at_s, text in loop.timeline[self._looked :]:
            word = text.split()[0]
            if word not in _DISTURBING or any(one in text for one in _ELSEWHERE):
                continue
            # A process that ended enforces none, until it starts again.
            if word in _ENDS and any(one in text for one in _FOLLOWERS):
                continue
            then_s = loop.time() - loop.past_s + at_s
            self._quiet_s = max(self._quiet_s, then_s + _DISTURBING[word])
        self._looked = len(loop.timeline)
        undisturbed = not self._lasting and loop.time() > self._quiet_s
        for worker, refresher in followers:
            if not worker.runs or worker.paused:
                continue
            for name in self.names:
                self._remember(worker, refresher, name)
                late = self._unseen(refresher, name)
                # What a fail-over lost and nobody put back is named, and waits for a person.
                if late is None or not undisturbed or name in refresher.behind:
                    continue
                waited_s = loop.time() - late.at_s
                self.worst_s = max(self.worst_s, waited_s)
                if waited_s > PROMISE_S:
                    self.bug(f"{worker.name} enforces {late} after {waited_s:.1f} s not yet")

    def _remember(self, worker: HostedService, refresher: Refresher, name: str) -> None:
        mark = refresher._sync.get(name)
        version = self.book.find(name, mark.chain) if mark is not None else None
        if version is not None:
            self._known[worker.name, worker.lives, name] = version

    def _unseen(self, refresher: Refresher, name: str) -> Version | None:
        """Return the oldest version that is published and not in force."""
        head = self._head(name)
        mark = refresher._sync.get(name)
        oldest = None
        if head is None and mark is not None:
            versions = reversed(self.book.versions.get(name, {}).values())
            return next((one for one in versions if one.op == "delete"), None)
        for version in ancestors(head):
            if mark is not None and version.chain == mark.chain:
                return oldest
            oldest = version
        return oldest

    def _head(self, name: str) -> Version | None:
        keys = self.store.nodes[self.store.primary].database.keys
        key = "rf:allow:head" if name == ALLOWLIST else f"rf:list:{{{name}}}"
        head = keys.get(key.encode())
        return self.book.find(name, head[b"chain"].decode()) if head else None

    # For good.

    def check(self, workers: Iterable[HostedService], numbers: Iterable[str]) -> None:
        """Look whether all that was acknowledged is there, once all is settled."""
        for wrong in self.book.wrong:
            self.bug(wrong)
        lives = {worker.name: worker.lives for worker in workers if worker.runs}
        known = [
            version for (who, life, _), version in self._known.items() if lives.get(who) == life
        ]
        may_lose = self.store.fail_overs > 0
        for name in self.names:
            versions = list(self.book.versions.get(name, {}).values())
            for number in numbers:
                self._check(name, number, versions, known if may_lose else None)

    def _check(
        self, name: str, number: str, versions: list[Version], known: list[Version] | None
    ) -> None:
        """`known` None: nothing can be lost."""
        touching = [one for one in versions if _touches(one, number)]
        last = next((one for one in reversed(touching) if one.reason in self.acknowledged), None)
        if last is None:
            return
        if known is not None and not any(last in ancestors(one) for one in known):
            return
        before = set(map(id, ancestors(last)))
        allowed = [_said(one, number) for one in touching if id(one) not in before]
        head = self._head(name)
        if _said(head, number) not in [*allowed, _said(last, number)]:
            self.bug(f"{name}: {number} of {last} was acknowledged and is lost: {head}")


def _touches(version: Version, number: str) -> bool:
    return version.number == number or version.op in _TOUCH_ALL or version.what in _TOUCH_ALL


def _said(version: Version | None, number: str) -> frozenset[str] | None:
    content: Mapping[str, frozenset[str]] | None = version.content if version is not None else None
    return (content or {}).get(number)
