"""Record batches as Apache Kafka really writes them: read as aiokafka's own consumer reads them."""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.core.model.byte_strings import PADDING
from stream.kafka.batch import Partition
from stream.kafka.fetch.messages import FetchSizes, fetch_answer, fetch_request
from stream.kafka.record_batches import Room, Stretch, read_records
from tests.support.waiting import Patience

pytestmark = [
    pytest.mark.apache_kafka,
    # aiokafka says so of a topic that is new.
    pytest.mark.expects_errors("not found in cluster metadata"),
]
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
AT_ONCE = FetchSizes(2**24, 2**24, 100)


class Read(NamedTuple):
    """Records, each (offset, time, value), and the offset to read next."""

    rows: list[tuple[int, int, bytes | None]]
    next_offset: int


class Cluster:
    """The broker, with a topic of one partition."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap = bootstrap
        self.topic = topic

    async def create(self, **configs: str) -> None:
        """Make the topic; `configs` with _ for dots."""
        held = {name.replace("_", "."): value for name, value in configs.items()}
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self.topic, 1, 1, topic_configs=held)])
        finally:
            await admin.close()

    async def producer(self, stack: AsyncExitStack, **options: Any) -> Any:
        """One that writes batches of a few records."""
        held = {"linger_ms": 5, "max_batch_size": 2000, "acks": "all", **options}
        producer: Any = AIOKafkaProducer(bootstrap_servers=self.bootstrap, **held)
        await producer.start()
        stack.push_async_callback(producer.stop)
        return producer

    async def write(self, producer: Any, records: Sequence[Mapping[str, Any]]) -> int:
        """Send all, and wait until the broker has them; the offset of the first."""
        sent = [await producer.send(self.topic, partition=0, **record) for record in records]
        return int(min(one.offset for one in await asyncio.gather(*sent)))

    async def ours(self, offset: int, stop: int, sizes: FetchSizes = AT_ONCE) -> Read:
        """Fetch and read from `offset` until `stop` is reached, in a room of 64 KiB."""
        rows: list[tuple[int, int, bytes | None]] = []
        partition, room = Partition(self.topic, 0), Room(64 * 1024)
        reader, writer = await asyncio.open_connection(*self.bootstrap.split(":"))
        try:
            while offset < stop:
                writer.write(fetch_request(1, "test", {partition: offset}, sizes))
                prefix = await reader.readexactly(4)
                content = prefix + await reader.readexactly(int.from_bytes(prefix, "big"))
                answer = fetch_answer(content, len(content))
                assert answer.error == 0
                (part,) = answer.parts
                assert part.error == 0
                data = np.frombuffer(content + bytes(PADDING), np.uint8)
                left: Stretch | None = Stretch(part.start, part.stop, offset, part.aborted)
                while left is not None:
                    found = read_records(data, [left], room)
                    times_ms = found.timestamps_ms.tolist()
                    rows += zip(found.offsets.tolist(), times_ms, found.values, strict=True)
                    assert found.faults == [None]
                    assert found.next_offsets[0] >= offset
                    offset, left = found.next_offsets[0], found.rest[0]
        finally:
            writer.close()
            await writer.wait_closed()
        return Read(rows, offset)

    async def theirs(self, offset: int) -> Read:
        """The same by aiokafka, to the last committed record."""
        partition = TopicPartition(self.topic, 0)
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_partition_fetch_bytes=2**24,
        ) as consumer:
            consumer.assign([partition])
            consumer.seek(partition, offset)
            rows: list[tuple[int, int, bytes | None]] = []
            stop = (await consumer.end_offsets([partition]))[partition]
            patience = Patience(f"aiokafka to read from {offset} to {stop}")
            while (at := await consumer.position(partition)) < stop:
                patience.check(at)
                for found in (await consumer.getmany(timeout_ms=100)).values():
                    rows += [(record.offset, record.timestamp, record.value) for record in found]
            return Read(rows, await consumer.position(partition))

    async def readable(self, stop: int = -1) -> None:
        """Wait until all before `stop` may be read (-1: all that there is).

        A broker answers the end of a transaction before its log has it.
        """
        partition, uncommitted = TopicPartition(self.topic, 0), "read_uncommitted"
        async with AsyncExitStack() as stack:
            ends = {}
            for level in ("read_committed", uncommitted):
                consumer: Any = AIOKafkaConsumer(
                    bootstrap_servers=self.bootstrap, isolation_level=level
                )
                await consumer.start()
                stack.push_async_callback(consumer.stop)
                ends[level] = consumer
            if stop < 0:
                stop = (await ends[uncommitted].end_offsets([partition]))[partition]
            patience = Patience(f"transactions before {stop} to end")
            while (
                now := (await ends["read_committed"].end_offsets([partition]))[partition]
            ) < stop:
                patience.check(now)


@pytest.fixture
def cluster(kafka: Any, request: pytest.FixtureRequest) -> Cluster:
    return Cluster(kafka.bootstrap, f"records-{os.getpid()}-{request.node.name}"[:200])


def records(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Any values, some large, some none; keys, headers and times of all sorts."""
    made = []
    for _ in range(count):
        size = rng.choice((0, 1, 60, 288, 3000))
        value = rng.choice((rng.randbytes(size), b"x" * size, None))
        made.append(
            {
                "value": value,
                "key": rng.choice((b"", b"key") if value is None else (None, b"", b"key")),
                "headers": rng.choice(([], [("name", b"value"), ("", b"")])),
                "timestamp_ms": rng.randrange(1, 1_790_000_000_000),
            }
        )
    return made


async def assert_same(cluster: Cluster, starts: Sequence[int], sizes: FetchSizes = AT_ONCE) -> int:
    """Both read the same from each offset; how many records there were from the first.

    A cleaner that takes records away between the one's reading and the other's makes no
    difference of theirs: both are asked again. It ends: each time there are fewer.
    """
    found = 0
    for start in starts:
        expected = await cluster.theirs(start)
        while (ours := await cluster.ours(start, expected.next_offset, sizes)) != expected:
            again = await cluster.theirs(start)
            assert again != expected, f"{ours} is not {expected}"
            expected = again
        found = max(found, len(expected.rows))
    return found


async def test_codecs_and_transactions(cluster: Cluster) -> None:
    """Every codec, committed and aborted records side by side, one transaction still open."""
    await cluster.create()
    rng = random.Random(1)
    async with AsyncExitStack() as stack:
        expected = 0
        for codec in CODECS:
            plain = await cluster.producer(stack, compression_type=codec)
            pair = [
                await cluster.producer(
                    stack, compression_type=codec, transactional_id=f"{cluster.topic}-{codec}-{i}"
                )
                for i in range(2)
            ]
            for commits in ((True, False), (False, True), (False, False)):
                for producer in pair:
                    await producer.begin_transaction()
                for producer in (plain, *pair, plain, *pair):
                    await cluster.write(producer, records(rng, 12))
                for producer, commit in zip(pair, commits, strict=True):
                    end = producer.commit_transaction if commit else producer.abort_transaction
                    await end()
                expected += 24 + 24 * sum(commits)
        await pair[0].begin_transaction()
        opened = await cluster.write(pair[0], records(rng, 5))
        await cluster.write(plain, records(rng, 5))  # behind what is open: not to be read yet
        await cluster.readable(opened)
        assert await assert_same(cluster, range(0, 1100, 101)) == expected
        small = FetchSizes(20_000, 5000, 100)
        assert await assert_same(cluster, (0, 500), small) == expected
        await pair[0].abort_transaction()
        await cluster.readable()
        assert await assert_same(cluster, (0, 900)) == expected + 5


async def test_the_brokers_times(cluster: Cluster) -> None:
    """A topic with log-append time."""
    await cluster.create(message_timestamp_type="LogAppendTime")
    async with AsyncExitStack() as stack:
        for codec in CODECS:
            producer = await cluster.producer(stack, compression_type=codec)
            await cluster.write(producer, records(random.Random(2), 20))
    assert await assert_same(cluster, (0, 33)) == 100


async def test_what_compaction_leaves(cluster: Cluster, quick_cleaner: None) -> None:
    """Batches with holes, empty ones, markers of transactions whose records are gone."""
    await cluster.create(
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        delete_retention_ms="0",
    )
    rng = random.Random(3)
    async with AsyncExitStack() as stack:
        written = 0
        for codec in CODECS:
            plain = await cluster.producer(stack, compression_type=codec)
            other = await cluster.producer(
                stack, compression_type=codec, transactional_id=f"{cluster.topic}-{codec}"
            )
            for commit in (True, False):
                await other.begin_transaction()
                for producer in (plain, other, plain):
                    # The last value of a key stays: some keys come back, some do not.
                    keyed = [
                        {**record, "key": b"%d" % rng.randrange(250)} for record in records(rng, 30)
                    ]
                    await cluster.write(producer, keyed)
                await (other.commit_transaction if commit else other.abort_transaction)()
                written += 60 + 30 * commit
        await cluster.readable()
        patience = Patience("the cleaner to remove half of the records")
        while (left := len((await cluster.theirs(0)).rows)) > written // 2:
            patience.check(left)
            await asyncio.sleep(0.3)
            await cluster.write(plain, [{"key": b"tick", "value": b""}])
    found = await assert_same(cluster, range(0, 900, 97))
    assert 100 <= found <= written // 2


@pytest.fixture
async def quick_cleaner(kafka: Any) -> None:
    """The log's cleaner looks every 100 ms, not every 15 s."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        configs = {"log.cleaner.backoff.ms": "100"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", configs)])
    finally:
        await admin.close()
