"""The doors of a history: `serve` and `serve-sip`, who asks them, faults, and what must hold.

Drawn apart from the rest of a plan, as the list side is, and only where lists change. Each door is
the product's own service with a follower of its own; clients come and misbehave.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from stream.config.settings import Settings
from stream.core.filters.blocklists import Blocklists
from stream.edge.http.problems import ProblemKind
from stream.edge.http.tokens import Client, ClientRole, Tokens, digest_of
from stream.engine.live_lookup import LiveLookup
from stream.lists.follower.list_events import ListEvent, OnEvent
from stream.lists.follower.refresh import Refresher
from stream.services import http, sip
from tests.simulation.clients import Clients
from tests.simulation.fault_kinds import FaultKinds
from tests.simulation.followed import InForce, SimulatedLists
from tests.simulation.http_clients import TOKEN, HttpClients
from tests.simulation.sip_clients import NETWORK, SipClients
from tests.simulation.worker import HostedService
from tests.simulation.world import World
from tests.support.builders import blocklists

SHARE = 0.2
"""Of the seeds with lists that change have doors."""
SETTLED_S = 30.0
"""So long after the last fault every client is answered, and no connection is left open."""
CONNECTIONS_MAX, TASKS_MAX = 6, 60
"""Most connections of a door in a simulation, and most tasks: some of each connection."""
_ASKED_MAX = 10_000
_LOOK_S, _REFUSED_S = 0.25, 0.5
_HTTP_PATIENCE = {"header_s_max": 2.0, "idle_s_max": 3.0, "answer_s_max": 2.0}
_SIP_PATIENCE = {
    "message_s_max": 2.0,
    "idle_s_max": 5.0,
    "connections_each_max": 3,
    "strangers_per_s": 5.0,
    "requests_per_s": 10_000.0,
}


@dataclass(frozen=True)
class DoorFaults(FaultKinds):
    """Faults of the doors and of links to them."""

    door_kill: float = 0.0
    door_power: float = 0.0
    door_pause: float = 0.0
    door_stop: float = 0.0
    door_clock: float = 0.0
    door_block: float = 0.0


@dataclass(frozen=True)
class DoorPlan:
    """All that a seed draws of its doors."""

    faults: DoorFaults
    conversations: int
    lost: float
    twice: float

    @classmethod
    def of(cls, seed: int) -> "DoorPlan | None":
        """Draw it; None: there are no doors."""
        rng = Random(f"doors of {seed}")
        if rng.random() >= SHARE:
            return None
        return cls(
            faults=DoorFaults.some(rng, 0.33),
            conversations=rng.choice((15, 30)),
            lost=rng.choice((0.0, 0.05, 0.3)),
            twice=rng.choice((0.0, 0.05, 0.3)),
        )

    def without(self) -> Iterator["DoorPlan | None"]:
        """Yield plans with a kind of fault less, and at last that without doors."""
        for faults in self.faults.without():
            yield replace(self, faults=faults)
        yield None


class FollowedLookup(SimulatedLists, LiveLookup):
    """The product's lookup; the lists that it takes are checked, and noted by their moment."""

    def __init__(self, door: "Door", *given: Any) -> None:
        self._door = door
        super().__init__(*given)

    def current(self) -> Blocklists:
        """Return the lists: what is asked now is answered from them."""
        self._door.took(self.refresher)
        return super().current()

    def _list_event(self, event: ListEvent) -> None:
        super()._list_event(event)
        self._door.told(event)


@dataclass(frozen=True, slots=True)
class Taken:
    """The numbers that a door blocked at a moment. `loaded`: it had lists at all."""

    at_s: float
    blocked: frozenset[str]
    loaded: bool


class Door(HostedService):
    """One door over all its lives. `in_force` checks the lists that it takes."""

    in_force: InForce
    taken: list[Taken]
    refresher: Refresher
    told: OnEvent
    asked_by: type[Clients]
    port: int

    def took(self, refresher: Refresher) -> None:
        """Note the lists with which it answers now."""
        blocked = self.in_force.check(self.name, refresher)
        live = self._service._live if self._service is not None else None
        loaded = live is not None and live.refresher is refresher and live.loaded
        self.taken.append(Taken(self.world.loop.time(), blocked, loaded))

    def answers_from(self, blocked: frozenset[str]) -> bool:
        """Return whether it has lists, and these are the numbers on them."""
        self.took(self.refresher)
        return self.taken[-1].loaded and self.taken[-1].blocked == blocked

    def between(self, first_s: float, last_s: float) -> Iterator[Taken]:
        """Yield what it took from one moment to another."""
        for one in reversed(self.taken):
            if one.at_s < first_s:
                return
            if one.at_s <= last_s:
                yield one

    @property
    def open(self) -> bool:
        """True unless it was asked to end: then it leaves its group, and follows no list."""
        return self._service is not None and not self._service.stopping.is_set()

    @property
    def tasks(self) -> int:
        """The tasks of its process."""
        if self._process is None or not self.runs:
            return 0
        self._process.tasks = [one for one in self._process.tasks if not one.done()]
        return len(self._process.tasks)

    @property
    def queued(self) -> int:
        """Decisions of lookups that wait to be stored."""
        keep = self._service._live.lookup.keep if self.runs and self._service else None
        return len(keep.__self__._asked) if keep is not None else 0

    @property
    def faults(self) -> str:
        """Faults of its own that it counts; "": none."""
        return ""

    def _following(self, service: Any) -> Any:
        self.refresher = service._live.refresher
        return service


class HttpDoor(Door):
    """`ringfence serve`."""

    asked_by = HttpClients

    def _made(self) -> Any:
        with patch.object(http, "LiveLookup", partial(FollowedLookup, self)):
            return self._following(http._Serving(self.settings, (), None))

    @property
    def faults(self) -> str:
        """Faults of its own that it counts; "": none."""
        if self._service is None:
            return ""
        count = self._service._metrics.problems.labels(ProblemKind.BUG)._value.get()
        return f"{count:g} faults of its own" if count else ""


class SipDoor(Door):
    """`ringfence serve-sip`."""

    asked_by = SipClients

    def _made(self) -> Any:
        with patch.object(sip, "LiveLookup", partial(FollowedLookup, self)):
            return self._following(sip._Answering(self.settings, None))


@dataclass
class Doors:
    """The doors of one history. `settings` are those of a process with the list store."""

    world: World
    plan: DoorPlan
    numbers: Sequence[str]
    in_force: InForce
    note: Callable[[str, ListEvent], None]
    bug: Callable[[str], None]
    doors: list[Door] = field(init=False, default_factory=list)
    clients: list[Clients] = field(init=False, default_factory=list)
    _lasting: int = field(init=False, default=0)
    _quiet_s: float = field(init=False, default=0.0)
    _crowded_s: dict[str, float] = field(init=False, default_factory=dict)

    def start(self, settings: Settings, folder: Path) -> None:
        """Start the doors."""
        network, plan = self.world.network, self.plan
        network.weather = replace(network.weather, lost=plan.lost, twice=plan.twice)
        self._hosted(HttpDoor, "door-http", settings.serve.port, settings, folder)
        self._hosted(SipDoor, "door-sip", settings.sip.port, settings, folder)
        for door in self.doors:
            door.start()

    def _hosted(
        self, made: type[Door], name: str, port: int, settings: Settings, folder: Path
    ) -> None:
        http_patience: dict[str, Any] = _HTTP_PATIENCE
        sip_patience: dict[str, Any] = _SIP_PATIENCE
        switch = (digest_of(TOKEN), Client("switch", ClientRole.SWITCH))
        settings = replace(
            settings,
            serve=replace(settings.serve, connections_max=CONNECTIONS_MAX, **http_patience),
            sip=replace(
                settings.sip,
                connections_max=CONNECTIONS_MAX,
                trunks={f"{NETWORK}0/24": "intl-1"},
                **sip_patience,
            ),
            secrets=replace(settings.secrets, http_tokens=Tokens((switch,))),
            lists=replace(settings.lists, state_dir=str(folder / name)),
        )
        door = made(self.world, name, settings, blocklists(), self.bug)
        door.in_force, door.taken, door.port = self.in_force, [], port
        door.told = partial(self.note, name)
        door.on_end = self._disturbed
        self.doors.append(door)
        self.clients.append(door.asked_by(self.world, door, self.numbers, self.bug))

    async def load(self, seconds: float) -> None:
        """Let clients come for so long."""
        rng, count = self.world.rng, self.plan.conversations
        for _ in range(count):
            await asyncio.sleep(rng.expovariate(count / seconds))
            rng.choice(self.clients).come()

    # Faults.

    def jobs(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """Yield each kind of fault with its mean time."""
        for kind in self.plan.faults.kinds:
            fault = getattr(self, f"_{kind.removeprefix('door_')}")
            yield getattr(self.plan.faults, kind), partial(self._while, fault)

    async def _while(self, fault: Callable[[Door], Awaitable[None]]) -> None:
        self._lasting += 1
        try:
            await fault(self.world.rng.choice(self.doors))
        finally:
            self._lasting -= 1
            self._disturbed()

    def _disturbed(self) -> None:
        self._quiet_s = self.world.loop.time()

    async def _kill(self, door: Door, *, reset: bool = True) -> None:
        door.kill(reset=reset)
        await asyncio.sleep(self.world.rng.expovariate(0.5))
        door.start()

    async def _power(self, door: Door) -> None:
        await self._kill(door, reset=False)

    async def _pause(self, door: Door) -> None:
        rng = self.world.rng
        door.pause()
        await asyncio.sleep(rng.choice((rng.expovariate(2), rng.expovariate(0.1))))
        door.resume()

    async def _stop(self, door: Door) -> None:
        door.stop()
        await asyncio.sleep(self.world.rng.expovariate(0.3))
        door.start()

    async def _clock(self, door: Door) -> None:
        """Let a door's time of day jump."""
        door.clock.off_s = self.world.rng.choice((0.0, -3600.0, 3600.0, -1.0, 1.0))

    async def _block(self, door: Door) -> None:
        """Block the links of a door to some of its clients."""
        rng, network = self.world.rng, self.world.network
        (hosts,) = (one.hosts for one in self.clients if one.door is door)
        chosen = [name for name in hosts if rng.random() < 0.5]
        for name in chosen:
            network.block(door.name, name)
        await asyncio.sleep(rng.expovariate(0.25))
        for name in chosen:
            network.heal(door.name, name)

    async def calm(self) -> None:
        """End all faults of doors."""
        for door in self.doors:
            door.clock.off_s = 0.0
            door.resume()
            door.start()
        self._disturbed()

    # What must hold.

    def check(self) -> None:
        """Look at the bounds of the doors, and who waits for an answer without a reason."""
        # One that was asked to end before the calm may do so after it, and is away then.
        if any(door.leaves or not door.runs for door in self.doors):
            self._disturbed()
        quiet_s = self.world.loop.time() if self._lasting else self._quiet_s
        # An exception of a protocol ends no process: the loop logs it, and the bytes are lost.
        # Python 3.11's streams, which only the servers here use, log a cancelled task as one.
        for what in self.world.loop.unhandled:
            if what.startswith("Exception in callback") and "StreamReaderProtocol" not in what:
                self.bug(what)
        for door, clients in zip(self.doors, self.clients, strict=True):
            clients.check(quiet_s)
            if door.tasks > TASKS_MAX or door.queued > _ASKED_MAX:
                self.bug(f"{door.name} has {door.tasks} tasks, {door.queued} decisions to store")
            if door.faults:
                self.bug(f"{door.name} counts {door.faults}")
            self._check_crowd(door, len(clients.open()))

    def _check_crowd(self, door: Door, ends: int) -> None:
        """Look whether more connections are open than it takes, for longer than a refusal lasts.

        All that waited behind a link, or for a door that was paused, come at once (seeds 8000320,
        130004700).
        """
        now_s = self.world.loop.time()
        if ends <= CONNECTIONS_MAX or door.paused:
            self._crowded_s.pop(door.name, None)
        elif now_s - self._crowded_s.setdefault(door.name, now_s) > _REFUSED_S:
            self.bug(f"{door.name} has {ends} connections open for {_REFUSED_S:g} s")

    async def until_settled(self, blocked: Callable[[HostedService], frozenset[str]]) -> None:
        """Wait until all clients are gone and all doors are there; then ask about every number."""
        loop = self.world.loop
        ends_s = loop.time() + SETTLED_S

        def unsettled() -> Iterator[str]:
            yield from (one.left() for one in self.clients)
            # One that was asked to end just before may do so only now, and comes again.
            yield from (f"{door.name} is away" for door in self.doors if door.leaves)

        while left := next(filter(None, unsettled()), ""):
            if loop.time() > ends_s:
                self.bug(f"{SETTLED_S:g} s after calm {left}")
                return
            await asyncio.sleep(_LOOK_S)
        for door, clients in zip(self.doors, self.clients, strict=True):
            # One that has just come again has its lists of before until the list store answers.
            # Perhaps nobody asked it yet: all that was sent by UDP was lost (seed 110003314).
            while not door.answers_from(blocked(door)):
                if loop.time() > ends_s:
                    break
                await asyncio.sleep(_LOOK_S)
            await self.world.process(clients.hosts[0]).run(clients.ask_all())
            if not door.answers_from(blocked(door)):
                last = door.taken[-1]
                self.bug(f"{door.name} answers at the end from {sorted(last.blocked)}")
