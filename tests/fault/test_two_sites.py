"""Two sites, of which one is switched off: docs/how-to/operate/two-sites.md, step by step.

North works; MirrorMaker 2 copies its topics and positions to south, and south's Redis is a replica.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.lab.embedded import EmbeddedBroker, RedisServer, best_broker, best_redis
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.fault.site import INNOCENT, LIST, LISTED, Site
from tests.fault.traffic import TICK_S, call, decided, decides
from tests.support.builders import entry
from tests.support.lists import BY
from tests.support.mirror_maker import mirror
from tests.support.waiting import REDIS_S, until

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.apache_kafka,
    pytest.mark.needs_transactions,
    pytest.mark.expects_errors,
]

PER_TICK = 6
LOOKS = 10
BATCHES = 60
"""So many batches are decided before each step, so that there is something to lose."""


@dataclass
class Place:
    """A site with servers of its own."""

    kafka: EmbeddedBroker
    redis: RedisServer
    site: Site

    def of_redis(self, *words: object) -> Any:
        """Give its Redis a command."""
        with redis.Redis.from_url(self.redis.url(), socket_timeout=REDIS_S) as client:
            return client.execute_command(*words)

    def follow(self, other: "Place | None") -> None:
        """Make its Redis a replica of another site's, or a primary."""
        words = ("NO", "ONE") if other is None else ("127.0.0.1", other.redis.port)
        self.of_redis("REPLICAOF", *words)

    def off(self) -> None:
        """Switch off its servers, as a power cut does."""
        self.kafka.kill()
        self.redis.kill()

    async def calls(self) -> set[str]:
        """The calls that lie here."""
        return {told["call_id"] for told in await self._told(self.site.topics.calls[0])}

    async def decisions(self) -> "Decisions":
        """The decisions that lie here."""
        told = await self._told(self.site.topics.decisions)
        return Decisions(Counter((one["call_id"], one["decision_id"]) for one in told))

    async def _told(self, topic: str) -> list[dict[str, Any]]:
        try:
            return [json.loads(record.value) for record in await self.site.records(topic)]
        except (KafkaError, KeyError):  # it is being made
            return []


@dataclass
class Decisions:
    """Decisions of each call, counted by call and decision id."""

    counts: Counter[tuple[str, str]]

    @property
    def calls(self) -> set[str]:
        """Calls that have a decision."""
        return {call_id for call_id, _ in self.counts}

    @property
    def twice(self) -> int:
        """Number of calls that have more than one decision."""
        by_call: Counter[str] = Counter()
        for (call_id, _), count in self.counts.items():
            by_call[call_id] += count
        return sum(count > 1 for count in by_call.values())

    def __str__(self) -> str:
        other = len(self.counts) - len(self.calls)
        return f"decided twice: {self.twice}, of them with another id: {other}"


@dataclass
class Switch:
    """Sends calls to a site. What was not acknowledged is sent again, to whichever is next."""

    acknowledged: set[str] = field(default_factory=set)
    _left: list[int] = field(default_factory=list)
    _row: int = 0
    _closing: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def sends_to(self, place: Place) -> AsyncIterator[None]:
        """Send while the context lasts."""
        producer: Any = AIOKafkaProducer(
            bootstrap_servers=place.kafka.bootstrap, acks="all", request_timeout_ms=60_000
        )
        await producer.start()
        sent: dict[asyncio.Future[Any], list[int]] = {}
        task = asyncio.create_task(self._run(producer, place.site, sent))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if place.kafka.is_running():
                await producer.flush()
            for told, rows in sent.items():
                if told.done() and not told.cancelled() and told.exception() is None:
                    self.acknowledged |= {f"c{row}" for row in rows}
                else:
                    self._left += rows
            # Of a site that is gone it waits for the time-out.
            self._closing.append(asyncio.create_task(producer.stop()))

    async def close(self) -> None:
        """Wait until all connections are closed."""
        await asyncio.gather(*self._closing)

    async def _run(self, producer: Any, site: Site, sent: dict[Any, list[int]]) -> None:
        turn = 0
        while True:
            rows = self._left[:PER_TICK] or [self._row + place for place in range(PER_TICK)]
            self._row, self._left = max(self._row, rows[-1] + 1), self._left[PER_TICK:]
            batch = producer.create_batch()
            for row in rows:
                numbers = LISTED if row % 5 == 0 else INNOCENT
                value = call(f"c{row}", numbers[row % len(numbers)])
                batch.append(key=None, value=value, timestamp=None)
            turn += 1
            topic, partition = site.topics.calls[0], turn % site.partitions
            sent[await producer.send_batch(batch, topic, partition=partition)] = rows
            await asyncio.sleep(TICK_S)


@contextmanager
def places(folder: Path) -> Iterator[tuple[Place, Place]]:
    """Two sites whose topics have the same names."""
    with ExitStack() as stack:
        made: list[Place] = []
        for name in ("north", "south"):
            (folder / name).mkdir()
            kafka = stack.enter_context(best_broker("kafka"))
            store = stack.enter_context(best_redis())
            site = Site(kafka.bootstrap, store.url(), folder / name)
            site.name = made[0].site.name if made else site.name
            made.append(Place(kafka, store, site))
        yield made[0], made[1]


async def mirrored(source: Place, target: Place) -> None:
    """Wait until the target has all calls of the source and all its decisions."""

    async def all_there() -> bool:
        calls = await source.calls() <= await target.calls()
        return calls and (await source.decisions()).calls <= (await target.decisions()).calls

    await until(all_there, "MirrorMaker to copy what lies at the source", 1.0)


async def synced(target: Place) -> None:
    """Wait until the target has positions of the group for every partition."""

    async def all_there() -> bool:
        try:
            return len(await target.site.committed()) == target.site.partitions
        except KafkaError:
            return False

    await until(all_there, "MirrorMaker to copy the group's positions", 1.0)


async def test_a_site_is_switched_off_and_comes_back(tmp_path: Path, measured: Any) -> None:
    """South goes on where north's copies end; what was not copied comes when north is back."""
    switch = Switch()
    with places(tmp_path) as (north, south):
        site = north.site
        await site.make_topics()
        await site.make_list()
        south.follow(north)
        topics = [*site.topics.calls, site.topics.decisions, site.topics.rejected]
        ends = (north.kafka.bootstrap, south.kafka.bootstrap)
        with (
            mirror(*ends, topics, [f"{site.name}.group"]) as there,
            site.engine() as old,
            south.site.engine() as new,
        ):
            await asyncio.to_thread(there.start)
            await old.ready()
            async with switch.sends_to(north):
                await synced(south)
                store = ListStoreSettings(site.redis_url, wait_replicas=1, wait_ms=60_000)
                async with await ListStore.connect(store) as lists:
                    await lists.add(LIST, [entry("+66812345678")], BY)
                await decides(old, BATCHES)
                behind = [await lag(north, south) for _ in range(LOOKS)]
                there.kill()
                await decides(old, BATCHES)
                old.kill()
                north.off()
                off_s = time.monotonic()
            acknowledged = set(switch.acknowledged)

            south.follow(None)
            copied = await south.decisions()
            await new.ready()
            async with switch.sends_to(south):
                await decides(new, 1)
                silent_s = time.monotonic() - off_s
                await decides(new, BATCHES)
            await south.site.drained(new)
            calls, decisions = await south.calls(), await south.decisions()
            waiting = acknowledged - calls
            measured(
                f"copies were {min(behind)} to {max(behind)} calls behind; the line is cut, "
                f"north dies: {len(acknowledged):,} calls acknowledged there, {len(waiting)} not "
                f"copied; {decisions}; no decision for {silent_s:.1f} s"
            )
            assert decisions.calls == calls
            assert await decided(south.site, new, "+66812345678") == ["block"]

            await asyncio.to_thread(north.kafka.start)
            await asyncio.to_thread(there.start)
            await mirrored(north, south)
            await south.site.drained(new)
            there.stop()
            calls, decisions = await south.calls(), await south.decisions()
            unsaid = (await north.decisions()).calls - copied.calls
            measured(
                f"north is back: {len(waiting)} calls decided late, {len(unsaid)} decisions of "
                f"north came late; {decisions}"
            )
            assert switch.acknowledged <= calls
            assert decisions.calls == calls
            await way_back(north, south, switch, new, old, measured)
            await switch.close()


async def way_back(
    north: Place, south: Place, switch: Switch, old: Any, new: Any, measured: Any
) -> None:
    """Make north the site that works, in order: it begins as an empty one."""
    site = north.site
    topics = [*site.topics.calls, site.topics.decisions, site.topics.rejected]
    await deleted(north, topics)
    await asyncio.to_thread(north.redis.start)
    north.follow(south)
    ends = (south.kafka.bootstrap, north.kafka.bootstrap)
    with mirror(*ends, topics, [f"{site.name}.group"]) as back:
        await asyncio.to_thread(back.start)
        async with switch.sends_to(south):
            await synced(north)
            await decides(old, BATCHES)
        off_s = time.monotonic()
        await south.site.drained(old)
        assert await old.stop() == 0
        await mirrored(south, north)
        await until(lambda: is_at_the_end(north), "MirrorMaker to copy the last positions", 0.5)
        before = (await north.decisions()).twice
        north.follow(None)
        await new.ready()
        async with switch.sends_to(north):
            await decides(new, 1)
            silent_s = time.monotonic() - off_s
            await decides(new, BATCHES)
        await site.drained(new)
        back.stop()
    calls, decisions = await north.calls(), await north.decisions()
    measured(
        f"the way back: decided twice: {decisions.twice - before}; no decision for {silent_s:.1f} s"
    )
    assert switch.acknowledged <= calls
    assert decisions.calls == calls


async def lag(source: Place, target: Place) -> int:
    """Number of calls of the source that the target lacks now."""
    ends = await target.site.ends()
    return sum((await source.site.ends()).values()) - sum(ends.values())


async def is_at_the_end(place: Place) -> bool:
    """True if the group's positions are the ends of the topic of calls."""
    return (await place.site.committed()) == (await place.site.ends())


async def deleted(place: Place, topics: list[str]) -> None:
    """Delete topics, and with them the positions of groups."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=place.kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(topics)
        await until(lambda: _gone(admin, topics), "the topics to be deleted")
    finally:
        await admin.close()


async def _gone(admin: Any, topics: list[str]) -> bool:
    return not set(topics) & set(await admin.list_topics())
