"""A cluster: who leads what, who coordinates what, and what brokers know of it.

The controller's word is the truth; each broker learns it a little later, and answers by what it
knows. A broker that dies is noticed after a while; until then its partitions have no leader.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from random import Random
from uuid import UUID
from zlib import crc32

from tests.simulation.kafka.errors import Code
from tests.simulation.kafka.groups import Group
from tests.simulation.kafka.partition_log import PartitionLog
from tests.simulation.kafka.transactions import ABORT_CHECK_S, Phase, Transaction, Transactions
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.support.record_batches import ABORT, COMMIT

PORT = 9092
_SLOTS = 4
"""Partitions of the topics in which coordinators keep what they know."""

Name = tuple[str, int]
"""A topic and a partition of it."""


BEHIND_S = 4.5
"""So long a coordinator may tell older positions after a crash, once it has loaded."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a cluster: each happens after a random time with this mean, in seconds.

    `notice_s`: until a dead broker is noticed. `tell_s`: until a broker learns who leads.
    `replicate_s`: until a batch is on its replicas. `mark_s`: until a marker is written.
    `copy_s`: until a broker with an empty disk has copied what the others have.
    """

    notice_s: float = 0.5
    tell_s: float = 0.02
    replicate_s: float = 0.002
    mark_s: float = 0.005
    copy_s: float = 3.0


@dataclass(eq=False)
class Led:
    """A log, or a coordinator's slot, and the broker that leads it; -1: none does."""

    leader: int
    epoch: int = 0
    log: PartitionLog = field(default_factory=PartitionLog)


@dataclass(eq=False)
class Topic:
    """A topic, as long as it is not deleted."""

    name: str
    id: UUID
    partitions: list[Led]


@dataclass(frozen=True)
class View:
    """The cluster as one broker knows it."""

    brokers: tuple[int, ...] = ()
    topics: tuple[tuple[str, UUID, tuple[tuple[int, int], ...]], ...] = ()
    """Name, id, and of each partition its leader and epoch."""

    def partition(self, name: Name) -> tuple[int, int]:
        """Return leader and epoch of a partition; (-1, -1): there is no such."""
        for topic, _, partitions in self.topics:
            if topic == name[0] and name[1] < len(partitions):
                return partitions[name[1]]
        return -1, -1


class Cluster:
    """The brokers' state that outlives each of them."""

    def __init__(self, network: Network, nodes: int = 3, pace: Pace = Pace()) -> None:
        self.network, self.pace = network, pace
        self.loop: VirtualLoop = network.loop
        self.rng = Random(self.loop.rng.getrandbits(64))
        self.topics: dict[str, Topic] = {}
        self.slots = [Led(slot % nodes) for slot in range(_SLOTS)]
        self.groups: dict[str, Group] = {}
        self.transactions = Transactions(self.loop.time, self._write_markers)
        self.registered: set[int] = set()
        self.copying: set[int] = set()
        """Brokers whose disk was lost: they lead nothing until they have copied all."""
        self.processes: dict[int, Process] = {}
        self.views: dict[int, View] = {}
        self.loading_s: dict[int, float] = {}
        self.upset: Counter[int] = Counter()
        """Number of next questions, by their API key, that end their connection instead."""
        self.refusals: defaultdict[int, list[Code]] = defaultdict(list)
        """Errors with which next questions are answered, by their API key."""
        self._news: dict[asyncio.Future[None], None] = {}
        self._nodes = range(nodes)
        self.loop.call_later(ABORT_CHECK_S, self._look, context=Context())

    @property
    def bootstrap(self) -> str:
        """All brokers' addresses, as a client's setting has them."""
        return ",".join(f"{host_of(node)}:{PORT}" for node in self._nodes)

    # Topics.

    def create(self, name: str, partitions: int) -> None:
        """Make a topic; one of the name that was there is deleted."""
        if name in self.topics:
            self.delete(name)
        leaders = [self._some(self._whole()) for _ in range(partitions)]
        topic_id = UUID(int=self.rng.getrandbits(128), version=4)
        self.topics[name] = Topic(name, topic_id, [Led(leader) for leader in leaders])
        self.loop.note("topic", name, f"with {partitions} partitions")
        self._tell()

    def delete(self, name: str) -> None:
        """Delete a topic. Groups forget its positions when their coordinators learn of it."""
        del self.topics[name]
        self.loop.note("delete", name)
        for group in self.groups.values():
            self._later(self.pace.tell_s, partial(group.forget, name))
        self._tell()

    def add_partitions(self, name: str, partitions: int) -> None:
        """Let a topic have so many partitions."""
        held = self.topics[name].partitions
        held += [Led(self._some(self._whole())) for _ in range(partitions - len(held))]
        self.loop.note("partitions", name, partitions)
        self._tell()

    def find(self, name: Name) -> Led | None:
        """Return a partition, if there is one."""
        topic = self.topics.get(name[0])
        if topic is None or not 0 <= name[1] < len(topic.partitions):
            return None
        return topic.partitions[name[1]]

    def log(self, topic: str, partition: int) -> PartitionLog:
        """Return a partition's log."""
        return self.topics[topic].partitions[partition].log

    # Brokers.

    def alive(self) -> list[int]:
        """Return the brokers whose processes run."""
        return [node for node in self._nodes if self._runs(node)]

    def _whole(self) -> list[int]:
        """Return the brokers that may lead."""
        return [node for node in self.alive() if node not in self.copying]

    def _runs(self, node: int) -> bool:
        process = self.processes.get(node)
        return process is not None and process.alive

    def joined(self, node: int, process: Process) -> None:
        """Take in a broker that has started."""
        self.processes[node] = process
        self.network.off.discard(process.name)
        self.registered.add(node)
        self.views[node] = self._view()
        for led in self._all():
            if led.leader == -1:
                self._elect(led, crashed=True)
        self._tell()

    def kill(self, node: int, *, reset: bool = True) -> None:
        """Kill a broker; `reset` False: its host loses power."""
        if not reset:
            self.network.off.add(host_of(node))
        process = self.processes[node]
        process.kill(reset=reset)
        self._later(self.pace.notice_s, partial(self._noticed, node, process))

    def lose_disk(self, node: int) -> None:
        """Let a broker begin with nothing, once it starts again."""
        self.loop.note(host_of(node), "lost its disk")
        self.copying.add(node)
        self._later(self.pace.copy_s, partial(self._copied, node))

    def _copied(self, node: int) -> None:
        if not self._runs(node) or not self._whole():  # from whom?
            self._later(self.pace.copy_s, partial(self._copied, node))
            return
        self.loop.note(host_of(node), "has copied all")
        self.copying.discard(node)

    def _noticed(self, node: int, process: Process) -> None:
        """Give away what a dead broker led."""
        if self.processes[node] is not process:  # it is back already, and lost its leaderships
            self._give_away(node)
            return
        self.registered.discard(node)
        self._give_away(node)

    def _give_away(self, node: int) -> None:
        self.loop.note("noticed that", host_of(node), "was gone")
        for led in self._all():
            if led.leader == node:
                self._elect(led)
        self._tell()

    def move(self, name: Name, node: int) -> None:
        """Let another broker lead a partition."""
        led = self.find(name)
        if led is not None and node in self._whole() and led.leader != node:
            self.loop.note("move", *name, "to", host_of(node))
            led.leader, led.epoch = node, led.epoch + 1
            self._tell()

    def move_slot(self, slot: int, node: int) -> None:
        """Let another broker coordinate."""
        if node in self._whole():  # also to where it is: then it is only read again
            self.loop.note("move coordinator", slot, "to", host_of(node))
            self._lead(self.slots[slot], node)

    def _elect(self, led: Led, *, crashed: bool = False) -> None:
        nodes = [node for node in self._whole() if node != led.leader or node in self.registered]
        self._lead(led, self._some(nodes), crashed=crashed)

    def _lead(self, led: Led, node: int, *, crashed: bool = False) -> None:
        led.leader, led.epoch = node, led.epoch + 1
        if led in self.slots and node != -1:
            slot = self.slots.index(led)
            self.loading_s[slot] = self.loop.time() + self.rng.expovariate(1 / self.pace.tell_s)
            behind_s = self.loading_s[slot] + self.rng.uniform(0, BEHIND_S) * crashed
            empty = self.rng.random() < 0.5
            for group in self.groups.values():
                if slot_of(group.name) == slot:
                    group.load(behind_s, empty=empty)

    def _all(self) -> Iterator[Led]:
        yield from self.slots
        for topic in self.topics.values():
            yield from topic.partitions

    def _some(self, nodes: list[int]) -> int:
        return self.rng.choice(nodes) if nodes else -1

    # What brokers know.

    def _tell(self) -> None:
        """Let each broker learn the truth, each in its time."""
        self.wake()
        for node in self.alive():
            self._later(self.pace.tell_s, partial(self._learn, node))

    def _learn(self, node: int) -> None:
        self.views[node] = self._view()
        self.wake()

    def _view(self) -> View:
        topics = [
            (one.name, one.id, tuple((led.leader, led.epoch) for led in one.partitions))
            for one in self.topics.values()
        ]
        return View(tuple(sorted(self.registered)), tuple(topics))

    def coordinator(self, key: str) -> int:
        """Return who coordinates a group or transactional id; -1: nobody."""
        return self.slots[slot_of(key)].leader

    def is_loading(self, key: str) -> bool:
        """Return whether its coordinator still reads what it knows."""
        return self.loop.time() < self.loading_s.get(slot_of(key), 0.0)

    def group(self, name: str) -> Group:
        """Return a group, which is there from its first mention."""
        if name not in self.groups:

            def new_id() -> str:
                return str(UUID(int=self.rng.getrandbits(128), version=4))

            self.groups[name] = Group(name, self.loop, new_id)
        return self.groups[name]

    # News: what a fetch waits for.

    def wake(self) -> None:
        """Let fetches look again."""
        news, self._news = self._news, {}
        for waiting in news:
            if not waiting.done():
                waiting.set_result(None)

    async def news(self, wait_s: float) -> None:
        """Wait for news, in the steps of `asyncio.wait` and with fewer calls."""
        waiting, ended = self.loop.create_future(), self.loop.create_future()

        def end(_: object = None) -> None:
            if not ended.done():
                ended.set_result(None)

        self._news[waiting] = None
        waiting.add_done_callback(end)
        timer = self.loop.call_later(wait_s, end)
        await ended
        timer.cancel()
        self._news.pop(waiting, None)

    # Transactions.

    def _write_markers(self, transaction: Transaction) -> None:
        kind = COMMIT if transaction.commits else ABORT
        producer, epoch = transaction.producer, transaction.epoch
        left = Counter({"markers": len(transaction.partitions) + len(transaction.groups)})

        def written() -> None:
            left["markers"] -= 1
            if left["markers"] <= 0:
                transaction.phase = Phase.ENDED

        def mark(name: Name) -> None:
            led = self.find(name)
            if led is not None and not self._runs(led.leader):
                self._later(self.pace.notice_s, partial(mark, name))
                return
            if led is not None:
                led.log.mark(producer, epoch, kind)
                self.wake()
            written()

        def count(group: str) -> None:
            if not self._runs(self.coordinator(group)):
                self._later(self.pace.notice_s, partial(count, group))
                return
            self.group(group).end_transaction(producer, commits=transaction.commits)
            written()

        if not left["markers"]:
            written()
        for name in transaction.partitions:
            self._later(self.pace.mark_s, partial(mark, name))
        for group in transaction.groups:
            self._later(self.pace.mark_s, partial(count, group))

    def _look(self) -> None:
        self.transactions.abort_late()
        self.loop.call_later(ABORT_CHECK_S, self._look, context=Context())

    def _later(self, mean_s: float, job: Callable[[], None]) -> None:
        # In no process' context: it happens also where the broker dies that began it.
        self.loop.call_later(self.rng.expovariate(1 / mean_s), job, context=Context())


def host_of(node: int) -> str:
    """Return the host of a broker."""
    return f"kafka-{node}"


def slot_of(key: str) -> int:
    """Return the slot of a group or transactional id."""
    return crc32(key.encode()) % _SLOTS
