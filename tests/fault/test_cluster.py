"""Three brokers under load: leaders die, come back and move; each broker is restarted in turn.

All replicas are in order when a broker goes, and two of three must have what is acknowledged:
so Kafka itself loses nothing, and nothing may be missing behind it.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.kafka.settings import KafkaSettings
from stream.kafka.topics import ensure_topics
from tests.fault.engine import Engine
from tests.fault.site import Site
from tests.fault.traffic import Load, decides, judge
from tests.support.kafka_clusters import NODES, Cluster, three_brokers
from tests.support.waiting import until

pytestmark = [
    pytest.mark.apache_kafka,
    # Three brokers and six processes of ours take a minute of CPU. That the fetcher follows leaders
    # is tested on scripted brokers in `make test`.
    pytest.mark.campaign,
    # The producer of the load is a client of the broker that dies.
    pytest.mark.expects_errors,
]

PER_S = 1000
PARTITIONS = 6
ROLLS = max(1, int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2")) // 10)
"""Rounds in which every broker is restarted in turn."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three brokers for the tests here."""
    with three_brokers() as made:
        yield made


@asynccontextmanager
async def admin_of(cluster: Cluster) -> AsyncIterator[Any]:
    """An admin client, which aiokafka has untyped."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def partitions_of(cluster: Cluster, topic: str) -> dict[int, dict[str, Any]]:
    """Leader, replicas and replicas in order of each partition, as the cluster tells them."""
    while True:
        with suppress(KafkaError):  # it asked the one that is dead
            async with admin_of(cluster) as admin:
                (told,) = await admin.describe_topics([topic])
                break
    return {one["partition"]: one for one in told["partitions"]}


class Story:
    """Events of the partitions of one topic, in order, with their times.

    After each chapter every engine has decided calls again. `settled_ms` is how long Kafka itself
    took for it, as its metadata say. A title that comes again keeps its longest.
    """

    def __init__(self, cluster: Cluster, topic: str, engines: Sequence[Engine]) -> None:
        self._cluster = cluster
        self._topic = topic
        self._engines = engines
        self.began: list[tuple[str, float]] = []
        self.settled_ms: Counter[str] = Counter()

    async def leaders_move(self) -> None:
        """A leader dies and comes back, leaders are elected, partitions go to other brokers."""
        cluster, topic = self._cluster, self._topic
        await self._go_on()
        leads = Counter(one["leader"] for one in (await self._partitions()).values())
        victim = max(NODES, key=lambda node: leads[node])
        async with self._chapter("killed", lambda one: one["leader"] not in (victim, -1)):
            await asyncio.to_thread(cluster.servers[victim].kill)
        async with self._chapter("back", lambda one: len(one["isr"]) == len(NODES)):
            await asyncio.to_thread(cluster.servers[victim].start)
        async with self._chapter("elected", lambda one: one["leader"] == one["replicas"][0]):
            await asyncio.to_thread(cluster.elect_preferred, topic, range(PARTITIONS))
        others = {
            number: [node for node in NODES if node != one["leader"]]
            for number, one in (await self._partitions()).items()
        }
        async with self._chapter(
            "reassigned", lambda one: one["leader"] in others[one["partition"]]
        ):
            await asyncio.to_thread(cluster.reassign, topic, others)

    async def brokers_roll(self) -> None:
        """Stop each broker in order and start it again, the next once all replicas are in order."""
        await self._go_on()
        for node in NODES * ROLLS:
            server = self._cluster.servers[node]
            async with self._chapter(f"{node} stopped", _led_by_others(node)):
                await asyncio.to_thread(server.stop)
            async with self._chapter(f"{node} started", lambda one: len(one["isr"]) == len(NODES)):
                await asyncio.to_thread(server.start)

    async def _partitions(self) -> dict[int, dict[str, Any]]:
        return await partitions_of(self._cluster, self._topic)

    @asynccontextmanager
    async def _chapter(
        self, title: str, settled: Callable[[dict[str, Any]], bool]
    ) -> AsyncIterator[None]:
        async def all_settled() -> bool:
            return all(settled(one) for one in (await self._partitions()).values())

        began_ms = time.time() * 1000
        self.began.append((title, began_ms))
        yield
        await until(all_settled, f"the cluster to settle: {title}")
        took_ms = round(time.time() * 1000 - began_ms)
        self.settled_ms[title] = max(self.settled_ms[title], took_ms)
        await self._go_on()

    async def _go_on(self) -> None:
        for engine in self._engines:
            await decides(engine, 10)

    async def told(self, site: Site) -> str:
        """The result at one site, for the report."""
        longest = await waits_ms(site, self.began)
        return ", ".join(
            f"{title} {longest[title]:,} (Kafka settled after {settled_ms:,})"
            for title, settled_ms in self.settled_ms.items()
        )


def _led_by_others(node: int) -> Callable[[dict[str, Any]], bool]:
    return lambda one: one["leader"] not in (node, -1)


async def waits_ms(site: Site, began: Sequence[tuple[str, float]]) -> dict[str, int]:
    """By chapter, how long a call that lay in Kafka waited at most for its decision to lie there.

    Both times are the brokers'. A call is of the first chapter that began while it waited.
    """
    decided_ms: dict[str, int] = {}
    for topic in (site.topics.decisions, site.topics.rejected):
        for record in await site.records(topic):
            headers = dict(record.headers)
            origin = headers["origin"].decode() if "origin" in headers else ""
            origin = origin or json.loads(record.value)["origin"]
            decided_ms[origin] = min(decided_ms.get(origin, record.timestamp), record.timestamp)
    longest: Counter[str] = Counter()
    for record in await site.records(site.topics.calls[0]):
        until_ms = decided_ms[f"{record.topic}/{record.partition}/{record.offset}"]
        before = [title for title, at_ms in began if at_ms <= record.timestamp]
        during = [title for title, at_ms in began if record.timestamp < at_ms < until_ms]
        title = (during[:1] or before[-1:] or ["nothing"])[0]
        longest[title] = max(longest[title], until_ms - record.timestamp)
    return longest


async def test_topics_have_as_many_copies_as_the_cluster_allows(cluster, redis_url, tmp_path):
    """By default three of each partition, and two must have what is acknowledged."""
    site = Site(cluster.bootstrap, redis_url, tmp_path, PARTITIONS, 0)
    await site.make_topics()
    for topic in (site.topics.calls[0], site.topics.decisions, site.topics.rejected):
        for one in (await partitions_of(cluster, topic)).values():
            assert len(one["replicas"]) == len(NODES)
    again = await ensure_topics(
        KafkaSettings(cluster.bootstrap, "test"), site.topics, lambda _: None
    )
    assert [one.differences for one in again] == [()] * 3


async def test_leaders_die_and_move_under_load(cluster, redis_url, tmp_path, measured):
    """A leader is killed and comes back, leaders are elected, partitions go to other brokers.

    Both deliveries meanwhile read the same calls: nothing is lost or made up, and the fetcher reads
    on from wherever the leaders are.
    """
    place = (cluster, redis_url, tmp_path)
    await under_load(*place, measured, "three brokers", Story.leaders_move)


async def test_brokers_restart_in_turn_under_load(cluster, redis_url, tmp_path, measured):
    """A rolling upgrade: each broker stops in order and starts again, while both deliveries decide.

    With it go leaders, controllers and the coordinators of groups and transactions.
    """
    place = (cluster, redis_url, tmp_path)
    await under_load(*place, measured, f"{ROLLS} x 3 brokers restarted in turn", Story.brokers_roll)


async def under_load(
    cluster: Cluster,
    redis_url: str,
    folder: Path,
    measured: Callable[[str], None],
    title: str,
    tell: Callable[[Story], Awaitable[None]],
) -> None:
    """Two workers of each delivery read the same calls during a story, and are judged."""
    first = Site(cluster.bootstrap, redis_url, folder, PARTITIONS, len(NODES))
    sites = {
        "at_least_once": first,
        "exactly_once": replace(first, calls=first.topics.calls[0], name=f"{first.name}-once"),
    }
    for site in sites.values():
        await site.make_topics()
    await first.make_list()
    engines = {
        delivery: site.engine(
            "--workers",
            "2",
            name=delivery,
            calls={"delivery": delivery, "instance_id": "host"},
            lists={"state_dir": str(folder / delivery)},
        )
        for delivery, site in sites.items()
    }
    with ExitStack() as stack:
        for engine in engines.values():
            stack.enter_context(engine)
        await asyncio.gather(*(engine.ready() for engine in engines.values()))
        async with Load(first, PER_S) as load:
            story = Story(cluster, first.topics.calls[0], [*engines.values()])
            await tell(story)
            await load.end()
            for delivery, site in sites.items():
                await site.drained(engines[delivery])
        restarts = 0.0
        for engine in engines.values():
            await engine.reads(PARTITIONS)
            assert engine.metric("ringfence_partitions_stopped") == 0
            restarts += engine.metric("ringfence_worker_restarts_total")
            assert await engine.stop() == 0
    for delivery, site in sites.items():
        verdict = await judge(site, load.sent)
        assert verdict.nothing_lost, verdict
        measured(
            f"{title}, {delivery}: {verdict}; {restarts:.0f} workers of both started again; "
            f"longest wait of a call in Kafka, ms: {await story.told(site)}"
        )
        assert delivery == "at_least_once" or not verdict.repeats
