"""Topics for the benches: made, filled and read back, always with the broker's own append time.

Kafka stamps every record when it appends it (`message.timestamp.type=LogAppendTime`), in ms. Both
rates and latencies are computed from these stamps, so nobody's reading or writing counts in.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.bench.readback import Appended, read_back
from tests.bench.traffic import BLOCK, PARTITIONS, Traffic

BATCH_BYTES = 512 * BLOCK
HELD_S_MAX = 600


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def create(self, *names: str) -> None:
        """New, empty topics with `PARTITIONS` partitions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(
                        name,
                        num_partitions=PARTITIONS,
                        replication_factor=1,
                        topic_configs={"message.timestamp.type": "LogAppendTime"},
                    )
                    for name in names
                ]
            )
        finally:
            await admin.close()
        for name in names:
            await self.length(name)  # answered only when every partition has its leader

    async def delete(self, *names: str) -> None:
        """Give their disk back."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.delete_topics(list(names))
        finally:
            await admin.close()

    async def fill(self, name: str, traffic: Traffic, codec: str | None = None) -> None:
        """Write all of `traffic`, in blocks dealt to the partitions in turn (`traffic.place`)."""
        async with self._writer(acks=1, compression_type=codec) as producer:
            await self._write(producer, name, traffic)

    @asynccontextmanager
    async def held(
        self, name: str, traffic: Traffic
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Written as by `fill`, but in a transaction that ends when what is given is called.

        Readers of committed records see nothing before.
        """
        async with self._writer(
            transactional_id=name, transaction_timeout_ms=HELD_S_MAX * 1000
        ) as producer:
            await producer.begin_transaction()
            await self._write(producer, name, traffic)
            yield producer.commit_transaction

    @asynccontextmanager
    async def _writer(self, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
        async with AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, max_batch_size=BATCH_BYTES, **settings
        ) as producer:
            yield producer

    async def _write(self, producer: AIOKafkaProducer, name: str, traffic: Traffic) -> None:
        sent = []
        for start in range(0, len(traffic), BLOCK):
            batch = producer.create_batch()
            for record in traffic.records(start, start + BLOCK):
                fits = batch.append(key=None, value=record, timestamp=None)
                assert fits is not None, "a block must fit into one Kafka batch"
            partition = start // BLOCK % PARTITIONS
            sent.append(await producer.send_batch(batch, name, partition=partition))
        await asyncio.gather(*sent)

    async def length(self, name: str) -> int:
        """Return the number of records appended so far."""
        async with self._reader(name) as (consumer, partitions):
            return sum((await consumer.end_offsets(partitions)).values())

    async def wait_until_steady(
        self, name: str, at_least: int, still_s: float, timeout_s: float, check: Callable[[], None]
    ) -> None:
        """Wait until `at_least` records are there and none has come for `still_s`.

        `check` is called between looks: it raises when the peer has died. TimeoutError with the
        count so far after `timeout_s`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        seen, since = 0, loop.time()
        async with self._reader(name) as (consumer, partitions):
            while seen < at_least or loop.time() - since < still_s:
                check()
                if loop.time() > deadline:
                    raise TimeoutError(f"{seen} of {at_least} records on {name} in {timeout_s} s")
                await asyncio.sleep(0.1)
                now = sum((await consumer.end_offsets(partitions)).values())
                if now != seen:
                    seen, since = now, loop.time()

    async def read(self, name: str, kind_of: Callable[[bytes], int]) -> Appended:
        """Everything on a topic that is not in an aborted transaction; see `readback`."""
        async with self._reader(name) as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
        counts = {partition.partition: end for partition, end in ends.items()}
        return await read_back(self._bootstrap, name, counts, kind_of)

    def _reader(self, name: str) -> "_Reader":
        return _Reader(self._bootstrap, name)


class _Reader:
    """A consumer of all partitions of one topic, outside of any group."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        self._partitions = [TopicPartition(name, number) for number in range(PARTITIONS)]

    async def __aenter__(self) -> tuple[AIOKafkaConsumer, list[TopicPartition]]:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        return self._consumer, self._partitions

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
