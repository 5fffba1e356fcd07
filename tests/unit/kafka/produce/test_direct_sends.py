"""Promises of sends in one turn, held with aiokafka's own producer and no broker."""

import asyncio
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    InvalidProducerEpoch,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RecordListTooLargeError,
)
from aiokafka.protocol.produce import ProduceResponse_v7

from stream.kafka.produce.direct_sends import REQUESTS_MAX, DirectSends
from tests.support.broker_connection import BrokerConnection
from tests.support.waiting import until

PRODUCER_ID, EPOCH = 7, 1


class Connection(BrokerConnection):
    """An open connection to a broker that answers when a test says so."""

    def answers(self, code: int = 0, offset: int = 100) -> None:
        """Answer the oldest request, each of its partitions alike."""
        _, request, answer = self._requests.pop(0)
        topics = [
            (topic, [(number, code, offset, -1, 0) for number, _ in parts])
            for topic, parts in request._topics
        ]
        answer.set_result(ProduceResponse_v7(topics, 0))


def sequence_of(batch: bytes) -> int:
    """Return the base sequence of a record batch (protocol guide, "Record Batch")."""
    return int(struct.unpack_from(">i", batch, 53)[0])


class Site:
    """A producer that has a pid, its broker's connection, and the direct way of both."""

    def __init__(self, *, idempotent: bool = True) -> None:
        self.producer: Any = AIOKafkaProducer(
            bootstrap_servers="127.0.0.1:1", acks="all", enable_idempotence=idempotent, linger_ms=0
        )
        self.producer._closed = True  # it was never started, so there is nothing to close
        client: Any = self.producer.client
        client.cluster.leader_for_partition = lambda _: 0
        client.force_metadata_update = self.asked_for_metadata
        self.metadata_asked = 0
        self.connection = Connection()
        client._conns[0, ConnectionGroup.DEFAULT] = self.connection
        if idempotent:
            self.producer._txn_manager.set_pid_and_epoch(PRODUCER_ID, EPOCH)
        self.sender = self.producer._sender
        self.sender._retry_backoff = 0.001
        self.accumulator = self.producer._message_accumulator
        self.direct = DirectSends(self.producer)

    def asked_for_metadata(self) -> Any:
        self.metadata_asked += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    def batch(self, value: bytes = b"v") -> Any:
        made = self.producer.create_batch()
        made.append(key=None, value=value, timestamp=0)
        return made

    def send(self, *partitions: int) -> Any:
        return self.direct.send({"decisions": [(each, self.batch()) for each in partitions]})

    async def known(self, *partitions: int) -> None:
        """Let the broker acknowledge a batch of each partition."""
        self.send(*partitions)
        self.connection.answers()
        self.connection.sent.clear()

    def queued(self, partition: int = 0) -> list[int]:
        """Return the sequence numbers of what aiokafka would send next, in order."""
        batches = self.accumulator._batches.get(TopicPartition("decisions", partition), ())
        return [sequence_of(batch.get_data_buffer()) for batch in batches]

    @property
    def idle(self) -> bool:
        """True if aiokafka's sender may send anything."""
        return not self.sender._in_flight and not self.sender._muted_partitions


async def test_batches_leave_before_the_event_loop_turns():
    """A decision waits for no task: one request for all partitions, acknowledged by the broker."""
    site = Site()
    first, second = site.send(0, 3)
    (request,) = site.connection.sent
    assert [(topic, [part[0] for part in parts]) for topic, parts in request._topics] == [
        ("decisions", [0, 3])
    ]
    assert not first.done()
    site.connection.answers(offset=5)
    assert [(await each).offset for each in (first, second)] == [5, 5]
    assert site.idle


async def test_an_answer_is_taken_in_the_turn_in_which_it_comes():
    """A turn of the event loop costs a tenth of a batch of one call."""
    site = Site()
    (sent,) = site.send(0)
    site.connection.answers(offset=5)
    assert sent.done()
    assert site.idle


@pytest.mark.parametrize("why", ["queued", "in flight", "muted", "no connection", "closed", "pid"])
async def test_what_aiokafka_would_not_send_now_is_left_to_it(why):
    """Nothing overtakes: where its sender would wait, nothing is sent and nothing has changed."""
    site = Site()
    tp = TopicPartition("decisions", 0)
    match why:
        case "queued":
            await site.accumulator.add_batch(site.batch(), TopicPartition("rejected", 0), 1)
        case "in flight":
            site.sender._in_flight.add(0)
        case "muted":
            site.sender._muted_partitions.add(tp)
        case "no connection":
            site.producer.client._conns.clear()
        case "closed":
            site.connection.is_open = False
        case "pid":
            site.producer._txn_manager.has_pid = lambda: False
    queued = dict(site.accumulator._batches)
    assert site.send(0) is None
    assert site.connection.sent == []
    assert site.accumulator._batches == queued


async def test_all_topics_go_in_one_request():
    """A batch with calls that could not be read costs no request more."""
    site = Site()
    sent = site.direct.send({"decisions": [(0, site.batch())], "rejected": [(2, site.batch())]})
    assert sent is not None
    (request,) = site.connection.sent
    assert [topic for topic, _ in request._topics] == ["decisions", "rejected"]
    site.connection.answers()
    assert all(each.done() for each in sent)


async def test_the_first_batches_of_a_partition_go_one_by_one():
    """A broker that does not know us would take a second one and refuse a first."""
    site = Site()
    assert site.send(1, 1) is None
    assert site.idle
    assert len(site.send(1)) == 1
    assert site.send(1) is None
    assert len(site.send(2)) == 1, "another partition has no order with it"


async def test_a_broker_forgets_us(monkeypatch):
    """So a batch after an idle time waits for the one before it."""
    site = Site()
    await site.known(0)
    later_s = site.direct._loop.time() + 3_601
    monkeypatch.setattr(site.direct, "_loop", SimpleNamespace(time=lambda: later_s))
    assert len(site.send(0)) == 1
    assert site.send(0) is None


async def test_a_broker_has_the_next_request_before_it_answers_the_last():
    """It works on one while we decide the next: in order, and each acknowledged by its own."""
    site = Site()
    await site.known(0)
    (first,), (second,) = site.send(0), site.send(0)
    assert [sequence_of(one._topics[0][1][0][1]) for one in site.connection.sent] == [1, 2]
    site.connection.answers(offset=5)
    assert (first.done(), second.done()) == (True, False)
    assert not site.idle
    site.connection.answers(offset=6)
    assert [(await each).offset for each in (first, second)] == [5, 6]
    assert site.idle


async def test_two_batches_of_one_partition_go_in_two_requests():
    """Kafka takes one batch of a partition in a request."""
    site = Site()
    await site.known(1)
    first, other, second = site.send(1, 0, 1)
    assert [[part[0] for part in one._topics[0][1]] for one in site.connection.sent] == [
        [1, 0],
        [1],
    ]
    site.connection.answers(offset=5)
    assert [each.done() for each in (first, other, second)] == [True, True, False]
    site.connection.answers(offset=6)
    assert (await second).offset == 6
    assert site.idle


async def test_requests_on_their_way_are_bounded():
    """A broker knows five batches of a partition again, so no sixth is sent."""
    site = Site()
    await site.known(0)
    for _ in range(REQUESTS_MAX):
        assert site.send(0) is not None
    assert site.send(0) is None
    assert site.send(1) is None
    site.connection.answers()
    assert site.send(0) is not None


async def test_without_sequence_numbers_batches_go_one_by_one():
    """One that is sent again would land behind the next."""
    site = Site(idempotent=False)
    await site.known(0)
    assert site.send(0) is not None
    assert site.send(0) is None


async def test_what_aiokafka_queued_meanwhile_follows():
    """The sender is woken once the broker is free, and takes what was queued meanwhile."""
    site = Site()
    (first,) = site.send(0)
    await site.accumulator.add_batch(site.batch(), TopicPartition("decisions", 1), 1)
    assert site.send(2) is None, "what is queued goes first"
    nodes, _ = site.accumulator.drain_by_nodes(site.sender._in_flight, set())
    assert not nodes
    waiter = site.accumulator.waiter()
    site.connection.answers()
    await first
    assert waiter.done()
    assert site.idle


async def test_refused_batches_are_queued_again_in_their_order():
    """A broker refuses what follows a batch that it did not take; all of it is sent once more."""
    site = Site()
    await site.known(0, 1)
    site.send(0, 1), site.send(0), site.send(0)
    await site.accumulator.add_batch(site.batch(), TopicPartition("decisions", 0), 1)
    site.connection.answers(NotLeaderForPartitionError.errno)
    assert site.send(2) is None, "the broker has not answered everything"
    site.connection.answers(OutOfOrderSequenceNumber.errno)
    assert not site.idle
    site.connection.answers(OutOfOrderSequenceNumber.errno)
    await until(lambda: site.idle, "the sender is free")
    # The last was never sent: aiokafka gives it a number as it leaves.
    assert site.queued()[:3] == [1, 2, 3]
    assert site.queued(1) == [1]
    assert len(site.accumulator._batches[TopicPartition("decisions", 0)]) == 4


async def test_after_an_error_a_partition_has_to_be_acknowledged_once():
    """Its new leader may be a broker that does not know us."""
    site = Site()
    await site.known(0)
    site.send(0)
    site.connection.answers(NotLeaderForPartitionError.errno)
    await until(lambda: site.idle, "the sender is free")
    site.accumulator._batches.clear()
    assert site.send(0) is not None
    assert site.send(0) is None


async def test_what_was_taken_beside_a_refused_batch_is_acknowledged():
    """Only what the broker did not take is sent again."""
    site = Site()
    await site.known(0, 1)
    (refused,), (taken,) = site.send(0), site.send(1)
    site.connection.answers(NotLeaderForPartitionError.errno)
    site.connection.answers(offset=8)
    await until(lambda: site.idle, "the sender is free")
    assert (await taken).offset == 8
    assert not refused.done()
    assert (site.queued(0), site.queued(1)) == ([1], [])


async def test_a_refused_batch_ends_those_behind_it():
    """A gap cannot be filled any more. The worker hears why from the first."""
    site = Site()
    await site.known(0)
    (first,), (second,) = site.send(0), site.send(0)
    site.connection.answers(RecordListTooLargeError.errno)
    site.connection.answers(OutOfOrderSequenceNumber.errno)
    with pytest.raises(RecordListTooLargeError):
        await first
    with pytest.raises(OutOfOrderSequenceNumber):
        await second
    await until(lambda: site.idle, "the sender is free")


async def test_sequence_numbers_go_on_from_one_way_to_the_other():
    """The broker refuses a gap, and takes what it has already for a repetition."""
    site = Site()
    tp = TopicPartition("decisions", 0)
    for expected in (1, 2):
        (sent,) = site.send(0)
        site.connection.answers()
        await sent
        assert site.producer._txn_manager.sequence_number(tp) == expected


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_leader_that_moved_is_asked_for_and_the_batch_is_queued_again(idempotent):
    """A retriable error takes aiokafka's way: new metadata, its wait, its queue, the same batch."""
    site = Site(idempotent=idempotent)
    (sent,) = site.send(0)
    site.connection.answers(NotLeaderForPartitionError.errno)
    await until(lambda: site.idle, "the sender is free")
    assert site.metadata_asked
    assert not sent.done()
    nodes, _ = site.accumulator.drain_by_nodes(set(), set())
    (again,) = nodes[0].values()
    again.done(9)
    assert (await sent).offset == 9


async def test_nothing_overtakes_a_batch_that_waits_to_be_sent_again():
    """Its partition stays its own until it is back in the queue."""
    site = Site()
    site.sender._retry_backoff = 3600.0
    site.send(0)
    site.connection.answers(NotLeaderForPartitionError.errno)
    await until(lambda: site.metadata_asked, "metadata are asked")
    assert site.send(0) is None
    assert site.sender._muted_partitions == {TopicPartition("decisions", 0)}
    site.direct.close()
    await until(lambda: site.idle, "the sender is free")


@pytest.mark.parametrize("how", ["lost", "before", "silent"])
async def test_a_connection_that_is_lost_loses_no_batch(how):
    """Lost on the way, before the request was written, or closed since no answer came in time."""
    site = Site()
    if how == "before":
        site.connection.connected = lambda: True  # type: ignore[method-assign]
        site.connection.is_open = False
    if how == "silent":
        site.connection._request_timeout = 0.0
    (sent,) = site.send(0)
    if how == "lost":
        site.connection.close()
    await until(lambda: site.accumulator._batches, "it is queued again")
    await until(lambda: site.idle, "the sender is free")
    assert not sent.done()
    assert site.accumulator._batches.keys() == {TopicPartition("decisions", 0)}


async def test_a_connection_that_is_lost_queues_all_in_order():
    """Nobody knows which of them the broker has: it knows them again by their numbers."""
    site = Site()
    await site.known(0)
    sent = [site.send(0)[0] for _ in range(3)]
    site.connection.close()
    await until(lambda: site.idle, "the sender is free")
    assert site.queued() == [1, 2, 3]
    assert not any(each.done() for each in sent)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (RecordListTooLargeError.errno, RecordListTooLargeError),
        (InvalidProducerEpoch.errno, ProducerFenced),
    ],
)
async def test_a_refusal_ends_its_batch_with_aiokafkas_error(code, error):
    """The worker gets the error that it knows, and the sender is free."""
    site = Site()
    (sent,) = site.send(0)
    site.connection.answers(code)
    with pytest.raises(error):
        await sent
    await until(lambda: site.idle, "the sender is free")


async def test_a_bug_in_a_retry_ends_the_producer():
    """Every batch on its way fails, as with a bug in aiokafka's own task: nobody waits for ever."""
    site = Site()
    (sent,) = site.send(0)
    # An answer that aiokafka cannot read.
    broken = SimpleNamespace(topics=[("decisions", [(0, 6)])], API_VERSION=7)
    site.connection._requests.pop()[2].set_result(broken)
    with pytest.raises(ValueError, match="unpack"):
        await sent
    await until(lambda: site.idle, "the sender is free")


async def test_a_flush_waits_for_what_was_sent():
    """A producer that closes leaves nothing unacknowledged: the batch is among aiokafka's own."""
    site = Site()
    site.send(0)
    flushed = asyncio.ensure_future(site.accumulator.flush())
    await asyncio.sleep(0)
    assert not flushed.done()
    site.connection.answers()
    await flushed
