"""The list side of a history: a list store, publishers, faults of both, and what must hold.

Drawn apart from the rest of a plan: a seed's other faults stay what they are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from stream.config.settings import Settings
from stream.lists.follower.list_events import ListEvent, OnEvent
from stream.lists.follower.refresh import Refresher
from tests.simulation.doors import Door
from tests.simulation.fault_kinds import FaultKinds
from tests.simulation.followed import FollowedLists, InForce
from tests.simulation.promised import Promises
from tests.simulation.publisher import HOST, LISTS, Publisher
from tests.simulation.store.accidents import Accidents
from tests.simulation.store.ensemble import MASTER, Ensemble, StorePace
from tests.simulation.store.published import ALLOWLIST, Book
from tests.simulation.worker import HostedService, Worker
from tests.simulation.world import World
from tests.support.builders import fingerprint_of

SHARE = 0.15
"""Of all seeds have a list store: such a history costs three times the CPU of another."""
SETTLED_S = 60.0
"""So long after the last fault all workers enforce what the list store has."""
REPAIRED_S = 30.0
"""So long after that, and a person's repair of what no follower could put back."""
_LOOK_S = 0.25


@dataclass(frozen=True)
class ListFaults(FaultKinds):
    """Faults of the list store and its publisher."""

    store_kill: float = 0.0
    store_power: float = 0.0
    store_split: float = 0.0
    store_pause: float = 0.0
    store_full: float = 0.0
    store_block: float = 0.0
    publisher_kill: float = 0.0


@dataclass(frozen=True)
class ListPlan:
    """All that a seed draws of its list side."""

    faults: ListFaults
    pace: StorePace
    sentinels: bool
    changes: int

    @classmethod
    def of(cls, seed: int) -> "ListPlan | None":
        """Draw it; None: the lists are fixed."""
        rng = Random(f"list side of {seed}")
        if rng.random() >= SHARE:
            return None
        faults = ListFaults.some(rng, 0.33)
        if Random(f"quiet lists of {seed}").random() < 0.25:
            faults = ListFaults()  # then each change is in force within a second
        return cls(
            faults=faults,
            pace=StorePace(
                lag_s=rng.choice((0.0005, 0.005, 0.5)),
                notice_s=rng.choice((1.0, 3.0)),
                tell_s=rng.choice((0.05, 0.5)),
                ahead_s=rng.choice((0.0, 0.0, 2.0)),
            ),
            sentinels=rng.random() < 0.7,
            changes=rng.choice((8, 20)),
        )

    def without(self) -> Iterator["ListPlan | None"]:
        """Yield plans with a kind of fault less, and at last that of fixed lists."""
        for faults in self.faults.without():
            yield replace(self, faults=faults)
        yield None


class Listing:
    """The list store, its publisher and the lists of all workers, in one history."""

    def __init__(
        self,
        world: World,
        plan: ListPlan,
        numbers: Sequence[str],
        folder: Path,
        bug: Callable[[str], None],
    ) -> None:
        self.world, self.plan, self.rng = world, plan, world.rng
        self.book = Book()
        count = 3 if plan.sentinels else 0
        self.store = Ensemble(
            world.network, plan.pace, 3 if count else 1, count, committed=self.book.took
        )
        self.accidents = Accidents(self.store)
        known = {fingerprint_of(number): number for number in numbers}
        self.in_force = InForce(world.loop, self.book, known, bug)
        self.promises = Promises(world, self.store, self.book, (ALLOWLIST, *LISTS), bug)
        self.repairs = 0
        self._bug, self._folder, self._numbers = bug, folder, list(numbers)
        self._publisher: Publisher | None = None
        self._lists: dict[str, FollowedLists | Door] = {}

    def settings(self, settings: Settings) -> Settings:
        """Return a worker's settings with this list store."""
        if self.plan.sentinels:
            redis = replace(settings.redis, sentinels=self.store.addresses, sentinel_master=MASTER)
        else:
            redis = replace(settings.redis, url=self.store.url)
        return replace(settings, redis=redis)

    async def start(self, settings: Settings) -> None:
        """Start the servers, and make the lists."""
        await self.store.start()
        office = self._folder / HOST
        office.mkdir()
        self._publisher = Publisher(
            self.world,
            self.settings(settings).list_store(),
            self.book,
            self._numbers,
            office,
            self._bug,
            self.promises.acknowledged,
        )
        # By default wired to each replica a moment later.
        await asyncio.sleep(1.0)
        await self._publisher.begin()

    def lists_of(self, worker: HostedService, settings: Settings, told: OnEvent) -> FollowedLists:
        """Return the lists of a new life of a worker."""

        def noted(event: ListEvent) -> None:
            self.note(worker.name, event)
            told(event)

        lists = FollowedLists(settings, noted)
        lists.watched, lists.who = self.in_force, worker.name
        lists.decides = isinstance(worker, Worker)
        self._lists[worker.name] = lists
        return lists

    def note(self, name: str, event: ListEvent) -> None:
        """Note an event of a process' lists."""
        # The folder has another name in each process, and counts for no trace.
        detail = event.detail.replace(f"{self._folder}/", "")
        self.world.loop.note(name, event.kind, event.list_name, detail)

    def watch(self, door: Door) -> None:
        """Watch the lists of a door, which has its own follower, as those of workers."""
        self._lists[door.name] = door

    def jobs(
        self, workers: Sequence[HostedService]
    ) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """Yield each kind of fault with its mean time."""
        clients = [*(worker.name for worker in workers), HOST]
        for kind in self.plan.faults.kinds:
            of, _, what = kind.partition("_")
            fault = getattr(self.accidents, what) if of == "store" else self._publisher_kill
            played = partial(self.promises.while_, partial(fault, clients))
            yield getattr(self.plan.faults, kind), played

    async def load(self, seconds: float) -> None:
        """Make changes for so long: one after another, or some at one moment."""
        assert self._publisher is not None
        loop = self.world.loop
        ends_s = loop.time() + seconds
        while loop.time() < ends_s:
            await asyncio.sleep(self.rng.expovariate(self.plan.changes / seconds))
            at_once = self.rng.choice((1, 1, 1, 3))
            await asyncio.gather(*(self._publisher.change() for _ in range(at_once)))

    # Faults.

    async def _publisher_kill(self, _: Sequence[str]) -> None:
        assert self._publisher is not None
        if self._publisher.process.alive:
            await asyncio.sleep(self.rng.expovariate(30))
            self._publisher.process.kill()

    async def calm(self) -> None:
        """End all faults of the list store."""
        await self.accidents.calm()

    # What must hold.

    def blocked_by(self, worker: HostedService) -> frozenset[str]:
        """Return the numbers that a process blocks now."""
        return self.in_force.check(worker.name, self._refresher(worker))

    def look(self, workers: Sequence[HostedService]) -> None:
        """Look whether what was changed is enforced in time."""
        self.promises.look(
            (one, self._refresher(one)) for one in workers if one.name in self._lists
        )

    async def until_settled(self, workers: Sequence[HostedService]) -> None:
        """Wait until all workers enforce what the list store has, if need be after a repair."""
        if not await self._settled_within(SETTLED_S, workers):
            await self._repaired(workers)
        self.promises.check(workers, self._numbers)

    async def _repaired(self, workers: Sequence[HostedService]) -> None:
        assert self._publisher is not None
        for worker in workers:
            for name in self._refresher(worker).lost:
                self.repairs += 1
                folder = Path(worker.settings.lists.state_dir)
                # What it brings is due from now on, however old.
                await self.promises.while_(partial(self._publisher.repair, name, folder))
        if not await self._settled_within(REPAIRED_S, workers):
            self._bug(
                f"lists differ {SETTLED_S + REPAIRED_S:g} s after calm: {self._left(workers)}"
            )

    async def _settled_within(self, seconds: float, workers: Sequence[HostedService]) -> bool:
        loop = self.world.loop
        ends_s = loop.time() + seconds
        while self._left(workers):
            if loop.time() > ends_s:
                return False
            await asyncio.sleep(_LOOK_S)
        for worker in workers:
            self.in_force.check(worker.name, self._refresher(worker))
        return True

    def _refresher(self, worker: HostedService) -> Refresher:
        return self._lists[worker.name].refresher

    def _left(self, workers: Sequence[HostedService]) -> str:
        """Return where a worker's lists are not the list store's; "": nowhere."""
        keys = self.store.nodes[self.store.primary].database.keys
        heads = {name: keys.get(f"rf:list:{{{name}}}".encode()) for name in LISTS}
        for worker in workers:
            if worker.name not in self._lists:
                return f"{worker.name} has no lists"
            refresher = self._refresher(worker)
            live = {one.name: one for one in refresher.current.lists}
            for name, head in heads.items():
                if (head is None) != (name not in live):
                    return f"{worker.name}: {name} is in one and not in the other"
                if head is None:
                    continue
                mark, chain = refresher._sync.get(name), head[b"chain"].decode()
                version = self.book.find(name, chain)
                if mark is None or (mark.generation, mark.chain) != (
                    int(head[b"generation"]),
                    chain,
                ):
                    return f"{worker.name}: {name} at {mark}, not {head}"
                if version is None or self.in_force.content(live[name]) != version.content:
                    return f"{worker.name}: {name} has other numbers than {head}"
            if set(live) - set(LISTS):
                return f"{worker.name} enforces {sorted(live)}"
            allowed = set(refresher.current.allow.numbers)
            if allowed != {text.decode() for text in keys.get(b"rf:allow", {})}:
                return f"{worker.name}: another allowlist: {sorted(allowed)}"
            if refresher.behind:
                return f"{worker.name} is behind in {refresher.behind}"
        return ""
