"""One history with partners: feeds that are followed, faults that the seed draws, what must hold.

The hosts and the network misbehave as in other histories, and the partners' servers besides.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.simulation.history import Broken, Result
from tests.simulation.loop import PROCESS, Process
from tests.simulation.partners.apart import children
from tests.simulation.partners.country import SignedPartner, keys_by
from tests.simulation.partners.hosts import PROCESSES_MAX, FeedsHost, feeds_settings
from tests.simulation.partners.plan import PartnerPlan
from tests.simulation.partners.publications import LARGE, PlainPartner
from tests.simulation.partners.strands import stranded
from tests.simulation.partners.watched import FollowedBook, Watched
from tests.simulation.partners.web import Web
from tests.simulation.partners.wires import wired
from tests.simulation.plan import Plan
from tests.simulation.store.accidents import Accidents
from tests.simulation.store.ensemble import Ensemble
from tests.simulation.worker import Hosted
from tests.simulation.world import World

_LOOK_S = 0.25
_AMID = 0.02
"""Of all writes of a publication are the last that their process makes, where it is killed."""
_FOLLOWER = "th"
_JUMPS_S = (0.0, 60.0, -60.0, 3600.0, -3600.0, 86_400.0 * 2)


@dataclass
class PartnerHistory:
    """One run of one plan."""

    plan: Plan
    partners: PartnerPlan
    world: World = field(init=False)
    store: Ensemble = field(init=False)
    host: FeedsHost = field(init=False)
    plain: PlainPartner = field(init=False)
    signed: SignedPartner | None = field(init=False, default=None)
    webs: list[Web] = field(init=False, default_factory=list)
    watched: Watched = field(init=False)
    broken: list[str] = field(init=False, default_factory=list)
    _states: set[object] = field(init=False, default_factory=set)
    _tasks: list["asyncio.Task[None]"] = field(init=False, default_factory=list)

    def run(self) -> Result:
        """Play it. Raises Broken with the timeline."""
        plan = self.plan
        self.world = World(plan.order, plan.weather, plan.pace, turn_s=plan.turn_s)
        with tempfile.TemporaryDirectory(prefix="ringfence-history-") as folder:
            try:
                self.world.run(lambda _: self._apart(Path(folder)))
            except Exception as error:
                raise Broken(self._told(f"{type(error).__name__}: {error}")) from error
        if self.broken:
            raise Broken(self._told(self.broken[0]))
        loop, seen = self.world.loop, self.watched
        states = frozenset(self._states)
        return Result(loop.trace, loop.past_s, seen.accepted, states, seen.worst_s)

    def _told(self, what: str) -> str:
        loop = self.world.loop
        lines = [f"{at_s:9.3f}  {text}" for at_s, text in loop.timeline]
        return "\n".join([f"{self.plan}", *lines, f"{loop.past_s:9.3f}  BROKEN: {what}"])

    async def _apart(self, folder: Path) -> None:
        loop = self.world.loop
        with stranded(loop, self._wrote), children(loop), wired(loop), keys_by(self.world):
            await self._play(folder)

    async def _play(self, folder: Path) -> None:
        world, drawn = self.world, self.partners
        self.plain = PlainPartner(world, summed=drawn.summed)
        count = 3 if drawn.sentinels else 0
        self.store = Ensemble(world.network, drawn.pace, 3 if count else 1, count)
        partners: list[PlainPartner | SignedPartner] = [self.plain]
        if drawn.signed:
            self.signed = SignedPartner(world, folder / SignedPartner.NAME, self._bug)
            partners.append(self.signed)
        lists = [partner.said for partner in partners]
        self.watched = Watched(world, self.store, FollowedBook(), lists, self._bug)
        self.store.committed = self.watched.took
        await self.store.start()
        feeds = folder / "feeds"
        feeds.mkdir()
        for partner in partners:
            self.webs.append(Web(world, partner.HOST, partner.content, 2 * LARGE))
            await self.webs[-1].start()
            (feeds / f"{partner.said.feed}.toml").write_text(partner.feed_file())
        if self.signed is not None:
            web = self.webs[-1]
            self.signed.mood = lambda: web.mood
            if not drawn.faults.feeds_clock:
                self.watched.expired = self.signed.expired
            await self.signed.start()
        self.host = FeedsHost(world, _FOLLOWER, feeds_settings(folder, self.store), self._bug)
        self.host.on_order = self._ended
        self.plain.publish(good=True)
        await asyncio.sleep(1.0)
        self.host.start()
        watch = asyncio.create_task(self._watch())
        self._begin()
        await self._load()
        await self._calm()
        await self.watched.until_settled()
        watch.cancel()
        await self._end()

    def _bug(self, what: str) -> None:
        self.world.loop.note("BUG", what)
        self.broken.append(what)

    async def _load(self) -> None:
        """Let partners publish, for as long as faults last."""
        rng, drawn = self.world.rng, self.partners
        ends_s = self.world.loop.time() + drawn.seconds
        while self.world.loop.time() < ends_s and not self.broken:
            await asyncio.sleep(rng.expovariate(drawn.versions / drawn.seconds))
            if self.signed is not None and rng.random() < 0.5:
                await self.signed.publisher.change()
            else:
                self.plain.publish()

    def _wrote(self) -> None:
        """Look at what is published after each write to a disk; at times kill its writer there."""
        process = PROCESS.get()
        if self.signed is None or process is None or process.name != SignedPartner.NAME:
            return
        if torn := self.signed.torn():
            self._bug(f"the publication of {SignedPartner.NAME}: {torn}")
        if self.partners.faults.exchange_kill and self._tasks and self.world.rng.random() < _AMID:
            self.watched.disturbed()
            if process is self.signed.person:
                process.kill()
                return
            self.signed.host.kill()
            later_s = self.world.rng.expovariate(0.5)
            self.world.loop.call_later(later_s, self.signed.host.start, context=Context())

    async def _watch(self) -> None:
        while not self.broken:
            await asyncio.sleep(_LOOK_S)
            self.watched.look()
            if self.host.processes > PROCESSES_MAX:
                self._bug(f"{_FOLLOWER} has {self.host.processes} processes")
            if self.world.loop.unhandled:
                self._bug(self.world.loop.unhandled[0])
            self._states.add(
                (
                    self.watched.state,
                    self.host.runs,
                    tuple(web.mood for web in self.webs),
                    self.watched.lasting,
                )
            )

    async def _end(self) -> None:
        """End in order."""
        if self.broken:
            return
        self.host.stop()
        for _ in range(100):
            if not self.host.runs:
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)  # children find their parent gone
        if self.host.processes:
            self._bug(f"{_FOLLOWER} does not end: {self.host.processes} processes")

    def _ended(self, process: Process) -> None:
        if left := self.host.left(process):
            self._bug(f"{_FOLLOWER} has ended and left {left}")

    # Faults.

    def _begin(self) -> None:
        accidents, faults = Accidents(self.store), self.partners.faults
        self._accidents = accidents
        self._home = Accidents(self.signed.store) if self.signed is not None else None
        for kind in faults.kinds:
            of, _, what = kind.partition("_")
            fault: Callable[[], Awaitable[None]]
            if of == "register":
                fault = partial(getattr(accidents, what), [_FOLLOWER])
            elif of == "home":
                assert self._home is not None
                fault = partial(getattr(self._home, what), [SignedPartner.NAME])
            elif of in ("feeds", "exchange") and hasattr(self, f"_{what}"):
                hosted = self.host if of == "feeds" else self.signed and self.signed.host
                fault = partial(getattr(self, f"_{what}"), hosted)
            else:
                fault = getattr(self, f"_{kind}")
            job = self._repeat(getattr(faults, kind), fault)
            self._tasks.append(asyncio.create_task(job))

    async def _repeat(self, mean_s: float, fault: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.world.rng.expovariate(1 / mean_s))
            await self.watched.while_(fault)

    async def _calm(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.world.loop.note("calm")
        self.world.network.calm()
        await self._accidents.calm()
        for web in self.webs:
            web.mood = ""
            if web.process is None or not web.process.alive:
                await web.start()
        self.host.clock.off_s = self.host.clock.drift = 0.0
        hosts: list[Hosted] = [self.host]
        if self.signed is not None and self._home is not None:
            await self._home.calm()
            hosts.append(self.signed.host)
        for host in hosts:
            host.disk_full(False)
            host.resume()
            host.start()
        self.plain.publish(good=True)
        if self.signed is not None:
            while not self.signed.clean_now:
                await self.signed.clean()
                await asyncio.sleep(_LOOK_S)

    async def _kill(self, host: Hosted, *, reset: bool = True) -> None:
        host.kill(reset=reset)
        await asyncio.sleep(self.world.rng.expovariate(0.5))
        host.start()

    async def _power(self, host: Hosted) -> None:
        await self._kill(host, reset=False)

    async def _pause(self, host: Hosted) -> None:
        rng = self.world.rng
        host.pause()
        await asyncio.sleep(rng.choice((rng.expovariate(2), rng.expovariate(0.1))))
        host.resume()

    async def _stop(self, host: Hosted) -> None:
        host.stop()
        await asyncio.sleep(self.world.rng.expovariate(0.3))
        host.start()

    async def _disk(self, host: Hosted) -> None:
        host.disk_full(True)
        await asyncio.sleep(self.world.rng.expovariate(0.2))
        host.disk_full(False)

    async def _exchange_rotate(self) -> None:
        """Let a person replace a key of the country."""
        assert self.signed is not None
        await self.signed.rotate()

    async def _feeds_clock(self) -> None:
        """Let the time of day jump on the follower's host, or run too fast or too slow."""
        rng, clock, past_s = self.world.rng, self.host.clock, self.world.loop.past_s
        clock.off_s, clock.since_s = rng.choice(_JUMPS_S), past_s
        clock.drift = rng.choice((0.0, 0.1, -0.1))
        self.world.loop.note("clock of", self.host.name, "off by", clock.off_s, clock.drift)

    async def _feeds_block(self) -> None:
        """Block the link to a partner."""
        web = self.world.rng.choice(self.webs)
        self.world.network.block(_FOLLOWER, web.host)
        await asyncio.sleep(self.world.rng.expovariate(0.2))
        self.world.network.heal(_FOLLOWER, web.host)

    async def _web_kill(self) -> None:
        web = self.world.rng.choice(self.webs)
        assert web.process is not None
        web.process.kill(reset=self.world.rng.random() < 0.5)
        await asyncio.sleep(self.world.rng.expovariate(0.3))
        await web.start()

    async def _web_mood(self) -> None:
        """Let a partner's server misbehave for a while."""
        rng = self.world.rng
        web = rng.choice(self.webs)
        web.mood = rng.choice(self.partners.moods)
        self.world.loop.note(web.host, "is", web.mood)
        await asyncio.sleep(rng.expovariate(0.1))
        self.world.loop.note(web.host, "is honest again")
        web.mood = ""
