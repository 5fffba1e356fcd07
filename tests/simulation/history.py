"""One history: workers, traffic, faults that the seed draws, and what must hold all the time."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stream.config.settings import Settings
from stream.core.filters.blocklists import Blocklists
from tests.simulation.doors import Door, Doors
from tests.simulation.faults import (
    CALLS,
    DECISIONS,
    GROUP,
    LAG_S_MAX,
    REJECTED,
    Explained,
    Faults,
    call,
)
from tests.simulation.kafka.partition_log import PartitionLog
from tests.simulation.listing import Listing
from tests.simulation.plan import Plan
from tests.simulation.reference import Reference, TopicReader, decision_in, origin_at, rejected_in
from tests.simulation.sinking import Sinking
from tests.simulation.worker import HostedService, Sink, Worker, settings_for
from tests.simulation.world import World
from tests.support.builders import blocklists, live
from tests.support.record_batches import ABORT, TRANSACTIONAL, Row, batch

S = TypeVar("S", bound=HostedService)
CALLERS = [f"+4477009001{number:02d}" for number in range(40)]
BLOCKED = frozenset(CALLERS[::5])
_LOOK_S = 1.0
TASKS_MAX, ANSWERS_MAX = 60, 6
"""Most that a worker holds: some tasks for each broker and commit, two answers of each broker."""
_OUTSIDER = 77
"""Producer id of somebody whose transactions among the calls are aborted."""


class Broken(AssertionError):
    """Something did not hold. The message has the history's timeline."""


@dataclass
class Result:
    """The outcome of a history: for reports, and to compare two runs of it."""

    trace: str
    past_s: float
    calls: int
    states: frozenset[object]
    """The states that were seen, coarsely: a plan that reached new ones is worth changing."""
    worst_s: float
    """Longest virtual time from a call's writing until it was seen to be decided."""


@dataclass
class History:
    """One run of one plan."""

    plan: Plan
    world: World = field(init=False)
    reference: Reference = field(init=False)
    listing: Listing | None = field(init=False, default=None)
    sinking: Sinking | None = field(init=False, default=None)
    doors: Doors | None = field(init=False, default=None)
    workers: list[Worker] = field(init=False)
    faults: Faults = field(init=False)
    explained: Explained = field(init=False)
    broken: list[str] = field(init=False, default_factory=list)
    worst_s: float = field(init=False, default=0.0)
    most: tuple[int, int] = field(init=False, default=(0, 0))
    """Most tasks and answers that a worker held."""
    _states: set[object] = field(init=False, default_factory=set)
    _calls: int = field(init=False, default=0)
    _checked: dict[int, int] = field(init=False, default_factory=dict)
    """Positions up to which all is known to be decided."""
    _sent: set[str] = field(init=False, default_factory=set)
    """The records that came so far, committed or not."""
    _readers: dict[tuple[str, bool], TopicReader] = field(init=False)

    def run(self) -> Result:
        """Play it. Raises Broken with the timeline."""
        plan = self.plan
        self.world = World(plan.order, plan.weather, plan.pace, turn_s=plan.turn_s)
        self.reference = Reference(BLOCKED, plan.exactly_once)
        lists = blocklists(live("KH/scam", *sorted(BLOCKED)))
        with tempfile.TemporaryDirectory(prefix="ringfence-history-") as folder:
            try:
                self.world.run(lambda _: self._play(Path(folder), lists))
            except Exception as error:
                raise Broken(self._told(f"{type(error).__name__}: {error}")) from error
        if self.broken:
            raise Broken(self._told(self.broken[0]))
        loop, states = self.world.loop, frozenset(self._states)
        return Result(loop.trace, loop.past_s, self._calls, states, self.worst_s)

    def _told(self, what: str) -> str:
        loop = self.world.loop
        lines = [f"{at_s:9.3f}  {text}" for at_s, text in loop.timeline]
        return "\n".join([f"{self.plan}", *lines, f"{loop.past_s:9.3f}  BROKEN: {what}"])

    async def _play(self, folder: Path, lists: Blocklists) -> None:
        world, plan = self.world, self.plan
        await world.start()
        for topic, partitions in ((CALLS, 4), (DECISIONS, 3), (REJECTED, 1)):
            world.cluster.create(topic, partitions)
        self._readers = {
            (topic, committed): TopicReader(partial(self._logs, topic), committed=committed)
            for topic in (DECISIONS, REJECTED)
            for committed in (True, False)
        }
        self.workers = []
        self.explained = Explained(world)
        if plan.lists is not None:
            self.listing = Listing(world, plan.lists, CALLERS, folder, self._bug)
            self.reference.in_force = self.listing.in_force.verdicts
            await self.listing.start(settings_for(world.cluster.bootstrap, folder))
            self.explained.after(LAG_S_MAX)  # workers wait for their lists
        for number in range(plan.workers):
            name = f"worker-{number}"
            settings = settings_for(
                world.cluster.bootstrap,
                folder / name,
                delivery="exactly_once" if plan.exactly_once else "at_least_once",
                instance_id=name if plan.named else "",
            )
            worker = self._hosted(Worker, name, settings, lists)
            worker.on_end = lambda: self.explained.after(LAG_S_MAX)
            self.workers.append(worker)
        await self._start_sinks(folder, lists)
        self._start_doors(folder)
        self.faults = Faults(world, plan, self.workers, self.reference, self.explained)
        self.faults.write = self._write
        for worker in self.workers:
            worker.start()
        watch = asyncio.create_task(self._watch())
        load = asyncio.create_task(self._load())
        self.faults.begin()
        changes = self._changes()
        await asyncio.sleep(plan.faults_s)
        await self.faults.calm(self.listing, self.sinking, self.doors)
        await load
        await changes
        await self._until_decided()
        sinks = self.sinking.sinks if self.sinking is not None else []
        if self.listing is not None:
            await self.listing.until_settled([*self.faults.there, *sinks, *self._doors])
        if self.sinking is not None:
            await self.sinking.until_settled()
        if self.listing is not None and self.doors is not None:
            await self.doors.until_settled(self.listing.blocked_by)
        watch.cancel()
        self._check()

    def _hosted(self, made: type[S], name: str, settings: Settings, fixed: Blocklists) -> S:
        if self.listing is None:
            return made(self.world, name, settings, fixed, self._bug)
        settings = self.listing.settings(settings)
        return made(self.world, name, settings, fixed, self._bug, self.listing.lists_of)

    async def _start_sinks(self, folder: Path, lists: Blocklists) -> None:
        plan, listing = self.plan.sinks, self.listing
        if plan is None:
            return

        def blocked() -> frozenset[str]:
            return BLOCKED if listing is None else listing.blocked_by(sinking.sinks[0])

        logs, fixed = partial(self._logs, DECISIONS), listing is None
        free_ms = {} if listing is None else listing.in_force.free_ms
        sinking = Sinking(self.world, plan, logs, blocked, free_ms, self._bug, fixed=fixed)
        await sinking.start()
        base = settings_for(self.world.cluster.bootstrap, folder)
        for number in range(plan.sinks):
            name = f"sink-{number}"
            settings = sinking.settings(base, folder / name)
            sinking.sinks.append(self._hosted(Sink, name, settings, lists))
        for sink in sinking.sinks:
            sink.start()
        self.sinking = sinking

    def _start_doors(self, folder: Path) -> None:
        plan, listing = self.plan.doors, self.listing
        if plan is None or listing is None:
            return
        doors = Doors(self.world, plan, CALLERS, listing.in_force, listing.note, self._bug)
        base = listing.settings(settings_for(self.world.cluster.bootstrap, folder))
        doors.start(base, folder)
        for door in doors.doors:
            listing.watch(door)
        self.doors = doors

    @property
    def _doors(self) -> list[Door]:
        return self.doors.doors if self.doors is not None else []

    def _changes(self) -> "asyncio.Future[Any]":
        """Change lists, let clients ask, and begin the faults of list store, sinks and doors."""
        for side in (self.sinking, self.doors):
            for mean_s, fault in side.jobs() if side is not None else ():
                self.faults.repeat("", mean_s, fault)
        if self.listing is None:
            return asyncio.ensure_future(asyncio.sleep(0))
        for mean_s, fault in self.listing.jobs([*self.workers, *self._doors]):
            self.faults.repeat("list store", mean_s, fault)
        seconds = self.plan.faults_s
        loads = [self.listing.load(seconds)]
        if self.doors is not None:
            loads.append(self.doors.load(seconds))
        return asyncio.gather(*loads)

    def _bug(self, what: str) -> None:
        # Looks find it again each second, and a timeline is to be read.
        if what not in self.broken:
            self.world.loop.note("BUG", what)
            self.broken.append(what)

    # Traffic.

    async def _load(self) -> None:
        rng = self.world.rng
        for _ in range(self.plan.batches):
            await asyncio.sleep(rng.expovariate(self.plan.batches / self.plan.faults_s))
            self._write(rng.randrange(len(self.world.cluster.topics[CALLS].partitions)))

    def _write(self, partition: int) -> None:
        """Let the switch write some calls; some are none, some are of a transaction that fails."""
        world, rng = self.world, self.world.rng
        log, now_s = world.cluster.log(CALLS, partition), world.loop.time()
        aborted = rng.random() < 0.15
        rows, first = [], log.end
        for delta in range(rng.randrange(1, 30)):
            self._calls += 1
            call_id, caller = f"c{self._calls}", rng.choice(CALLERS)
            garbage = rng.random() < 0.02
            rows.append(Row(delta, b"no call" if garbage else call(call_id, caller)))
            if not aborted:
                place = (partition, first + delta)
                self.reference.write(place, "" if garbage else call_id, caller, now_s)
        now_ms = world.loop.wall_ms
        bits, producer = (TRANSACTIONAL, _OUTSIDER) if aborted else (0, -1)
        if aborted:
            log.producers.pop(producer, None)
        log.append(batch(0, rows, bits, producer, times_ms=(now_ms, now_ms)))
        if aborted:
            log.mark(producer, 0, ABORT)
        world.cluster.wake()

    # What must hold.

    async def _watch(self) -> None:
        while not self.broken:
            await asyncio.sleep(_LOOK_S)
            self._check()
            self._check_bounds()
            if self.listing is not None:
                self.listing.look([*self.workers, *(one for one in self._doors if one.open)])
            self._states.add(self._state())

    def _state(self) -> object:
        """Return what a person would say of the world in one sentence."""
        cluster = self.world.cluster
        group = cluster.group(GROUP)
        return (
            self.plan.exactly_once,
            self.plan.named,
            group.state,
            len(group.members),
            bool(group.pending),
            tuple(sorted(worker.stands for worker in self.workers)),
            len(cluster.alive()),
            frozenset(one.phase for one in cluster.transactions.known.values()),
            bool(self.reference.left),
            self.explained.kinds,
        )

    async def _until_decided(self) -> None:
        loop = self.world.loop
        ends_s = loop.time() + 3 * LAG_S_MAX
        while (left := self._left()) and not self.broken:
            if loop.time() > ends_s:
                self._bug(f"{len(left)} left {3 * LAG_S_MAX:g} s after calm: {left[:3]}")
            await asyncio.sleep(_LOOK_S)

    def _left(self) -> list[str]:
        """Return calls without outcome, and partitions whose position is not at the end."""
        self._read()
        offsets = self.world.cluster.group(GROUP).offsets
        lag = []
        for number, log in enumerate(self._logs(CALLS)):
            if self.faults.made_again and (CALLS, number) not in offsets:
                continue  # the group forgot a position of the new topic with the former (103285)
            position = offsets.get((CALLS, number), (0, ""))[0]
            # Behind the last call nobody has a record to commit; retention may have cut it off.
            if min(self.reference.ends.get(number, 0), log.end) > max(position, log.start):
                lag.append(f"{CALLS}/{number} at {position} of {log.end}")
        left = [origin for origin in self.reference.left if not self.faults.passed_over(origin)]
        return left or lag

    def _check(self) -> None:
        """Check what came since the last look, and what waits."""
        if self.broken:
            return
        self._read()
        self.faults.look()
        for side in (self.sinking, self.doors):
            if side is not None:
                side.check()
        now_s = self.world.loop.time()
        for origin, written in self.reference.left.items():
            until_s = self.explained.until_s(written.at_s)
            if now_s > until_s + _LOOK_S and not self.faults.passed_over(origin):
                self._bug(
                    f"{origin} waits for {now_s - written.at_s:.1f} s, "
                    f"{now_s - until_s:.1f} s longer than its faults explain"
                )
                return
        if not self.reference.others and not self.broken:
            self._check_positions()

    def _check_bounds(self) -> None:
        """A worker holds no more tasks and answers than it ever needs, however long it runs."""
        for worker in self.workers:
            tasks, answers = worker.held()
            self.most = (max(self.most[0], tasks), max(self.most[1], answers))
            if tasks > TASKS_MAX or answers > ANSWERS_MAX:
                self._bug(f"{worker.name} holds {tasks} tasks, {answers} answers")

    def _read(self) -> None:
        """Take in what readers of committed records got."""
        now_s, came = self.world.loop.time(), []
        for record in self._readers[DECISIONS, True].read():
            decision = decision_in(record)
            came.append((decision["origin"], self.reference.decided(decision)))
        for record in self._readers[REJECTED, True].read():
            origin = rejected_in(record)
            came.append((origin, self.reference.rejected(origin)))
        for origin, fault in came:
            if fault:
                self._bug(fault)
                return
            if origin in self.reference.written:
                waited_s = now_s - self.reference.written[origin].at_s
                self.worst_s = max(self.worst_s, waited_s)

    def _check_positions(self) -> None:
        """A position never runs ahead of what is decided, or will be: its marker is on its way."""
        for (topic, number), (position, _) in self.world.cluster.group(GROUP).offsets.items():
            checked = self._checked.get(number, 0)
            if topic != CALLS or position <= checked:
                continue
            self._sent.update(
                decision_in(one)["origin"] for one in self._readers[DECISIONS, False].read()
            )
            self._sent.update(rejected_in(one) for one in self._readers[REJECTED, False].read())
            self._checked[number] = position
            for offset in range(checked, position):
                origin = origin_at(CALLS, number, offset)
                known = self._sent if origin not in self.reference.excused else (origin,)
                if origin in self.reference.written and origin not in known:
                    self._bug(f"{origin} is not decided, and the position is {position}")
                    return

    def _logs(self, topic: str) -> list[PartitionLog]:
        return [led.log for led in self.world.cluster.topics[topic].partitions]


def played(plan: Plan) -> Result:
    """Play the history that a plan is of. Raises Broken."""
    if plan.partners is not None:
        from tests.simulation.partners.history import PartnerHistory

        return PartnerHistory(plan, plan.partners).run()
    return History(plan).run()


def timeline(plan: Plan) -> str:
    """Return what a plan's history says where it breaks."""
    try:
        return f"it does not break: {played(plan)}"
    except Broken as broken:
        return str(broken)


def reduced(plan: Plan) -> Plan:
    """Return the plan with the fewest kinds of fault that still breaks."""
    for smaller in plan.without():
        try:
            played(smaller)
        except Broken:
            return reduced(smaller)
    return plan
