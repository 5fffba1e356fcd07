"""Topics of the tests' brokers: written, and read to their end."""

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.support.waiting import Patience

RECORD_BYTES_MAX = 2**25
"""Larger than the largest record that a test writes."""


async def written(
    bootstrap: str, topic: str, values: Sequence[bytes | None], partitions: int = 4
) -> list[Any]:
    """Write records, spread over all partitions; the metadata of each."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_request_size=RECORD_BYTES_MAX
    ) as producer:
        sent = [
            await producer.send(topic, value, key=b"", partition=place % partitions)
            for place, value in enumerate(values)
        ]
        return [await one for one in sent]


async def read(
    bootstrap: str, topic: str, partitions: int = 4, isolation: str = "read_committed"
) -> list[Any]:
    """All records of a topic that a reader of committed records sees, in order.

    With "read_uncommitted" also those of transactions that were aborted or are open.
    """
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        enable_auto_commit=False,
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
    ) as consumer:
        wanted = [TopicPartition(topic, one) for one in range(partitions)]
        consumer.assign(wanted)
        ends = await consumer.end_offsets(wanted)
        records: list[Any] = []
        patience = Patience(f"reading {topic} to its end")
        while any([await consumer.position(tp) < ends[tp] for tp in wanted]):
            patience.check(len(records))
            for found in (await consumer.getmany(timeout_ms=100)).values():
                records += found
    return records
