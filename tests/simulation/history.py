"""One history: workers, traffic, faults that the seed draws, and what must hold all the time.

Swarm testing: a seed draws which kinds of fault there are at all, and how often each. So some
histories have one kind alone and often, which a mixture of all would drown.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import Any

from stream.config.settings import Settings
from stream.core.filters.blocklists import Blocklists
from tests.simulation.kafka.cluster import Pace
from tests.simulation.kafka.partition_log import PartitionLog
from tests.simulation.listing import Listing, ListPlan
from tests.simulation.network import Weather
from tests.simulation.reference import Reference, decisions_in, rejected_in
from tests.simulation.worker import Worker, settings_for
from tests.simulation.world import World
from tests.support.builders import blocklists, live
from tests.support.record_batches import ABORT, TRANSACTIONAL, Row, batch

CALLERS = [f"+4477009001{number:02d}" for number in range(40)]
BLOCKED = frozenset(CALLERS[::5])
CALLS, DECISIONS, REJECTED, GROUP = "calls", "decisions", "calls.rejected", "ringfence"
LAG_S_MAX = 90.0
"""So long after the last fault all calls are decided and committed: a session that ends, a
rebalance, a transaction that the broker aborts, and the longest back-offs between them."""
_LOOK_S = 1.0
_OUTSIDER = 77
"""Producer id of somebody whose transactions among the calls are aborted."""


@dataclass(frozen=True)
class Swarm:
    """The faults of one history: for each kind the mean time between two in seconds; 0: never."""

    broker_kill: float = 0.0
    broker_power: float = 0.0
    leader_move: float = 0.0
    coordinator_move: float = 0.0
    hang_up: float = 0.0
    link_block: float = 0.0
    worker_kill: float = 0.0
    worker_power: float = 0.0
    worker_pause: float = 0.0
    worker_stop: float = 0.0
    partitions: float = 0.0
    topic_again: float = 0.0

    @classmethod
    def drawn(cls, rng: Random) -> "Swarm":
        """Draw about a third of the kinds. Topics change rarely, as they do."""
        means = {one.name: rng.uniform(1.0, 8.0) for one in fields(cls) if rng.random() < 0.33}
        if rng.random() < 0.7:
            means.pop("topic_again", None)
        return cls(**means)

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds that there are."""
        return [one.name for one in fields(self) if getattr(self, one.name)]


@dataclass(frozen=True)
class Plan:
    """All that a seed draws before a history begins."""

    seed: int
    swarm: Swarm
    weather: Weather
    pace: Pace
    exactly_once: bool
    named: bool
    workers: int
    faults_s: float
    batches: int
    turn_s: float
    lists: ListPlan | None = None
    """None: the lists are fixed."""

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """Draw the plan of a seed."""
        rng = Random(seed)
        return cls(
            seed=seed,
            swarm=Swarm.drawn(rng),
            weather=Weather(
                delay_s=rng.choice((0.0002, 0.001, 0.01)),
                pieces=rng.choice((0.0, 0.3, 0.9)),
                cut=rng.choice((0.0, 0.0, 0.002, 0.01)),
                bytes_s=rng.choice((1e9, 1e9, 1e5)),
            ),
            pace=Pace(
                notice_s=rng.choice((0.2, 1.0, 5.0)),
                tell_s=rng.choice((0.01, 0.1, 0.5)),
                mark_s=rng.choice((0.002, 0.02, 0.2)),
            ),
            exactly_once=rng.random() < 0.5,
            named=rng.random() < 0.5,
            workers=rng.choice((1, 2, 2, 3)),
            faults_s=rng.choice((8.0, 15.0)),
            batches=rng.choice((20, 40)),
            turn_s=rng.choice((0.0, 0.0, 0.00002, 0.0002)),
            lists=ListPlan.of(seed),
        )

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of fault that there are."""
        return self.swarm.kinds + (self.lists.faults.kinds if self.lists is not None else [])

    def without(self) -> Iterator["Plan"]:
        """Yield plans that have one kind of fault less."""
        for kind in self.swarm.kinds:
            yield replace(self, swarm=replace(self.swarm, **{kind: 0.0}))
        if self.lists is not None:
            yield from (replace(self, lists=lists) for lists in self.lists.without())

    def __str__(self) -> str:
        delivery = "exactly once" if self.exactly_once else "at least once"
        kinds = ", ".join(self.kinds) or "no faults"
        lists = "lists that change" if self.lists is not None else "fixed lists"
        return f"seed {self.seed}: {self.workers} workers, {delivery}, {lists}: {kinds}"


class Broken(AssertionError):
    """Something did not hold. The message has the history's timeline."""


@dataclass
class Result:
    """The outcome of a history: for reports, and to compare two runs of it."""

    trace: str
    past_s: float
    calls: int
    worst_s: float
    """Longest virtual time from a call's writing until it was seen to be decided."""


@dataclass
class History:
    """One run of one plan."""

    plan: Plan
    world: World = field(init=False)
    reference: Reference = field(init=False)
    listing: Listing | None = field(init=False, default=None)
    workers: list[Worker] = field(init=False)
    broken: list[str] = field(init=False, default_factory=list)
    born: dict[str, float] = field(init=False, default_factory=dict)
    worst_s: float = field(init=False, default=0.0)
    _faulty: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    _calls: int = field(init=False, default=0)
    _gone: bool = field(init=False, default=False)
    _former: dict[int, int] = field(init=False, default_factory=dict)
    """Positions of partitions in the topic that was deleted, and worker lives until then."""
    _lives: int = field(init=False, default=0)
    _unaware: bool = field(init=False, default=False)
    """True if a worker ran then that had not read the topic yet."""
    _seen: tuple[int, ...] = field(init=False, default=())

    def run(self) -> Result:
        """Play it. Raises Broken with the timeline."""
        plan = self.plan
        self.world = World(plan.seed, plan.weather, plan.pace, turn_s=plan.turn_s)
        self.reference = Reference(BLOCKED)
        lists = blocklists(live("KH/scam", *sorted(BLOCKED)))
        with tempfile.TemporaryDirectory(prefix="ringfence-history-") as folder:
            try:
                self.world.run(lambda _: self._play(Path(folder), lists))
            except Exception as error:
                raise Broken(self._told(f"{type(error).__name__}: {error}")) from error
        if self.broken:
            raise Broken(self._told(self.broken[0]))
        return Result(self.world.loop.trace, self.world.loop.past_s, self._calls, self.worst_s)

    def _told(self, what: str) -> str:
        loop = self.world.loop
        lines = [f"{at_s:9.3f}  {text}" for at_s, text in loop.timeline]
        return "\n".join([f"{self.plan}", *lines, f"{loop.past_s:9.3f}  BROKEN: {what}"])

    async def _play(self, folder: Path, lists: Blocklists) -> None:
        world, plan = self.world, self.plan
        await world.start()
        for topic, partitions in ((CALLS, 4), (DECISIONS, 3), (REJECTED, 1)):
            world.cluster.create(topic, partitions)
        self.workers = []
        if plan.lists is not None:
            self.listing = Listing(world, plan.lists, CALLERS, folder, self._bug)
            self.reference.in_force = self.listing.in_force.verdicts
            await self.listing.start(settings_for(world.cluster.bootstrap, folder))
        for number in range(plan.workers):
            name = f"worker-{number}"
            settings = settings_for(
                world.cluster.bootstrap,
                folder / name,
                delivery="exactly_once" if plan.exactly_once else "at_least_once",
                instance_id=name if plan.named else "",
            )
            self.workers.append(self._worker(name, settings, lists))
        for worker in self.workers:
            worker.start()
        watch = asyncio.create_task(self._watch())
        load = asyncio.create_task(self._load())
        self._faulty = [
            asyncio.create_task(self._repeat(getattr(plan.swarm, kind), getattr(self, f"_{kind}")))
            for kind in plan.swarm.kinds
        ]
        changes = self._changes()
        await asyncio.sleep(plan.faults_s)
        await self._calm()
        await load
        await changes
        await self._until_decided()
        if self.listing is not None:
            await self.listing.until_settled(self.workers)
        watch.cancel()
        self._check(whole=True)

    def _worker(self, name: str, settings: Settings, fixed: Blocklists) -> Worker:
        if self.listing is None:
            return Worker(self.world, name, settings, fixed, self._bug)
        settings = self.listing.settings(settings)
        return Worker(self.world, name, settings, fixed, self._bug, self.listing.lists_of)

    def _changes(self) -> "asyncio.Task[None]":
        """Change lists, and begin the faults of the list store."""
        if self.listing is None:
            return asyncio.create_task(asyncio.sleep(0))
        for mean_s, fault in self.listing.jobs(self.workers):
            self._faulty.append(asyncio.create_task(self._repeat(mean_s, fault)))
        return asyncio.create_task(self.listing.load(self.plan.faults_s))

    def _bug(self, what: str) -> None:
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
        log = world.cluster.log(CALLS, partition)
        aborted = rng.random() < 0.15
        rows, first = [], log.end
        for delta in range(rng.randrange(1, 30)):
            self._calls += 1
            origin = f"{CALLS}/{partition}/{first + delta}"
            call = (f"c{self._calls}", rng.choice(CALLERS))
            fields_ = {"call_id": call[0], "caller": call[1], "callee": None}
            garbage = rng.random() < 0.02
            rows.append(Row(delta, b"no call" if garbage else json.dumps(fields_).encode()))
            if not aborted:
                self.reference.written[origin] = None if garbage else call
                self.born[origin] = world.loop.time()
        now_ms = int(world.loop.wall_s * 1000)
        bits, producer = (TRANSACTIONAL, _OUTSIDER) if aborted else (0, -1)
        content = batch(0, rows, bits, -1, times_ms=(now_ms, now_ms))
        if aborted:
            content = batch(0, rows, bits, producer, times_ms=(now_ms, now_ms))
            log.producers.pop(producer, None)
        log.append(content)
        if aborted:
            log.mark(producer, 0, ABORT)
        world.cluster.wake()

    # Faults.

    async def _repeat(self, mean_s: float, fault: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.world.rng.expovariate(1 / mean_s))
            await fault()

    async def _broker_kill(self, *, reset: bool = True) -> None:
        cluster = self.world.cluster
        alive = cluster.alive()
        if len(alive) < 2:
            return
        node = self.world.rng.choice(alive)
        cluster.kill(node, reset=reset)
        await asyncio.sleep(self.world.rng.expovariate(0.5))
        await self.world.start_broker(node)

    async def _broker_power(self) -> None:
        await self._broker_kill(reset=False)

    async def _leader_move(self) -> None:
        cluster, rng = self.world.cluster, self.world.rng
        topic = rng.choice(sorted(cluster.topics))
        partition = rng.randrange(len(cluster.topics[topic].partitions))
        cluster.move((topic, partition), rng.choice(list(self.world.nodes)))

    async def _coordinator_move(self) -> None:
        rng = self.world.rng
        self.world.cluster.move_slot(rng.randrange(4), rng.choice(list(self.world.nodes)))

    async def _hang_up(self) -> None:
        rng = self.world.rng
        self.world.cluster.upset[rng.choice((0, 1, 2, 3, 3, 3, 8, 9, 10, 11, 14, 24, 26, 28))] += (
            rng.randrange(1, 5)
        )

    async def _link_block(self) -> None:
        rng = self.world.rng
        one, other = rng.choice(self.workers).name, f"kafka-{rng.randrange(3)}"
        self.world.network.block(one, other)
        await asyncio.sleep(rng.expovariate(0.25))
        self.world.network.heal(one, other)

    async def _worker_kill(self, *, reset: bool = True) -> None:
        rng = self.world.rng
        worker = rng.choice(self.workers)
        worker.kill(reset=reset)
        await asyncio.sleep(rng.expovariate(0.5))
        worker.start()

    async def _worker_power(self) -> None:
        await self._worker_kill(reset=False)

    async def _worker_pause(self) -> None:
        rng = self.world.rng
        worker = rng.choice(self.workers)
        worker.pause()
        await asyncio.sleep(rng.choice((rng.expovariate(2), rng.expovariate(0.1))))
        worker.resume()

    async def _worker_stop(self) -> None:
        worker = self.world.rng.choice(self.workers)
        worker.stop()
        await asyncio.sleep(self.world.rng.expovariate(0.3))
        worker.start()

    async def _partitions(self) -> None:
        cluster = self.world.cluster
        cluster.add_partitions(CALLS, len(cluster.topics[CALLS].partitions) + 1)

    async def _topic_again(self) -> None:
        """Delete the topic and make it again: calls of the former that were not read are gone."""
        self._gone = True
        for (topic, number), (offset, _) in self.world.cluster.group(GROUP).offsets.items():
            if topic == CALLS:
                self._former[number] = max(offset, self._former.get(number, 0))
        self._lives = sum(worker.lives for worker in self.workers)
        self._unaware |= any(worker.runs and not worker.knows(CALLS) for worker in self.workers)
        self.reference.written.clear()
        self.born.clear()
        self.world.cluster.create(CALLS, len(self.world.cluster.topics[CALLS].partitions))

    async def _calm(self) -> None:
        """End all faults: brokers and workers run, links are open, nobody hangs up."""
        for task in self._faulty:
            task.cancel()
        world = self.world
        world.loop.note("calm")
        world.network.calm()
        world.cluster.upset.clear()
        for node in world.nodes:
            if node not in world.cluster.alive():
                await world.start_broker(node)
        if self.listing is not None:
            await self.listing.calm()
        for worker in self.workers:
            worker.resume()
            worker.start()

    # What must hold.

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._check(whole=False)

    async def _until_decided(self) -> None:
        loop = self.world.loop
        ends_s = loop.time() + LAG_S_MAX
        while self._left():
            if loop.time() > ends_s:
                left = self._left()
                self._bug(f"{len(left)} calls undecided {LAG_S_MAX:g} s after calm: {left[:3]}")
                return
            await asyncio.sleep(_LOOK_S)

    def _left(self) -> list[str]:
        """Return calls without outcome, and partitions whose position is not at the end."""
        missing = self.reference.missing(self._decided(), self._rejected())
        offsets = self.world.cluster.group(GROUP).offsets
        lag = [
            f"{CALLS}/{number} at {offsets.get((CALLS, number), (0, ''))[0]} of {log.end}"
            for number, log in enumerate(self._logs(CALLS))
            if self._last_call(number) > offsets.get((CALLS, number), (0, ""))[0]
        ]
        return [origin for origin in missing if not self._passed_over(origin)] or lag

    def _passed_over(self, origin: str) -> bool:
        """Return whether a worker cannot know better: it reads the topic since it was made again.

        Topic ids are known to a process alone, from its first assignment on. One that reads later
        finds the former topic's position, and passes over what lies before it.
        """
        _, number, offset = origin.split("/")
        again = self._unaware or sum(worker.lives for worker in self.workers) > self._lives
        # Behind the end it is refused, and then all is read.
        former = self._former.get(int(number), 0)
        return again and int(offset) < former <= self._logs(CALLS)[int(number)].end

    def _last_call(self, partition: int) -> int:
        """Return the offset behind the last call of a partition; 0: it has none."""
        calls = [
            int(origin.rpartition("/")[2])
            for origin in self.reference.written
            if origin.startswith(f"{CALLS}/{partition}/")
        ]
        return max(calls, default=-1) + 1

    def _check(self, *, whole: bool) -> None:
        """Check all that came so far. Not again where nothing came since."""
        cluster = self.world.cluster
        logs = [*self._logs(DECISIONS), *self._logs(REJECTED)]
        offsets = cluster.group(GROUP).offsets
        seen = (*(log.end for log in logs), *(offset for offset, _ in offsets.values()))
        if (seen == self._seen and not whole) or self.broken:
            return
        self._seen = seen
        decided, rejected = self._decided(), self._rejected()
        came = {decision["origin"] for decision in decided} | set(rejected)
        now_s = self.world.loop.time()
        for origin in [origin for origin in self.born if origin in came]:
            self.worst_s = max(self.worst_s, now_s - self.born.pop(origin))
        if self._gone:  # decisions about the former topic's calls are there as well
            return
        faults = self.reference.faults(decided, rejected, exactly_once=self.plan.exactly_once)
        if fault := next(faults, ""):
            self._bug(fault)
        self._check_positions(offsets)

    def _check_positions(self, offsets: dict[tuple[str, int], tuple[int, str]]) -> None:
        """A position never runs ahead of what is decided, or will be: its marker is on its way."""
        came = {decision["origin"] for decision in self._decided(committed=False)}
        came |= set(self._rejected(committed=False))
        for origin in self.reference.written:
            topic, number, offset = origin.split("/")
            position = offsets.get((topic, int(number)), (0, ""))[0]
            if int(offset) < position and origin not in came:
                self._bug(f"{origin} is not decided, and the position is {position}")
                return

    def _logs(self, topic: str) -> list[PartitionLog]:
        return [led.log for led in self.world.cluster.topics[topic].partitions]

    def _decided(self, *, committed: bool = True) -> Sequence[Mapping[str, Any]]:
        return decisions_in(self._logs(DECISIONS), committed=committed)

    def _rejected(self, *, committed: bool = True) -> list[str]:
        return rejected_in(self._logs(REJECTED), committed=committed)


def played(seed: int) -> Result:
    """Play a seed's history. Raises Broken."""
    return History(Plan.of(seed)).run()


def timeline(plan: Plan) -> str:
    """Return what a plan's history says where it breaks."""
    try:
        return f"it does not break: {History(plan).run()}"
    except Broken as broken:
        return str(broken)


def reduced(plan: Plan) -> Plan:
    """Return the plan with the fewest kinds of fault that still breaks."""
    for smaller in plan.without():
        try:
            History(smaller).run()
        except Broken:
            return reduced(smaller)
    return plan
