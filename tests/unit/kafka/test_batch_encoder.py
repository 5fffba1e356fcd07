"""Internals of aiokafka that `kafka.batch_encoder` needs; an upgrade that changes them fails."""

import inspect
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.producer import message_accumulator, producer, sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.types import Bytes
from aiokafka.record.default_records import DefaultRecordBatch

from stream.core import kernels
from stream.core.model.byte_strings import Texts
from stream.kafka.batch_encoder import BatchEncoder, Frame, murmur2, partitions_of

by_kernel = pytest.mark.skipif(not kernels.compiled(), reason="frames are made by a kernel")

PARTITION = TopicPartition("decisions", 0)
FRAMING = BatchEncoder((("content-type", b"application/json"),), 1 << 20, None, transactional=False)


def frame(count: int = 3) -> Frame:
    """A batch of some records."""
    ids = np.array([b"%013d" % number for number in range(count)], "S16")
    values = Texts.of([b"{}"] * count)
    ((_, made),) = FRAMING.frames(ids, np.full(count, b"+447700900100", "S16"), values, 1, 0, 1000)
    return made


@by_kernel
def test_a_frame_has_all_that_aiokafka_asks_of_a_builder():
    """Every method that its producer calls on a builder is one of ours, and takes the same."""
    text = "".join(map(inspect.getsource, (message_accumulator, producer, sender)))
    asked = set(re.findall(r"(?<!self)\._builder\.(\w+)", text))
    asked |= set(
        re.findall(r"self\._builder\.(\w+)", inspect.getsource(message_accumulator.MessageBatch))
    )
    assert asked == {
        "append", "close", "closed", "record_count", "_set_producer_state", "_build"
    }  # fmt: skip
    for name in asked - {"append"}:
        theirs = inspect.signature(getattr(BatchBuilder, name)).parameters
        ours = inspect.signature(getattr(Frame, name)).parameters
        assert len(theirs) == len(ours), name


def accumulator() -> MessageAccumulator:
    """Where an idempotent producer keeps what it has not sent."""
    manager = TransactionManager(None, 1000)
    manager.set_pid_and_epoch(77, 5)
    cluster = SimpleNamespace(leader_for_partition=lambda _: 1)
    return MessageAccumulator(cluster, 1 << 20, 0, 30, txn_manager=manager)


def drained(kept: MessageAccumulator) -> Any:
    """The batch that would be sent now."""
    nodes, _ = kept.drain_by_nodes(ignore_nodes=())
    return nodes[1][PARTITION]


@by_kernel
async def test_the_accumulator_takes_a_frame_and_gives_it_its_place_in_the_sequence():
    """Producer id, epoch and sequence are those that an idempotent producer is at."""
    kept = accumulator()
    for sequence in (0, 3):
        await kept.add_batch(frame(), PARTITION, 1)
        batch = drained(kept)
        sent = DefaultRecordBatch(bytes(batch.get_data_buffer()))
        assert sent.validate_crc()
        assert (sent.producer_id, sent.producer_epoch, sent.base_sequence) == (77, 5, sequence)
        assert [record.value for record in sent] == [b"{}"] * 3
        batch.done(sequence)


@by_kernel
async def test_a_batch_that_is_sent_again_is_the_same():
    """A batch without an acknowledgement is repeated under its number, so it is no double."""
    kept = accumulator()
    await kept.add_batch(frame(), PARTITION, 1)
    batch = drained(kept)
    first = bytes(batch.get_data_buffer())
    kept.reenqueue(batch)
    again = drained(kept)
    assert bytes(again.get_data_buffer()) == first
    again.done(0)


@by_kernel
def test_a_request_takes_the_memory_of_a_frame():
    """The producer puts any buffer behind its length."""
    whole: Any = frame()._build()
    assert Bytes.encode(whole) == len(whole).to_bytes(4) + bytes(whole)


def test_known_hashes_of_the_java_client():
    """The values that Kafka's own UtilsTest.testMurmur2 expects, from both sides of the sign."""
    cases = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert list(cases.values()) == murmur2(list(cases)).astype("int32").tolist()


def test_no_keys():
    """A batch without decisions needs no partitions."""
    assert partitions_of([], 12).tolist() == []
