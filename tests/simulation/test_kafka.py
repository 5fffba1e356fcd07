"""The model of Kafka, as aiokafka's unchanged clients meet it, and its rules one by one."""

import asyncio
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced
from crc32c import crc32c

from tests.simulation.kafka.errors import Code
from tests.simulation.kafka.partition_log import PartitionLog
from tests.simulation.network import Weather
from tests.simulation.world import World
from tests.support.record_batches import ABORT, COMMIT, TRANSACTIONAL, Row, batch, by_aiokafka

P0 = TopicPartition("calls", 0)


def run(main: Callable[[World], Coroutine[Any, Any, Any]], seed: int = 1, **more: Any) -> Any:
    """Run `main` in a world with brokers and a topic."""

    async def begun(world: World) -> Any:
        await world.start()
        world.cluster.create("calls", 4)
        return await main(world)

    return World(seed, **more).run(begun)


def consumer(world: World, *topics: str, **more: Any) -> Any:
    """A consumer that reads committed records from the beginning."""
    chosen = {"group_id": "g", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    chosen |= {"isolation_level": "read_committed", **more}
    return AIOKafkaConsumer(*topics, bootstrap_servers=world.cluster.bootstrap, **chosen)


async def read(reader: Any, count: int) -> list[bytes]:
    """Read so many values."""
    found: list[bytes] = []
    while len(found) < count:
        for records in (await reader.getmany(timeout_ms=500)).values():
            found += [record.value for record in records]
    return found


async def written(world: World, values: list[bytes], **more: Any) -> None:
    """Write values by aiokafka's producer, idempotently, one after the other."""
    producer = AIOKafkaProducer(
        bootstrap_servers=world.cluster.bootstrap, acks="all", enable_idempotence=True, **more
    )
    await producer.start()
    for number, value in enumerate(values):
        await producer.send_and_wait("calls", value, partition=number % 4)
    await producer.stop()


def numbered(count: int) -> list[bytes]:
    """Values."""
    return [b"%d" % number for number in range(count)]


def test_aiokafka_writes_and_a_group_reads():
    """Each record once, and the group goes on where it committed."""

    async def main(world: World) -> tuple[list[bytes], list[bytes]]:
        await written(world, numbered(40))
        async with consumer(world, "calls") as reader:
            first = await read(reader, 40)
            await reader.commit()
        await written(world, [b"more"])
        async with consumer(world, "calls") as reader:
            return sorted(first), await read(reader, 1)

    first, second = run(main)
    assert first == sorted(numbered(40))
    assert second == [b"more"]


def test_records_are_written_once_over_cuts():
    """Connections break at any byte; what was sent again is not there twice."""

    async def main(world: World) -> list[bytes]:
        await written(world, numbered(60))
        world.network.calm()
        async with consumer(world, "calls") as reader:
            found = await read(reader, 60)
            assert not await reader.getmany(timeout_ms=2000)
            return sorted(found)

    assert run(main, weather=Weather(cut=0.05)) == sorted(numbered(60))


def test_a_broker_that_dies_is_replaced():
    """Its partitions and groups get others, by and by; nothing acknowledged is lost."""

    async def main(world: World) -> list[bytes]:
        task = asyncio.create_task(written(world, numbered(40), request_timeout_ms=2000))
        await asyncio.sleep(0.03)
        world.cluster.kill(0)
        await task
        world.cluster.kill(1, reset=False)
        await asyncio.sleep(5)
        await world.start_broker(0)
        async with consumer(world, "calls", request_timeout_ms=2000) as reader:
            return sorted(await read(reader, 40))

    assert run(main) == sorted(numbered(40))


def history(seed: int) -> str:
    """Return all that happens to a producer on a bad network, as a hash, and how long it takes."""
    world = World(seed, Weather(cut=0.05))

    async def main(world: World) -> None:
        await world.start()
        world.cluster.create("calls", 4)
        await written(world, numbered(40))

    world.run(main)
    return f"{world.loop.trace} {world.loop.past_s:.9f}"


def test_the_same_seed_is_the_same_history():
    """Also with faults; another seed is another one."""

    def trace(seed: int) -> str:
        # In a process of its own: asyncio keeps tasks in sets, whose order is that of addresses.
        code = f"from {__name__} import history; print(history({seed}))"
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert trace(3) == trace(3) != trace(4)


def test_members_share_the_partitions():
    """A second member gets its part, and the first all of them again when it leaves."""

    async def main(world: World) -> list[int]:
        sizes = []
        async with consumer(world, "calls", session_timeout_ms=6000) as one:
            sizes.append(len(one.assignment()))
            other = consumer(world, "calls", session_timeout_ms=6000)
            await other.start()
            while len(one.assignment()) == 4:
                await one.getmany(timeout_ms=100)
            sizes += [len(one.assignment()), len(other.assignment())]
            await other.stop()
            while len(one.assignment()) < 4:
                await one.getmany(timeout_ms=100)
            return [*sizes, len(one.assignment())]

    assert run(main) == [4, 2, 2, 4]


def test_a_static_member_keeps_its_partitions_over_a_restart():
    """No rebalance: the group's generation stays as it was."""

    async def main(world: World) -> tuple[int, int, int]:
        async with consumer(world, "calls", group_instance_id="w0") as one:
            before = world.cluster.group("g").generation
            assert len(one.assignment()) == 4
        async with consumer(world, "calls", group_instance_id="w0") as again:
            return before, world.cluster.group("g").generation, len(again.assignment())

    before, after, partitions = run(main)
    assert before == after
    assert partitions == 4


@pytest.mark.parametrize("commits", [True, False])
def test_transactions_count_whole_or_not_at_all(commits):
    """Records and the group's positions, both only if it was committed."""

    async def main(world: World) -> tuple[list[bytes], Any]:
        producer = AIOKafkaProducer(
            bootstrap_servers=world.cluster.bootstrap, transactional_id="tx", acks="all"
        )
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait("calls", b"in", partition=0)
        await producer.send_offsets_to_transaction({TopicPartition("calls", 1): 7}, "g")
        await (producer.commit_transaction() if commits else producer.abort_transaction())
        await producer.begin_transaction()
        await producer.send_and_wait("calls", b"after", partition=0)
        await producer.commit_transaction()
        await producer.stop()
        async with consumer(world, "calls", group_id="other") as reader:
            found = await read(reader, 1 + commits)
        return found, world.cluster.group("g").offsets.get(("calls", 1))

    found, position = run(main)
    assert found == ([b"in", b"after"] if commits else [b"after"])
    assert position == ((7, "") if commits else None)


def test_an_older_producer_is_fenced_off():
    """The newest with a transactional id counts; what the older had open is aborted."""

    async def main(world: World) -> list[bytes]:
        options = {"bootstrap_servers": world.cluster.bootstrap, "transactional_id": "tx"}
        older, newer = AIOKafkaProducer(**options), AIOKafkaProducer(**options)
        await older.start()
        await older.begin_transaction()
        await older.send_and_wait("calls", b"older", partition=0)
        await newer.start()
        with pytest.raises(ProducerFenced):
            await older.commit_transaction()
        await newer.begin_transaction()
        await newer.send_and_wait("calls", b"newer", partition=0)
        await newer.commit_transaction()
        await older.stop()
        await newer.stop()
        async with consumer(world, "calls") as reader:
            return await read(reader, 1)

    assert run(main) == [b"newer"]


def test_a_transaction_that_stays_open_is_aborted_by_the_broker():
    """Until then nothing behind it is read; then only what is not of it."""

    async def main(world: World) -> tuple[list[bytes], float]:
        process = world.process("writer")

        async def left_open() -> None:
            producer = AIOKafkaProducer(
                bootstrap_servers=world.cluster.bootstrap,
                transactional_id="tx",
                transaction_timeout_ms=3000,
            )
            await producer.start()
            await producer.begin_transaction()
            await producer.send_and_wait("calls", b"open", partition=0)
            await asyncio.sleep(60)

        process.run(left_open())
        await asyncio.sleep(2)
        process.kill()
        await written(world, [b"behind"])
        async with consumer(world, "calls") as reader:
            return await read(reader, 1), world.loop.past_s

    found, past_s = run(main)
    assert found == [b"behind"]
    assert past_s > 3


# The log's rules, without a client.


def sent(sequence: int, count: int = 1, producer: int = 9, epoch: int = 0, bits: int = 0) -> bytes:
    """A producer's batch."""
    content = bytearray(batch(0, [Row(delta, b"v") for delta in range(count)], bits, producer))
    struct.pack_into(">hi", content, 51, epoch, sequence)
    struct.pack_into(">I", content, 17, crc32c(bytes(content[21:])))
    return bytes(content)


def test_a_batch_that_comes_again_is_known():
    """The same sequence gets the same offset; a gap or an older epoch is refused."""
    log = PartitionLog()
    assert log.append(sent(0, 3)) == (Code.NONE, 0)
    assert log.append(sent(3)) == (Code.NONE, 3)
    assert log.append(sent(0, 3)) == (Code.NONE, 0)
    assert log.append(sent(5))[0] is Code.OUT_OF_ORDER_SEQUENCE
    assert log.append(sent(0, epoch=1)) == (Code.NONE, 4)
    assert log.append(sent(4))[0] is Code.INVALID_PRODUCER_EPOCH
    assert log.end == 5


def test_a_damaged_batch_is_refused():
    """Its checksum tells."""
    content = bytearray(sent(0))
    content[-1] ^= 1
    assert PartitionLog().append(bytes(content))[0] is Code.CORRUPT_MESSAGE


def test_committed_readers_stop_at_an_open_transaction():
    """And pass over an aborted one, by the index that comes with the records."""
    log = PartitionLog()
    log.append(sent(0, bits=TRANSACTIONAL))
    log.append(sent(0, producer=10))
    assert log.stable == 0
    log.mark(9, 0, ABORT)
    assert log.stable == log.end == 3
    log.append(sent(1, bits=TRANSACTIONAL))
    log.mark(9, 0, COMMIT)
    content = log.read(0, 10**6, committed=True, whole_first=True)
    found = by_aiokafka(content, 0, log.aborted_in(0, log.end))
    assert [offset for offset, *_ in found.rows] == [1, 3]


def test_retention_moves_the_beginning():
    """A deleted offset is out of range; the end stays."""
    log = PartitionLog()
    for sequence in range(4):
        log.append(sent(sequence))
    log.forget_before(2)
    assert (log.start, log.end) == (2, 4)
    log.forget_before(9)
    assert (log.start, log.end) == (9, 9)
