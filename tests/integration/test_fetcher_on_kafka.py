"""The fetcher and aiokafka's own fetcher read the same topics: the same records, byte for byte."""

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stream.core.model.byte_strings import Texts
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.fetch.fetcher import Fetcher, reader_for
from stream.kafka.settings import KafkaSettings, SourceSettings
from tests.support.record_batches import text, varint
from tests.support.waiting import Patience

pytestmark = [
    pytest.mark.apache_kafka,
    # A topic that was made a moment ago is not known everywhere at once, nor led.
    pytest.mark.expects_errors("not found in cluster metadata|NotLeaderForPartition"),
]

PARTITIONS = 6
RECORD_BYTES_MAX = 5 * 1024 * 1024
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
_names = itertools.count()


class Record(NamedTuple):
    """Return aiokafka's view of a record."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    value: bytes | None


Read = dict[Partition, list[Record]]


class Write(NamedTuple):
    """Records written by one producer: `sizes` of values (None: a tombstone), round the partitions.

    `ends`: "" without a transaction, else "commit", "abort" or "open".
    """

    codec: str | None
    ends: str
    first: int
    sizes: Sequence[int | None]
    keyed: bool
    seed: int


sizes = st.one_of(
    st.none(),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 100_000),
    st.sampled_from([0, 1, 2**20, RECORD_BYTES_MAX]),
)
writes = st.builds(
    Write,
    st.sampled_from(CODECS),
    st.sampled_from(["", "", "commit", "abort"]),
    st.integers(0, PARTITIONS - 1),
    st.lists(sizes, min_size=1, max_size=25),
    st.booleans(),
    st.integers(0, 2**32),
)
plans = st.lists(writes, min_size=1, max_size=6)


@asynccontextmanager
async def topic(bootstrap: str, **configs: str) -> AsyncIterator[str]:
    """A topic for one example."""
    name = f"fetcher{next(_names)}-{time.time_ns()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    bytes_max = str(RECORD_BYTES_MAX + 4096)
    chosen = {"max.message.bytes": bytes_max, "retention.ms": "-1", **configs}
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=chosen)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def write(bootstrap: str, topic: str, one: Write) -> None:
    """Carry it out."""
    rng = random.Random(one.seed)
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=one.codec,
        max_request_size=2 * RECORD_BYTES_MAX,
        transactional_id=f"{topic}-{one.seed}-{time.time_ns()}" if one.ends else None,
    )
    await producer.start()
    if one.ends:
        await producer.begin_transaction()
    sent = []
    for place, size in enumerate(one.sizes):
        key = rng.randbytes(rng.randrange(9)) if one.keyed or size is None else None
        headers = [("h", rng.randbytes(3)), ("", b"")][: rng.randrange(3)]
        value = None if size is None else b"%d " % place * (size // 3) + bytes(size % 3)
        sent.append(
            await producer.send(
                topic,
                value,
                key=key,
                headers=headers,
                partition=(one.first + place) % PARTITIONS,
                timestamp_ms=rng.randrange(1_700_000_000_000),
            )
        )
    await asyncio.gather(*sent)
    if one.ends == "commit":
        await producer.commit_transaction()
    elif one.ends == "abort":
        await producer.abort_transaction()
    await producer.stop()


@asynccontextmanager
async def consumer(
    bootstrap: str, topic: str, isolation_level: str = "read_committed"
) -> AsyncIterator[Any]:
    """A consumer of no group, at the beginning of all partitions."""
    made: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * RECORD_BYTES_MAX,
        fetch_max_wait_ms=20,
    )
    await made.start()
    made.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    try:
        yield made
    finally:
        await made.stop()


async def until_ended(bootstrap: str, topic: str) -> None:
    """Wait until the ends of all transactions are written: a broker answers a commit before."""
    async with (
        consumer(bootstrap, topic) as committed,
        consumer(bootstrap, topic, "read_uncommitted") as all_records,
    ):
        tps = committed.assignment()
        ends = await all_records.end_offsets(tps)
        known = dict.fromkeys(tps, -1)
        patience = Patience("the ends of all transactions")
        while any(known[tp] < ends[tp] for tp in tps):
            known = await committed.end_offsets(tps)
            patience.check(known)


async def behind(consumer: Any, ends: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Return a consumer's distance from the end of each partition: below 0 until it is there."""
    return {tp: await consumer.position(tp) - end for tp, end in ends.items()}


async def by_aiokafka(bootstrap: str, topic: str) -> tuple[Read, dict[Partition, int]]:
    """Return the records of its own fetcher, and the end of each partition at that time."""
    found: Read = defaultdict(list)
    async with consumer(bootstrap, topic) as made:
        tps = made.assignment()
        ends = await made.end_offsets(tps)
        patience = Patience("aiokafka to read to the end")
        while min((at := await behind(made, ends)).values()) < 0:
            patience.check(at)
            for tp, records in (await made.getmany(timeout_ms=50)).items():
                found[Partition(*tp)] += [
                    Record(one.offset, one.timestamp, one.key, one.headers, one.value)
                    for one in records
                ]
    return found, {Partition(*tp): end for tp, end in ends.items()}


async def by_the_fetcher(
    bootstrap: str,
    topic: str,
    expected: Read,
    ends: dict[Partition, int],
    between: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Read with the fetcher up to `ends`, and compare; `between` happens once, half-way."""
    found: Counter[Partition] = Counter()
    half = sum(map(len, expected.values())) // 2
    async with consumer(bootstrap, topic) as made:
        chosen = SourceSettings((topic,), "", "", "earliest", 30_000, 30_000)
        reader = reader_for(made, KafkaSettings(bootstrap, "fetcher"), chosen, lambda _: None)
        assert isinstance(reader, Fetcher)
        await reader.start()
        try:
            reader.hold(ends)
            reader.begin(1, dict.fromkeys(ends, 0))
            states = dict(reader._states)
            patience = Patience("the fetcher to read to the end")
            while reader._fetched.begun or any(
                states[name].position < end for name, end in ends.items()
            ):
                patience.check((found.total(), {name: states[name].position for name in ends}))
                batch = await reader.take(7, 20)
                for partition, start, stop in batch.segments:
                    for row in range(start, stop):
                        assert_same(batch, row, expected[partition][found[partition]])
                        found[partition] += 1
                if between is not None and found.total() >= half:
                    await between()
                    between = None
        finally:
            await reader.stop()
    assert found == {partition: len(records) for partition, records in expected.items()}
    assert reader.stopped == reader.by_aiokafka == 0


def assert_same(batch: RawBatch, row: int, expected: Record) -> None:
    """The same offset, time and value; and around the value lie that record's key and headers."""
    values = batch.values
    assert isinstance(values, Texts)
    assert int(batch.offsets[row]) == expected.offset
    assert int(batch.timestamps_ms[row]) == expected.timestamp_ms
    assert values[row] == expected.value
    if expected.value is not None:
        start = int(values.starts[row])
        before = text(expected.key) + varint(len(expected.value))
        headers = b"".join(text(name.encode()) + text(held) for name, held in expected.headers)
        after = varint(len(expected.headers)) + headers
        stop = start + len(expected.value)
        assert values.data[start - len(before) : start].tobytes() == before
        assert values.data[stop : stop + len(after)].tobytes() == after


@settings(
    max_examples=10,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(plan=plans)
def test_both_readers_find_the_same(kafka, plan: list[Write]) -> None:
    """Codecs, transactions that end well or not, no bytes to 5 MB, keys, headers, tombstones."""

    async def one_topic() -> None:
        async with topic(kafka.bootstrap) as name:
            for one in plan:
                await write(kafka.bootstrap, name, one)
            await until_ended(kafka.bootstrap, name)
            await by_the_fetcher(kafka.bootstrap, name, *await by_aiokafka(kafka.bootstrap, name))

    asyncio.run(one_topic())


async def test_log_append_time_is_the_brokers(kafka):
    """Where the topic says so, its own clock is the records' time."""
    async with topic(kafka.bootstrap, **{"message.timestamp.type": "LogAppendTime"}) as name:
        await write(kafka.bootstrap, name, Write("zstd", "", 0, [5] * 20, True, 1))
        expected, ends = await by_aiokafka(kafka.bootstrap, name)
        times_ms = [one.timestamp_ms for rows in expected.values() for one in rows]
        assert len(times_ms) == 20
        assert min(times_ms) > time.time() * 1000 - 60_000
        await by_the_fetcher(kafka.bootstrap, name, expected, ends)


async def test_the_open_end_of_a_transaction_is_waited_for(kafka):
    """Nothing behind it is read before it ends."""
    async with topic(kafka.bootstrap) as name:
        await write(kafka.bootstrap, name, Write(None, "", 0, [5] * 12, False, 1))
        producer: Any = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"perhaps", partition=0)
        await write(kafka.bootstrap, name, Write(None, "", 0, [5] * 12, False, 2))
        expected, ends = await by_aiokafka(kafka.bootstrap, name)
        assert sum(map(len, expected.values())) == 22
        await by_the_fetcher(kafka.bootstrap, name, expected, ends)
        await producer.commit_transaction()
        await producer.stop()
        await until_ended(kafka.bootstrap, name)
        expected, ends = await by_aiokafka(kafka.bootstrap, name)
        assert sum(map(len, expected.values())) == 25
        await by_the_fetcher(kafka.bootstrap, name, expected, ends)


async def test_compaction_leaves_holes(kafka):
    """Records that are gone, batches that are empty: positions go on behind them."""
    configs = {
        "cleanup.policy": "compact",
        "segment.bytes": "1048576",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
        "delete.retention.ms": "0",
    }
    await often_compacted(kafka.bootstrap)
    async with topic(kafka.bootstrap, **configs) as name:
        for turn in range(3):
            for codec in ("gzip", None):
                await keyed(kafka.bootstrap, name, codec, turn)
            await asyncio.sleep(0.15)
        expected, ends = await by_aiokafka(kafka.bootstrap, name)
        patience = Patience("the cleaner to remove half of the records")
        while (left := sum(map(len, expected.values()))) >= sum(ends.values()) / 2:
            patience.check(left)
            await asyncio.sleep(0.5)
            expected, ends = await by_aiokafka(kafka.bootstrap, name)
        await of_one_log(kafka.bootstrap, name)


async def of_one_log(bootstrap: str, topic: str) -> None:
    """Both find the same in a log that is being compacted.

    What the cleaner takes away between the one's reading and the other's is no difference of
    theirs. It only ever takes away: where the one finds the same before and after, the other had
    that log too. Each turn but the last has fewer records than the one before, so it ends.
    """
    while True:
        expected, ends = await by_aiokafka(bootstrap, topic)
        try:
            await by_the_fetcher(bootstrap, topic, expected, ends)
        except AssertionError:
            if (await by_aiokafka(bootstrap, topic))[0] == expected:
                raise
        else:
            return


async def often_compacted(bootstrap: str) -> None:
    """Let the broker look every quarter of a second for something to compact, not every 15 s."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    configs = {"log.cleaner.backoff.ms": "250"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", configs=configs)])
    await admin.close()


async def keyed(bootstrap: str, topic: str, codec: str | None, turn: int) -> None:
    """The same keys again and again, some of them deleted."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec)
    await producer.start()
    for place in range(120):
        value = None if place % 7 == turn else b"%d in turn %d" % (place, turn)
        await producer.send(topic, value, key=b"%d" % (place % 20), partition=place % PARTITIONS)
    await producer.stop()


@pytest.mark.expects_errors
async def test_a_broker_that_restarts_in_mid_read(own_broker):
    """Killed with answers on their way: what comes after is what would have come."""
    async with topic(own_broker.bootstrap) as name:
        await write(own_broker.bootstrap, name, Write("lz4", "commit", 0, [20_000] * 300, True, 1))
        await until_ended(own_broker.bootstrap, name)
        expected, ends = await by_aiokafka(own_broker.bootstrap, name)

        async def restart() -> None:
            await asyncio.to_thread(own_broker.kill)
            await asyncio.to_thread(own_broker.start)

        await by_the_fetcher(own_broker.bootstrap, name, expected, ends, restart)
