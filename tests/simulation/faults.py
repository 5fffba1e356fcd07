"""The faults of a history, one method for each kind, and the waits that they explain.

A call may wait while a fault lasts, and for a time after it that its kind allows. Where no fault
explains a wait, it is a fault of the product.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from stream.kafka.aiokafka_patches import SETTLED_S
from tests.simulation.doors import Doors
from tests.simulation.kafka.errors import Code
from tests.simulation.listing import Listing
from tests.simulation.network import Weather
from tests.simulation.plan import Plan
from tests.simulation.reference import Reference
from tests.simulation.sinking import Sinking
from tests.simulation.worker import Worker
from tests.simulation.world import World

CALLS, DECISIONS, REJECTED, GROUP = "calls", "decisions", "calls.rejected", "ringfence"
LAG_S_MAX = 90.0
"""So long after a fault its calls are decided and committed: a session that ends, a rebalance, a
transaction that the broker aborts, and the longest back-offs between them."""
BEGIN_S, USUAL_S = 13.0, 3.0
"""So long a call waits at most while workers start, and where nothing happens at all. Who leads the
group may hear of a new topic only as it asks again, ten seconds later (seed 100329)."""
LEADER_S = 6.0
"""A leader moves, and a broker says nothing once: asked again a few times, each a second apart."""
ALLOWED_S = {
    "leader_move": LEADER_S,
    "refuse": LEADER_S,
    "abort": 30.0,
    "clock": 0.0,
    "retention": LEADER_S,
    "coordinator_move": 30.0,
    "link_slow": 30.0,
    # 10 s for each connection of the producer until nothing was acknowledged for too long: all wait
    # behind a batch that one has, and the next one is used only then (seed 5002537). And a join.
    "half_open": 60.0,
    "partitions": 45.0,
}
"""By kind of fault; of all others LAG_S_MAX."""
_HUNG_UP = (0, 1, 2, 3, 3, 3, 8, 9, 10, 11, 14, 24, 26, 28)
"""Requests by API key. Metadata more often: who leads is asked where something moved."""
_LEADERS = range(4)
"""Requests about records and their leaders; the others are about a group or a transaction."""
_REFUSED = (
    (0, Code.NOT_ENOUGH_REPLICAS),
    (0, Code.STORAGE_ERROR),
    (
        0,
        Code.REQUEST_TIMED_OUT,
    ),  # after the records were written, as by a broker whose replicas lag
    (0, Code.TOPIC_AUTHORIZATION_FAILED),
    (1, Code.STORAGE_ERROR),
    (1, Code.OFFSET_NOT_AVAILABLE),
    (8, Code.COORDINATOR_LOADING),
    (9, Code.COORDINATOR_LOADING),
    (14, Code.COORDINATOR_LOADING),
    (22, Code.CONCURRENT_TRANSACTIONS),
    (24, Code.CONCURRENT_TRANSACTIONS),
    (25, Code.GROUP_AUTHORIZATION_FAILED),
    (26, Code.CONCURRENT_TRANSACTIONS),
    (28, Code.GROUP_AUTHORIZATION_FAILED),
    (28, Code.COORDINATOR_LOADING),
)


Fault = Callable[[], Awaitable[float | None]]


class Explained:
    """Until when the faults so far explain that a call waits."""

    def __init__(self, world: World) -> None:
        self._loop, self._network = world.loop, world.network
        self._until_s = self._loop.time() + BEGIN_S
        self._lasting: dict[int, str] = {}
        self._cuts = 0

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of fault that last now."""
        return frozenset(self._lasting.values())

    async def while_(self, kind: str, fault: Fault) -> None:
        """Play a fault. It may return a time of its own that is allowed after it."""
        number = len(self._lasting) and max(self._lasting) + 1
        self._lasting[number] = kind
        allowed_s: float | None = None
        try:
            allowed_s = await fault()
        finally:
            del self._lasting[number]
            self.after(ALLOWED_S.get(kind, LAG_S_MAX) if allowed_s is None else allowed_s)

    def after(self, allowed_s: float) -> None:
        """Allow so much from now on."""
        self._until_s = max(self._until_s, self._loop.time() + allowed_s)

    def until_s(self, born_s: float) -> float:
        """Return until when a call that was written at `born_s` may wait."""
        if self._network.cuts > self._cuts:
            self._cuts = self._network.cuts
            self.after(LEADER_S)
        if self._lasting:
            return float("inf")
        return max(born_s + USUAL_S, self._until_s)


class Faults:
    """All kinds of fault, against the workers and brokers of one history."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        workers: Sequence[Worker],
        reference: Reference,
        explained: Explained,
    ) -> None:
        self._world, self._plan, self._rng = world, plan, world.rng
        self._workers, self._reference = workers, reference
        self._explained = explained
        self._tasks: list[asyncio.Task[None]] = []
        self.write: Callable[[int], None] = lambda _: None
        """Lets the switch write some calls to a partition."""
        self._away: set[Worker] = set()
        self.made_again = False
        """True if the topic of calls was made again: decisions of the former are there as well."""
        self._former: defaultdict[int, set[int]] = defaultdict(set)
        """Positions of partitions in the topics that were deleted, and worker lives until then."""
        self._lives: list[int] = []
        self._unaware = False
        """True if a worker ran then that had not read the topic yet."""
        self._taints = False
        """True while a worker may commit positions of the former topic."""

    def begin(self) -> None:
        """Let each kind that the plan has happen again and again."""
        for kind in self._plan.swarm.kinds:
            self.repeat(kind, getattr(self._plan.swarm, kind), getattr(self, f"_{kind}"))

    def repeat(self, kind: str, mean_s: float, fault: Fault) -> None:
        """Let a fault happen again and again. `kind` "": it explains no wait of a call."""
        self._tasks.append(asyncio.create_task(self._repeat(kind, mean_s, fault)))

    @property
    def there(self) -> list[Worker]:
        """The workers that were not taken out."""
        return [worker for worker in self._workers if worker not in self._away]

    async def _repeat(self, kind: str, mean_s: float, fault: Fault) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / mean_s))
            await (self._explained.while_(kind, fault) if kind else fault())

    async def calm(self, *sides: Listing | Sinking | Doors | None) -> None:
        """End all faults: brokers and workers run, links are open, nobody hangs up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        world = self._world
        world.loop.note("calm")
        world.network.calm()
        world.cluster.upset.clear()
        world.cluster.refusals.clear()
        for node in world.nodes:
            if node not in world.cluster.alive():
                await world.start_broker(node)
        for side in sides:
            if side is not None:
                await side.calm()
        for worker in self._workers:
            worker.disk_full(False)
            worker.resume()
            if worker not in self._away:
                worker.start()

    # Brokers.

    async def _broker_kill(self, *, reset: bool = True) -> None:
        cluster = self._world.cluster
        alive = cluster.alive()
        if len(alive) < 2:
            return
        node = self._rng.choice(alive)
        cluster.kill(node, reset=reset)
        await asyncio.sleep(self._rng.expovariate(0.5))
        await self._world.start_broker(node)

    async def _broker_power(self) -> None:
        await self._broker_kill(reset=False)

    async def _broker_disk(self) -> None:
        """Lose a broker's disk: it begins again with nothing, and copies what the others have."""
        cluster = self._world.cluster
        alive = cluster.alive()
        if len(alive) < len(self._world.nodes) or cluster.copying:
            return
        node = self._rng.choice(alive)
        cluster.kill(node)
        cluster.lose_disk(node)
        await asyncio.sleep(self._rng.expovariate(0.5))
        await self._world.start_broker(node)

    async def _leader_move(self) -> None:
        cluster, rng = self._world.cluster, self._rng
        topic = rng.choice(sorted(cluster.topics))
        partition = rng.randrange(len(cluster.topics[topic].partitions))
        cluster.move((topic, partition), rng.choice(list(self._world.nodes)))

    async def _coordinator_move(self) -> None:
        rng = self._rng
        self._world.cluster.move_slot(rng.randrange(4), rng.choice(list(self._world.nodes)))

    async def _hang_up(self) -> float:
        api = self._rng.choice(_HUNG_UP)
        upset = self._world.cluster.upset
        upset[api] += self._rng.randrange(1, 5)
        # Until they were hung up on; a question that is never asked explains nothing.
        while upset[api]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.5)
        return LEADER_S if api in _LEADERS else 30.0

    async def _refuse(self) -> float | None:
        api, code = self._rng.choice(_REFUSED)
        self._world.cluster.refusals[api] += [code] * self._rng.randrange(1, 5)
        # Positions are believed once they stayed the same; a join that is refused comes before.
        return LEADER_S + 2 * SETTLED_S if code is Code.COORDINATOR_LOADING else None

    async def _abort(self) -> None:
        """Refuse the positions of a transaction, so that it is aborted, while calls come fast.

        An answer from before it may be read then, and one from after it that brings more.
        """
        rng, cluster = self._rng, self._world.cluster
        cluster.refusals[28] += [Code.GROUP_AUTHORIZATION_FAILED] * rng.randrange(1, 4)
        for _ in range(rng.randrange(10, 40)):
            self.write(rng.randrange(len(cluster.topics[CALLS].partitions)))
            await asyncio.sleep(rng.expovariate(50))

    # Links.

    def _link(self) -> tuple[str, str]:
        return self._rng.choice(self._workers).name, f"kafka-{self._rng.randrange(3)}"

    async def _link_block(self, *, both: bool = True) -> None:
        one, other = self._link()
        if not both and self._rng.random() < 0.5:
            one, other = other, one
        self._world.network.block(one, other, both=both)
        await asyncio.sleep(self._rng.expovariate(0.25))
        self._world.network.heal(one, other)

    async def _link_deaf(self) -> None:
        await self._link_block(both=False)

    async def _link_slow(self) -> None:
        rng, network = self._rng, self._world.network
        one, other = self._link()
        network.slow(one, other, Weather(rng.choice((0.05, 0.3)), 0.9, 0.0, rng.choice((3e3, 3e4))))
        await asyncio.sleep(rng.expovariate(0.2))
        network.hurry(one, other)

    async def _half_open(self) -> None:
        network = self._world.network
        pipes = [pipe for worker in self._workers for pipe in network.connections(worker.name)]
        if pipes:
            network.forget(self._rng.choice(pipes))

    # Workers.

    async def _worker_kill(self, *, reset: bool = True) -> None:
        worker = self._some()
        worker.kill(reset=reset)
        await asyncio.sleep(self._rng.expovariate(0.5))
        worker.start()

    async def _worker_power(self) -> None:
        await self._worker_kill(reset=False)

    async def _worker_pause(self) -> None:
        rng, worker = self._rng, self._some()
        worker.pause()
        await asyncio.sleep(rng.choice((rng.expovariate(2), rng.expovariate(0.1))))
        worker.resume()

    async def _worker_stop(self) -> None:
        worker = self._some()
        worker.stop()
        await asyncio.sleep(self._rng.expovariate(0.3))
        worker.start()

    def _some(self) -> Worker:
        return self._rng.choice(self.there)

    async def _scale(self) -> None:
        """Take a worker out for good, in order or not; or let one in that was out."""
        worker = self._rng.choice(self._workers)
        if worker in self._away:
            self._away.discard(worker)
            worker.start()
        elif len(self._away) + 1 < len(self._workers):
            self._away.add(worker)
            (worker.stop if self._rng.random() < 0.7 else worker.kill)()

    async def _upgrade(self) -> None:
        """Stop a worker and start it under another client's configuration, as a release does."""
        worker = self._some()
        worker.stop()
        await asyncio.sleep(self._rng.expovariate(0.5))
        worker.kill()
        rng = self._rng
        worker.configure(
            session_timeout_ms=rng.choice((13_000, 20_000)),
            fetch=rng.choice(("fetcher", "aiokafka")),
            compression=rng.choice(("none", "lz4")),
            batch_records_max=rng.choice((7, 20_000)),
        )
        worker.start()

    async def _clock(self) -> None:
        """Let the time of day of a worker jump, or run too fast or too slow."""
        rng, clock = self._rng, self._some().clock
        past_s = self._world.loop.past_s
        off_s = clock.seconds(past_s) + rng.choice((0.0, -3600.0, 3600.0, -1.0, 86_400.0 * 8))
        clock.off_s, clock.since_s, clock.drift = off_s, past_s, rng.choice((0.0, 0.1, -0.1))

    async def _disk(self) -> None:
        """Fill a worker's disk for a while; or cut its power, which tears what it was writing."""
        rng, worker = self._rng, self._some()
        if rng.random() < 0.5:
            worker.disk_full(True)
            await asyncio.sleep(rng.expovariate(0.2))
            worker.disk_full(False)
            return
        worker.kill(reset=False)
        for path in sorted(Path(worker.settings.lists.state_dir).rglob("*")):
            if path.is_file() and rng.random() < 0.5:
                whole = path.read_bytes()
                torn = whole[: rng.randrange(len(whole) + 1)]
                path.write_bytes(torn + bytes(len(whole) - len(torn)) * rng.randrange(2))
        await asyncio.sleep(rng.expovariate(0.5))
        worker.start()

    # Topics.

    async def _partitions(self) -> None:
        cluster = self._world.cluster
        cluster.add_partitions(CALLS, len(cluster.topics[CALLS].partitions) + 1)

    async def _retention(self) -> None:
        """Cut the beginning of a partition, read or not: who had not read it cannot decide it."""
        number = self._rng.randrange(len(self._world.cluster.topics[CALLS].partitions))
        log = self._world.cluster.log(CALLS, number)
        if log.batches:
            log.forget_before(self._rng.choice(log.batches).first)
            self._world.loop.note("retention", CALLS, number, "from", log.start)
            self._reference.excuse(number, range(log.start))

    async def _unclean(self) -> None:
        """Let a replica lead that lacks the end: acknowledged calls are gone."""
        cluster, rng = self._world.cluster, self._rng
        number = rng.randrange(len(cluster.topics[CALLS].partitions))
        log = cluster.log(CALLS, number)
        if not log.batches:
            return
        end = log.end
        log.truncate(rng.choice(log.batches).first)
        self._world.loop.note("unclean", CALLS, number, "lost", log.end, "to", end)
        self._reference.lose(number, range(log.end, end))
        cluster.move((CALLS, number), rng.choice(list(self._world.nodes)))

    async def _topic_again(self) -> None:
        """Delete the topic and make it again: calls of the former that were not read are gone."""
        self.made_again = True
        cluster = self._world.cluster
        self._take_former()
        self._taints = True
        self._lives = [worker.lives for worker in self._workers]
        self._unaware |= any(
            worker.runs and worker.knows(CALLS) is None for worker in self._workers
        )
        self._reference.forget()
        cluster.create(CALLS, len(cluster.topics[CALLS].partitions))

    def look(self) -> None:
        """Take positions of the former topic that are committed after its end. Called often."""
        if not self._taints:
            return
        self._take_former()
        topic = self._world.cluster.topics[CALLS]
        # A life from before the change that knows no id yet commits them as well (seed 130002203).
        self._taints = any(
            worker.runs and worker.lives == lives and worker.knows(CALLS) != topic.id
            for worker, lives in zip(self._workers, self._lives, strict=True)
        )

    def _take_former(self) -> None:
        for (topic, number), (offset, _) in self._world.cluster.group(GROUP).offsets.items():
            if topic == CALLS:
                self._former[number].add(offset)

    def passed_over(self, origin: str) -> bool:
        """Return whether a worker cannot know better: it reads the topic since it was made again.

        Topic ids are known to a process alone, from its first assignment on. One that reads later
        finds the former topic's position, and passes over what lies before it. The group forgets
        that position, and a worker that has not heard of the new topic yet commits its own.
        """
        self.look()
        _, number, offset = origin.split("/")
        again = self._unaware or [worker.lives for worker in self._workers] != self._lives
        # Behind the end it is refused, and then all is read.
        end = self._world.cluster.log(CALLS, int(number)).end
        # Committed and forgotten between two looks, while a worker read it (seed 110014936).
        forgotten = self._world.cluster.group(GROUP).forgotten.get((CALLS, int(number)), set())
        former = self._former[int(number)] | forgotten
        return again and any(int(offset) < one <= end for one in former)


def call(call_id: str, caller: str) -> bytes:
    """Return a call as the switch writes it."""
    return json.dumps({"call_id": call_id, "caller": caller, "callee": None}).encode()
