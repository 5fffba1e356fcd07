"""The product in a simulation: the own code of workers and sinks, from topics to the last commit.

Of the process only the shell is left out: signals, health pages, logs. In most histories the
follower of the list store is replaced by lists that do not change. A process that ends by a fault
is started again, as systemd does it.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings, load
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements
from stream.core.model.errors import Fault
from stream.engine.live_lists import tell
from stream.lists.follower.list_events import OnEvent
from stream.ops.kernels import KernelStatus
from stream.services.redis_sink import RedisSinkService
from stream.services.worker import _Worker
from tests.simulation.loop import Clock, Process
from tests.simulation.world import World

AGAIN_S = 1.0
"""Until a worker that ended is started again: systemd's `RestartSec` in our unit."""
_DEFAULTS = load([], {})


def settings_for(bootstrap: str, state_dir: Path, **calls: Any) -> Settings:
    """Return the default settings for a simulated cluster; `calls` are of the section `[calls]`.

    Sessions are the shortest that transactions allow: a history is to see many of them end.
    """
    short = {"session_timeout_ms": 13_000, "rebalance_timeout_ms": 13_000, "emit": "all"}
    return replace(
        _DEFAULTS,
        kafka=replace(_DEFAULTS.kafka, bootstrap_servers=bootstrap),
        calls=replace(_DEFAULTS.calls, **{**short, **calls}),
        lists=replace(_DEFAULTS.lists, state_dir=str(state_dir)),
    )


class FixedLists:
    """Lists that are there from the beginning and stay as they are."""

    def __init__(self, blocklists: Blocklists) -> None:
        self._blocklists = blocklists
        self.agreements = AgreementFolder(None)

    def current(self) -> Blocklists:
        """Return the lists."""
        return self._blocklists

    def agreed(self) -> Agreements:
        """Return the agreements: none are needed."""
        return self.agreements.reading.agreements

    async def load(self) -> KernelStatus:
        """Return that the kernels are in use: the tests have switched them on."""
        return KernelStatus("", 0.0)

    async def run(self) -> None:
        """Follow nothing."""
        await asyncio.Event().wait()

    async def wait_loaded(self) -> None:
        """They are there."""

    async def watch_agreements(self) -> None:
        """Watch nothing."""
        await asyncio.Event().wait()


class Hosted:
    """One process of the product on a host of its own, over all its lives.

    `bug` is called with what no fault of the world explains. `ended` counts lives that ended by a
    Fault, which is allowed: the next life goes on.
    """

    def __init__(
        self, world: World, name: str, settings: Settings, bug: Callable[[str], None]
    ) -> None:
        self.world, self.name, self.settings = world, name, settings
        self.ended = self.lives = 0
        self.clock = Clock()
        self.on_end: Callable[[], None] = lambda: None
        """Called when a life ends by a fault."""
        self.on_order: Callable[[Process], None] = lambda _: None
        """Called when a life has ended in order, with all that is left of its process."""
        self._disk_full = False
        self._bug = bug
        self._process: Process | None = None
        self._service: Any = None
        self._wanted = False
        self.leaves = False
        """True from the moment it is asked to end until its next life."""

    def _made(self) -> Any:
        """Return the service of a new life."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Let go of what its kernel lets go of when it dies."""

    @property
    def runs(self) -> bool:
        """True if its process is there, paused or not."""
        return self._process is not None and self._process.alive

    @property
    def paused(self) -> bool:
        """True if its process is stopped where it is."""
        return self._process is not None and self._process.alive and self._process.paused

    def start(self) -> None:
        """Start its process, unless there is one."""
        self._wanted = True
        if self.runs:
            return
        self.lives += 1
        self.leaves = False
        self.world.loop.note("start", self.name)
        self._process = process = self.world.process(self.name)
        process.clock, process.disk_full = self.clock, self._disk_full
        process.run(self._life(process))

    def disk_full(self, full: bool) -> None:
        """Let there be no room on its disk, or room again."""
        if full != self._disk_full:
            self.world.loop.note(self.name, "has a full disk" if full else "has room on its disk")
        self._disk_full = full
        if self._process is not None:
            self._process.disk_full = full

    def stop(self) -> None:
        """Ask it to end in order, as SIGTERM does."""
        self._wanted = False
        if self.runs and self._service is not None:
            self.leaves = True
            self._service.stop("SIGTERM")

    def kill(self, *, reset: bool = True) -> None:
        """End it between two callbacks; `reset` False: with its host."""
        self._wanted = False
        if self._process is not None and self._process.alive:
            if not reset:
                self.world.network.off.add(self.name)
            self._process.kill(reset=reset)
            self._let_go()

    def pause(self) -> None:
        """Stop it where it is."""
        if self._process is not None and self.runs and not self.paused:
            self._process.pause()

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None and self.paused:
            self._process.resume()

    async def _life(self, process: Process) -> None:
        service = self._service = self._made()
        try:
            await service._until_stopped()
        except Fault as fault:
            self.ended += 1
            self.on_end()
            self.world.loop.note(self.name, "ended:", type(fault).__name__, fault)
        except Exception as error:  # noqa: BLE001 - a bug of any kind is what we look for
            if self.world.loop.is_running():  # else the history is over, and is put away
                self._bug(f"{self.name} crashed: {error!r}")
        else:
            self.world.loop.note(self.name, "ended in order")
            self.on_order(process)
        # From outside of it, as its supervisor: the process is gone with all its connections.
        self.world.loop.call_soon(self._gone, process, context=Context())

    def _gone(self, process: Process) -> None:
        process.kill()
        if self._wanted:
            self.world.loop.call_later(AGAIN_S, self._again)

    def _again(self) -> None:
        if self._wanted:
            self.start()


class HostedService(Hosted):
    """A process that reads a topic and knows lists.

    `lists` makes the lists of a new life; None: they are `blocklists` and stay so.
    """

    def __init__(
        self,
        world: World,
        name: str,
        settings: Settings,
        blocklists: Blocklists,
        bug: Callable[[str], None],
        lists: Callable[["HostedService", Settings, OnEvent], Any] | None = None,
    ) -> None:
        super().__init__(world, name, settings, bug)
        self._blocklists, self._new_lists = blocklists, lists

    def _lists_for(self, told: OnEvent) -> Any:
        """Return the lists of a new life."""
        if self._new_lists is None:
            return FixedLists(self._blocklists)
        return self._new_lists(self, self.settings, told)

    @property
    def stands(self) -> str:
        """Return its state, in one word."""
        if not self.runs:
            return "gone"
        source = self._service._source if self._service is not None else None
        if self.paused or source is None:
            return "paused" if self.paused else "starting"
        return "revoking" if source.revoking else "reading" if source.assigned else "joining"

    def knows(self, topic: str) -> UUID | None:
        """Return the topic's id as this life knows it; None: it has not read the topic yet."""
        source = self._service._source if self._service is not None else None
        found = source._topic_ids.get(topic) if self.runs and source is not None else None
        return found.topic if found is not None else None

    def held(self) -> tuple[int, int]:
        """Return how many tasks it has, and how many answers of brokers it keeps for later."""
        source = self._service._source if self._service is not None else None
        if self._process is None or source is None or not self.runs:
            return 0, 0
        tasks = self._process.tasks = [one for one in self._process.tasks if not one.done()]
        fetched = getattr(source._reader, "_fetched", None)
        return len(tasks), len(fetched._answers) if fetched is not None else 0

    def configure(self, **calls: Any) -> None:
        """Let the next life have other settings of the section `[calls]`."""
        self.settings = replace(self.settings, calls=replace(self.settings.calls, **calls))


class Worker(HostedService):
    """One worker."""

    def _made(self) -> _Worker:
        service = _Worker(self.settings, None)
        service._lists = self._lists_for(service._metrics.list_event)
        return service

    def _let_go(self) -> None:
        # The lock on its crash notes; the note stays as it is.
        if self._service is not None and self._service._crashes is not None:
            self._service._crashes.close()
            self._service._crashes = None


class Sink(HostedService):
    """One sink of keys for SIP proxies."""

    def _made(self) -> RedisSinkService:
        service = RedisSinkService(self.settings)
        service._lists = self._lists_for(tell)
        return service
