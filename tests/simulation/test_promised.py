"""Promises of `tests.simulation.promised`: each way to break one is seen."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.lists.follower.sync_state import ListPosition
from tests.simulation.promised import PROMISE_S, RECOVERED_S, STARTED_S, Promises
from tests.simulation.store.published import Book, Version

NAME, NUMBER = "KH/scam", "+447700900101"
WITH = {NUMBER: frozenset({"police"})}


class Watched:
    """A list that was made, and a number that was added to it and acknowledged 100 s later."""

    def __init__(self) -> None:
        self.bugs: list[str] = []
        self.timeline: list[tuple[float, str]] = []
        self.worker = SimpleNamespace(name="worker", lives=1, runs=True, paused=False)
        self.mark = ListPosition(1, "a")
        self.keys: dict[bytes, Any] = {}
        self.book = Book()
        made = Version(NAME, 1, "a", "create", {}, None, reason="made")
        added = Version(NAME, 2, "b", "add", WITH, made, NUMBER, reason="added", at_s=100.0)
        self.other = Version(NAME, 2, "c", "add", {}, made, "+447700900102", reason="else")
        self.book.versions[NAME] = {one.chain: one for one in (made, added, self.other)}
        self.now_s = 100.0
        self.loop = SimpleNamespace(timeline=self.timeline, past_s=0.0, time=lambda: self.now_s)
        node = SimpleNamespace(database=SimpleNamespace(keys=self.keys))
        self.store = SimpleNamespace(primary=0, nodes={0: node}, fail_overs=0)
        self.head("b")
        world = SimpleNamespace(loop=self.loop)
        parts = cast("tuple[Any, Any]", (world, self.store))
        self.promises = Promises(*parts, self.book, (NAME,), self.bugs.append)
        self.promises.acknowledged |= {"made", "added"}

    def head(self, chain: str) -> None:
        """Let the list store be at a version."""
        self.keys[f"rf:list:{{{NAME}}}".encode()] = {b"chain": chain.encode()}

    def look(self, after_s: float) -> list[str]:
        """Look so long after the number was added; what was wrong."""
        self.now_s = self.loop.past_s = 100.0 + after_s
        refresher = SimpleNamespace(_sync=SimpleNamespace(get=lambda _: self.mark), behind=())
        self.promises.look(cast("Any", [(self.worker, refresher)]))
        return self.bugs

    def check(self) -> list[str]:
        """Look whether what was acknowledged is there; what was wrong."""
        self.promises.check(cast("Any", [self.worker]), [NUMBER])
        return self.bugs


def test_a_change_that_is_not_enforced_within_a_second_is_seen():
    """Where nothing is broken; one that is enforced is not waited for."""
    watched = Watched()
    assert not watched.look(PROMISE_S)
    watched.mark = ListPosition(2, "b")
    assert not watched.look(PROMISE_S + 1)
    watched.mark = ListPosition(1, "a")
    assert "not yet" in watched.look(PROMISE_S + 2)[0]


@pytest.mark.parametrize(
    ("event", "explains_s"),
    [
        ("kill redis-0", RECOVERED_S),
        ("cut worker-0:1-redis-0:6379", RECOVERED_S),
        ("start worker-0", STARTED_S),
    ],
)
def test_a_disturbance_explains_a_wait_for_a_while(event, explains_s):
    """One of a broker explains none."""
    watched = Watched()
    watched.timeline.append((100.0, event))
    assert not watched.look(explains_s)
    assert watched.look(explains_s + 1)
    watched = Watched()
    watched.timeline.append((100.0, "kill kafka-0"))
    assert watched.look(PROMISE_S + 1)


def test_an_acknowledged_change_that_is_lost_is_seen():
    """Without a fail-over nothing can be lost; after one, nothing that a running worker knew."""
    watched = Watched()
    watched.timeline.append((0.0, "start worker-0"))
    assert not watched.check()
    watched.head("c")
    assert "is lost" in watched.check()[0]
    watched.bugs.clear()
    watched.store.fail_overs = 1
    assert not watched.check(), "nobody knew it"
    watched.mark = ListPosition(2, "b")
    watched.look(-99.0)
    assert "is lost" in watched.check()[0]
    watched.bugs.clear()
    watched.worker.lives = 2
    assert not watched.check(), "who knew it was killed"
