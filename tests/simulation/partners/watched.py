"""Invariants where feeds are followed, checked in the list store itself.

All the time: what is accepted is a complete version that the gate may let through, and the list
holds that version, or what leads from it to a later one. At the end: the newest one is in force.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from stream.feeds.feed import VersionRecord
from stream.feeds.gate import GateReason
from stream.lists.store import redis_keys
from stream.lists.store.bases import FINGERPRINT, BaseLayout, Unpacking
from tests.simulation.partners.hosts import RETRY_S_MOST
from tests.simulation.partners.publications import NUMBERS, OURS, Publications
from tests.simulation.store.database import Args
from tests.simulation.store.ensemble import Ensemble
from tests.simulation.store.node import Node
from tests.simulation.store.published import Book, Content, Version
from tests.simulation.world import World
from tests.support.builders import fingerprint_of

SETTLED_S = 36.0 + 25.0 + 20.0 + 1.2 * RETRY_S_MOST + 10.0
"""So long after faults the newest version is in force: `exchange run` finds its list store again
and publishes, the follower finds its own, a fetch hangs until its deadline_s, the longest wait
after a failure (`retry_s_most`, and jitter), and then one fetch in its turn (`every`)."""
DUE_S = 8.0
"""So long after its publication where nothing is broken: `every`, its jitter, and the work."""
_LOOK_S = 0.5
_KNOWN = {fingerprint_of(number): number for number in (*NUMBERS, OURS)}
_OLDER = GateReason.OLDER.value


class FollowedBook(Book):
    """The book of a list store whose bases nobody foretells: it reads them, and no sources."""

    node: Node

    def took(self, node: Node, effects: tuple[Args, ...]) -> None:
        """Take what a primary wrote in one change."""
        self.node = node
        super().took(node, effects)

    def _based(
        self, name: str, said: Mapping[str, Any], before: Version | None, reason: str
    ) -> Content:
        if said["what"] == "import":
            self.mean(reason, dict.fromkeys(self._numbers(name, said["base"]), frozenset()))
        return super()._based(name, said, before, reason)

    def _numbers(self, name: str, generation: int) -> list[str]:
        keys, key = self.node.database.keys, redis_keys.base(name, generation)
        layout = msgspec.json.decode(keys[key.encode()][b"layout"], type=BaseLayout)
        unpacking = Unpacking(layout)
        for number in range(layout.blobs):
            unpacking.take(keys[f"{key}:{number}".encode()])
        found = np.frombuffer(unpacking.parts()[FINGERPRINT], "<u8").tolist()
        return [_KNOWN[fingerprint] for fingerprint in dict.fromkeys(found)]


@dataclass
class Watched:
    """Watches the followed lists of one store. `bug` is called with what no fault explains."""

    world: World
    store: Ensemble
    book: Book
    lists: Sequence[Publications]
    bug: Callable[[str], None]
    accepted: int = 0
    worst_s: float = 0.0
    lasting: int = 0
    _quiet_s: float = 0.0
    _cuts: int = 0
    expired: Callable[[VersionRecord, float], bool] = lambda *_: False
    """Tells whether nothing vouched for a version any more at a moment."""
    _greatest: dict[str, int] = field(default_factory=dict)

    async def while_(self, fault: Callable[[], Awaitable[None]]) -> None:
        """Play a fault."""
        self.lasting += 1
        try:
            await fault()
        finally:
            self.lasting -= 1
            self.disturbed()

    def disturbed(self) -> None:
        """Note a fault that is over."""
        self._quiet_s = self.world.loop.time() + SETTLED_S

    @property
    def state(self) -> object:
        """Return the state of the lists in one sentence."""
        return tuple((self._place(of), of.newest) for of in self.lists)

    # What is written.

    def took(self, node: Node, effects: tuple[Args, ...]) -> None:
        """Take what a primary wrote in one change."""
        self.book.took(node, effects)
        for args in effects:
            for of in self.lists:
                if args[:2] == (b"HSET", redis_keys.feed(of.feed).encode()):
                    fields = dict(zip(args[2::2], args[3::2], strict=True))
                    self._recorded(of, fields)

    def _recorded(self, of: Publications, fields: dict[bytes, bytes]) -> None:
        for name in (b"accepted", b"held", b"refused"):
            if fields.get(name):
                record = msgspec.json.decode(fields[name], type=VersionRecord)
                self.world.loop.note(of.feed, record.verdict, record.id, record.reason)
                self._judged(of, record, accepted=name == b"accepted")

    def _judged(self, of: Publications, record: VersionRecord, *, accepted: bool) -> None:
        place = of.place(of.name_of(record))
        good = place is not None and of.versions[place].good
        what = f"{of.feed}: version {record.id}"
        if not accepted:
            # Of a signed repository nothing older may come as far as the gate.
            if good and not (record.reason == _OLDER and of.forgets):
                self.bug(f"{what} was published, and is {record.verdict}: {record.findings}")
            return
        self.accepted += 1
        if place is None:
            self.bug(f"{what} is accepted, and was never published: {record.origin}")
        elif of.versions[place].barred:
            self.bug(f"{what} is accepted, and has a number of ours")
        elif self.expired(record, self.world.loop.wall_s):
            self.bug(f"{what} is accepted, and has expired")
        elif not (self.store.fail_overs and of.forgets) and place < self._greatest.get(of.feed, -1):
            self.bug(f"{what} is accepted after a newer one")
        else:
            self._greatest[of.feed] = max(place, self._greatest.get(of.feed, -1))

    # What is in force.

    def look(self) -> None:
        """Look at the lists as their primary has them. Called often."""
        for of in self.lists:
            if wrong := self._wrong(of):
                self.bug(f"{of.list_name}: {wrong}")
        if self.book.wrong:
            self.bug(self.book.wrong[0])
        for node in self.store.nodes.values():
            if unknown := node.database.unknown:
                self.bug(f"the model of Redis has no {unknown[0]}")
        self._look_at_time()

    def _look_at_time(self) -> None:
        loop, network = self.world.loop, self.world.network
        if network.cuts > self._cuts:
            self._cuts = network.cuts
            self._quiet_s = max(self._quiet_s, loop.time() + SETTLED_S)
        if self.lasting or loop.time() < self._quiet_s:
            return
        for of in self.lists:
            due = of.due(loop.time(), DUE_S)
            # The first look comes within ten seconds of the start.
            if loop.past_s > 30.0 and self._place(of) < due:
                self.bug(f"{of.list_name}: version {due} is not in force in time")

    def _keys(self) -> dict[bytes, Any]:
        return self.store.nodes[self.store.primary].database.keys

    def _record(self, of: Publications) -> VersionRecord | None:
        fields = self._keys().get(redis_keys.feed(of.feed).encode(), {})
        said = fields.get(b"accepted")
        return msgspec.json.decode(said, type=VersionRecord) if said else None

    def _place(self, of: Publications) -> int:
        """Return the place of the version that was accepted last; -1: there is none."""
        record = self._record(of)
        place = of.place(of.name_of(record)) if record is not None else None
        return -1 if place is None else place

    def _wrong(self, of: Publications) -> str:
        head = self._keys().get(redis_keys.head(of.list_name).encode())
        record = self._record(of)
        if head is None:
            return "" if record is None else "it is gone"
        version = self.book.find(of.list_name, head[b"chain"].decode())
        if version is None:
            return f"its head {head} is no step that was made"
        exactly = record is not None and record.generation == int(head[b"generation"])
        return of.wrong(version.content or {}, self._place(of), exactly=exactly)

    # At the end.

    async def until_settled(self) -> None:
        """Wait until the newest versions are in force."""
        loop = self.world.loop
        began_s = loop.time()
        while left := next(self._left(), ""):
            if loop.time() > began_s + SETTLED_S:
                self.bug(f"{SETTLED_S:g} s after calm {left}; {self._faults()}")
                return
            await asyncio.sleep(_LOOK_S)
        self.worst_s = loop.time() - began_s
        self.look()

    def _faults(self) -> str:
        """Return what the feeds' states say is wrong with their last try."""
        said = []
        for of in self.lists:
            fields = self._keys().get(redis_keys.feed(of.feed).encode(), {})
            text = b": ".join(fields.get(name, b"") for name in (b"fault", b"detail"))
            said.append(f"{of.feed}: {text.decode()}")
        return ", ".join(said)

    def _left(self) -> Iterator[str]:
        for of in self.lists:
            if self._place(of) != of.newest:
                yield f"{of.list_name} has version {self._place(of)}, and not {of.newest}"
            elif wrong := of.wrong(self._numbers(of), of.newest, exactly=True):
                yield f"{of.list_name}: {wrong}"

    def _numbers(self, of: Publications) -> list[str]:
        head = self._keys().get(redis_keys.head(of.list_name).encode(), {})
        version = self.book.find(of.list_name, head.get(b"chain", b"").decode())
        return list((version.content if version is not None else None) or {})
