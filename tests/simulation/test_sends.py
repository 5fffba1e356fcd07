"""A producer whose batches follow one another, over all that can happen on their way."""

import asyncio
from collections import defaultdict, deque
from random import Random
from typing import Any

import pytest

from stream.calls.publish import OutcomeProducer, started_producer
from stream.calls.settings import PublishSettings
from stream.kafka.produce.direct_sends import DirectSends
from stream.kafka.settings import KafkaSettings
from tests.simulation.kafka.errors import Code
from tests.simulation.network import Weather
from tests.simulation.world import World
from tests.support.record_batches import by_aiokafka

PARTITIONS, OUTCOMES, IN_FLIGHT_MAX = 3, 150, 4
PRODUCE = 0
REFUSALS = (Code.NOT_ENOUGH_REPLICAS, Code.REQUEST_TIMED_OUT, Code.NOT_LEADER)
"""Retriable ones. With the second, the records were written."""
CALM_S = 3 * 40.0 + 20
"""Everything is acknowledged so long after the last fault: a lost connection is given up after
40 s, and those to the three brokers may be found one after another."""


class Writer:
    """A producer of ours, and what it was given for each partition."""

    def __init__(self, world: World) -> None:
        self.given: defaultdict[int, list[bytes]] = defaultdict(list)
        self.followed = 0
        self._world, self._rng = world, Random(world.rng.getrandbits(64))

    async def write(self) -> None:
        """Write everything, at most four outcomes at once, as the loop of a worker does."""
        kafka = KafkaSettings(self._world.cluster.bootstrap, "writer")
        settings = PublishSettings("decisions", "rejected", "/test", 1_000)
        producer = await started_producer(kafka, lambda _: None, enable_idempotence=True)
        direct = DirectSends(producer)
        out = OutcomeProducer(
            producer, settings, lambda _: None, transactional=False, direct=direct
        )
        waiting: deque[Any] = deque()
        for _ in range(OUTCOMES):
            if len(waiting) == IN_FLIGHT_MAX:
                await waiting.popleft()
            waiting.append(await out.send({"decisions": self._batches(producer)}))
            unanswered = direct._unanswered.values()
            self.followed += sum(max(one.partitions.values()) > 1 for one in unanswered)
            # In virtual time, as all waits here: mostly none, so that batches follow one another.
            await asyncio.sleep(self._rng.choice((0, 0, 0, self._rng.expovariate(20))))
        for one in waiting:
            await one
        await out.stop()

    def _batches(self, producer: Any) -> list[tuple[int, Any]]:
        """Make a batch for some partitions; at times two for one of them."""
        made = []
        for partition in self._rng.choices(range(PARTITIONS), k=self._rng.randrange(1, 4)):
            batch = producer.create_batch()
            for _ in range(self._rng.randrange(1, 4)):
                value = b"%d" % len(self.given[partition])
                self.given[partition].append(value)
                batch.append(key=None, value=value, timestamp=0)
            made.append((partition, batch))
        return made


async def harm(world: World) -> None:
    """Let something happen to the way of the batches, again and again."""
    rng, cluster, network = Random(world.rng.getrandbits(64)), world.cluster, world.network
    while True:
        await asyncio.sleep(rng.expovariate(4))
        match rng.choice(("refuse", "hang up", "move", "kill", "cut", "forget", "slow")):
            case "refuse":
                cluster.refusals[PRODUCE] += [rng.choice(REFUSALS)] * rng.randrange(1, 4)
            case "hang up":
                cluster.upset[PRODUCE] += 1
            case "move":
                cluster.move(("decisions", rng.randrange(PARTITIONS)), rng.choice(world.nodes))
            case "kill" if len(cluster.alive()) > 1:
                node = rng.choice(cluster.alive())
                cluster.kill(node, reset=rng.random() < 0.5)
                await asyncio.sleep(rng.expovariate(1))
                await world.start_broker(node)
            case "cut" | "forget" as how if pipes := list(network.connections("writer")):
                pipe = rng.choice(pipes)
                pipe.cut() if how == "cut" else network.forget(pipe)
            case "slow":
                host = f"kafka-{rng.choice(world.nodes)}"
                network.slow("writer", host, Weather(0.1, 0.9, 0.0, 1e5))
                await asyncio.sleep(rng.expovariate(1))
                network.hurry("writer", host)


async def played(world: World) -> int:
    """Write beside faults; return how often a batch followed one that was on its way."""
    await world.start()
    world.cluster.create("decisions", PARTITIONS)
    world.cluster.create("rejected", 1)
    writer = Writer(world)
    written = world.process("writer").run(writer.write())
    harmed = asyncio.create_task(harm(world))
    await asyncio.wait({written}, timeout=OUTCOMES / 20)
    harmed.cancel()
    await asyncio.gather(harmed, return_exceptions=True)
    world.network.calm()
    world.cluster.upset.clear()
    world.cluster.refusals.clear()
    for node in set(world.nodes) - set(world.cluster.alive()):
        await world.start_broker(node)
    await asyncio.wait_for(written, CALM_S)
    for partition, values in writer.given.items():
        log = world.cluster.log("decisions", partition)
        content = log.read(0, 10**9, committed=True, whole_first=True)
        assert [value for _, _, value in by_aiokafka(content, 0).rows] == values
    return writer.followed


@pytest.mark.parametrize("first", range(1, 101, 25))
def test_each_record_is_written_once_and_in_order(first):
    """Whatever breaks: refused, lost on the way there or back, another leader, a dead broker."""
    followed = 0
    for seed in range(first, first + 25):
        try:
            followed += World(seed).run(played)
        except Exception as error:  # of any kind: the seed is what plays it again
            raise AssertionError(f"seed {seed}") from error
    assert followed > 100, "batches did not follow one another"
