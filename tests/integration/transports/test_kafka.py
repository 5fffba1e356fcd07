"""The Kafka transport on a real broker: increments, tombstones, and topics that are not what they
were.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.open import read_header, read_rows
from stream.feeds.transports.kafka_topic import KafkaFeedSettings, KafkaTransport
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.kafka.settings import KafkaSettings
from tests.support.waiting import HANGS_S

pytestmark = [
    pytest.mark.apache_kafka,
    # Brokers learn of a new topic one after the other, and aiokafka says so as an error.
    pytest.mark.expects_errors("not found in cluster metadata|Unable connect to"),
]
_names = count()
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "0",
}


class Feed:
    """A topic, as its partner has it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = f"feed{next(_names)}-{time.time_ns()}"

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """A user that may make topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def make(self, **configs: str) -> None:
        """The topic."""
        new = NewTopic(self.topic, 2, 1, topic_configs=configs)
        async with self.admin() as admin:
            await admin.create_topics([new])

    async def make_anew(self) -> None:
        """Another topic of the same name."""
        async with self.admin() as admin, asyncio.timeout(HANGS_S):
            await admin.delete_topics([self.topic])
            while self.topic in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await self.make()

    async def say(self, changes: Mapping[str, bytes | None], **options: Any) -> None:
        """Records, spread by their keys."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", **options
        ) as producer:
            if "transactional_id" in options:
                await producer.begin_transaction()
            for number, value in changes.items():
                place = int(number[-1]) % 2
                await producer.send_and_wait(self.topic, value, number.encode(), place)
            if "transactional_id" in options:
                await producer.abort_transaction()

    def transport(self, **fields: Any) -> KafkaTransport:
        """Ours."""
        settings = KafkaFeedSettings(topic=self.topic, **{"deadline_s": HANGS_S, **fields})
        return KafkaTransport(settings, KafkaSettings(self.bootstrap, "ringfence-test"))


@pytest.fixture
def feed(kafka) -> Feed:
    return Feed(kafka.bootstrap)


def said(path: Path) -> dict[str | None, bool]:
    """Number -> whether it was removed, of a change file that its format proves to be whole."""
    found: dict[str | None, bool] = {}
    for rows in read_rows(path, "ringfence"):
        found |= dict(zip(rows.number, rows.removed or [False] * len(rows), strict=True))
        assert not rows.unreadable
    path.unlink()
    return found


async def fetched(feed: Feed, into: Path, remembered: Mapping[str, str]) -> Fetched:
    result = await feed.transport().fetch(remembered, into)
    assert isinstance(result, Fetched)
    assert [path.name for path in into.parent.iterdir()] == [into.name]
    assert read_header(into).whole == result.whole
    return result


A, B, C, D = (f"+44770090000{n}" for n in range(4))


async def test_a_topic_is_followed(feed: Feed, into: Path) -> None:
    """First all of it, then what came since: additions, changes and tombstones, each once."""
    await feed.make()
    await feed.say({A: b"{}", B: b"{}", C: b"{}"})
    await feed.say({C: None})
    first = await fetched(feed, into, {})
    assert first.whole
    assert said(into) == {A: False, B: False}
    idle = await feed.transport().fetch(first.remember, into)
    assert isinstance(idle, Unchanged)
    await feed.say({A: None, B: b'{"category": "call_centre"}', D: b"{}"})
    second = await fetched(feed, into, idle.remember)
    assert not second.whole
    assert said(into) == {A: True, B: False, D: False}
    assert isinstance(await feed.transport().fetch(second.remember, into), Unchanged)
    assert not list(into.parent.iterdir())


async def test_what_was_not_accepted_comes_again(feed: Feed, into: Path) -> None:
    """Nothing is remembered on the broker: until a version is accepted, it is offered."""
    await feed.make()
    await feed.say({A: b"{}"})
    first = await fetched(feed, into, {})
    said(into)
    await feed.say({B: b"{}"})
    for _ in range(2):
        await fetched(feed, into, first.remember)
        assert said(into) == {B: False}


async def test_what_was_taken_back_is_not_seen(feed: Feed, into: Path) -> None:
    """Records of an aborted transaction are none, and its marker is not waited for."""
    await feed.make()
    await feed.say({A: b"{}"})
    await feed.say({B: b"{}"}, transactional_id=f"tx-{feed.topic}")
    first = await fetched(feed, into, {})
    assert said(into) == {A: False}
    assert isinstance(await feed.transport().fetch(first.remember, into), Unchanged)


async def test_a_topic_that_was_made_anew_is_read_whole(feed: Feed, into: Path) -> None:
    """Both cases: it is shorter than our position, or longer with another record there."""
    await feed.make()
    await feed.say({A: b"{}", B: b"{}", C: b"{}", D: b"{}"})
    first = await fetched(feed, into, {})
    said(into)
    await feed.make_anew()
    await feed.say({A: b"{}"})
    shorter = await fetched(feed, into, first.remember)
    assert shorter.whole
    assert said(into) == {A: False}
    await feed.make_anew()
    await feed.say({C: b"{}", B: b"{}", A: b"{}"})
    longer = await fetched(feed, into, shorter.remember)
    assert longer.whole
    assert said(into) == {A: False, B: False, C: False}


async def test_more_partitions_are_a_reason_to_read_it_whole(feed: Feed, into: Path) -> None:
    """Keys lie elsewhere then, and what is in the new one was never read."""
    await feed.make()
    await feed.say({A: b"{}"})
    first = await fetched(feed, into, {})
    said(into)
    async with feed.admin() as admin:
        await admin.create_partitions({feed.topic: NewPartitions(3)})
    async with asyncio.timeout(HANGS_S):
        while not (await fetched(feed, into, first.remember)).whole:
            said(into)
    assert said(into) == {A: False}


async def test_what_is_gone_is_a_reason_to_read_it_whole(feed: Feed, into: Path) -> None:
    """Records that retention took before we read them may have been removals."""
    await feed.make()
    await feed.say({A: b"{}"})
    first = await fetched(feed, into, {})
    said(into)
    await feed.say({A: None, C: b"{}"})
    gone = RecordsToDelete(before_offset=2)
    async with feed.admin() as admin:
        await admin.delete_records({TopicPartition(feed.topic, 0): gone})
    await feed.say({C: b"{}"})
    second = await fetched(feed, into, first.remember)
    assert second.whole
    assert said(into) == {C: False}


async def test_after_a_day_it_is_read_whole(feed: Feed, into: Path) -> None:
    """Tombstones leave a topic after delete.retention.ms: removals would not be told."""
    await feed.make()
    await feed.say({A: b"{}"})
    first = await fetched(feed, into, {})
    said(into)
    old = {**first.remember, "read_at_s": str(int(time.time()) - 86_400)}
    assert (await fetched(feed, into, old)).whole


async def test_compaction_changes_nothing(feed: Feed, into: Path) -> None:
    """Holes, and the record where we stopped gone: an increment is what came after it."""
    broker = ConfigResource(
        ConfigResourceType.BROKER, "1", configs={"log.cleaner.backoff.ms": "250"}
    )
    async with feed.admin() as admin:
        await admin.alter_configs([broker])
    await feed.make(**COMPACTED)
    for _ in range(3):
        await feed.say({A: b"{}", B: b"{}", C: b"{}"})
    first = await fetched(feed, into, {})
    assert said(into) == {A: False, B: False, C: False}
    await feed.say({A: None, B: b"{}", C: b"{}"})
    async with asyncio.timeout(HANGS_S):
        # A tombstone begins another segment each time, so that the one before can be compacted.
        while len(said((await fetched(feed, into, {})).path)) != 2 or await records(feed) > 8:
            await feed.say({A: None, B: b"{}"})
            await asyncio.sleep(0.2)
    second = await fetched(feed, into, first.remember)
    assert not second.whole
    assert said(into) == {A: True, B: False, C: False}


async def records(feed: Feed) -> int:
    """Count the records of the topic, as a reader from the beginning counts them."""
    consumer: Any = AIOKafkaConsumer(
        feed.topic, bootstrap_servers=feed.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    found = 0
    try:
        while some := await consumer.getmany(timeout_ms=300):
            found += sum(map(len, some.values()))
    finally:
        await consumer.stop()
    return found


async def refused(transport: KafkaTransport, into: Path) -> FeedDown:
    with pytest.raises(FeedDown) as caught:
        await transport.fetch({}, into)
    assert not list(into.parent.iterdir())
    return caught.value


async def test_a_topic_that_is_not_there_is_named(feed: Feed, into: Path) -> None:
    """And not made: a broker that makes topics would give us an empty list."""
    fault = await refused(feed.transport(), into)
    assert fault.reason is FeedFault.MISSING
    assert feed.topic in fault.detail
    async with feed.admin() as admin:
        assert feed.topic not in await admin.list_topics()


async def test_a_topic_over_its_limit_is_refused(feed: Feed, into: Path) -> None:
    """With the limit in the message, and nothing left."""
    await feed.make()
    await feed.say({A: b"{}", B: b"{}"})
    fault = await refused(feed.transport(bytes_max=60), into)
    assert fault.reason is FeedFault.TOO_LARGE
    assert "bytes_max = 60" in fault.detail


async def test_a_broker_that_is_not_there_is_down(into: Path) -> None:
    """Said with its address, and tried again by the supervisor only."""
    kafka = KafkaSettings("127.0.0.1:1", "ringfence-test")
    fault = await refused(KafkaTransport(KafkaFeedSettings(topic="feed"), kafka), into)
    assert fault.reason is FeedFault.KAFKA_DOWN
    assert "topic feed of 127.0.0.1:1" in fault.detail


async def test_a_broker_that_says_nothing_is_given_up(into: Path) -> None:
    """A server that is not Kafka listens there: the deadline ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # the kernel lets us in
        kafka = KafkaSettings(f"127.0.0.1:{listening.getsockname()[1]}", "ringfence-test")
        settings = KafkaFeedSettings(topic="feed", deadline_s=0.3)
        fault = await refused(KafkaTransport(settings, kafka), into)
    assert fault.reason is FeedFault.TIMEOUT
