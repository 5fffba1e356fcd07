"""Promises of the quick way of a transaction, held with aiokafka's own producer and no broker."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    NotCoordinatorError,
    OperationNotAttempted,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.structs import OffsetAndMetadata

from stream.kafka.produce import direct_transactions
from stream.kafka.produce.direct_transactions import DirectTransaction, taken
from tests.support.broker_connection import BrokerConnection
from tests.support.waiting import until

GROUP, PRODUCER_ID, EPOCH = "carrier", 7, 1
BUSY = ConcurrentTransactions.errno
DECISIONS = [TopicPartition("decisions", 0), TopicPartition("decisions", 2)]
POSITIONS = {
    TopicPartition("calls", 1): OffsetAndMetadata(30, "cluster/topic"),
    TopicPartition("calls", 0): OffsetAndMetadata(12, ""),
}


class Connection(BrokerConnection):
    """An open connection to a coordinator, whose answers a test gives."""

    def answer(self, *codes: int) -> None:
        """Answer the oldest request: with one code, or with one for each of its partitions."""
        _, request, answer = self._requests.pop(0)
        if isinstance(request, AddPartitionsToTxnRequest | TxnOffsetCommitRequest):
            ((topic, parts),) = request._topics
            rows = codes * len(parts) if len(codes) == 1 else codes
            answer.set_result(SimpleNamespace(errors=[(topic, list(enumerate(rows)))]))
        else:
            answer.set_result(SimpleNamespace(error_code=codes[0]))

    @property
    def kinds(self) -> list[type]:
        return [type(request) for request in self.sent]


class Site:
    """A producer with a transaction begun, and the open connection to its coordinators."""

    def __init__(self) -> None:
        self.producer: Any = AIOKafkaProducer(
            bootstrap_servers="127.0.0.1:1", acks="all", transactional_id="tx", linger_ms=0
        )
        self.producer._closed = True  # it was never started, so there is nothing to close
        self.connection = Connection()
        self.producer.client._conns[3, ConnectionGroup.COORDINATION] = self.connection
        self.sender = self.producer._sender
        self.sender._coordinators = dict.fromkeys(CoordinationType, 3)
        self.manager = self.producer._txn_manager
        self.manager.set_pid_and_epoch(PRODUCER_ID, EPOCH)
        self.manager.begin_transaction()
        self.quick = DirectTransaction(self.producer, GROUP)

        self.quick.ask_partitions(DECISIONS)

    async def added(self) -> None:
        self.connection.answer(0)
        self.connection.answer(0)
        assert await self.quick.has_group()
        assert await self.quick.has_partitions()


async def test_group_and_partitions_are_added_in_one_flight():
    """Nothing waits for an answer that it does not need; aiokafka knows what was added."""
    site = Site()
    group, partitions = site.connection.sent
    assert (group._group_id, group._producer_id, group._producer_epoch) == (GROUP, 7, EPOCH)
    assert partitions._topics == [("decisions", [0, 2])]
    site.connection.answer(0)
    assert await site.quick.has_group(), "positions wait for no partition"
    assert not site.manager.txn_partitions
    site.connection.answer(0)
    assert await site.quick.has_partitions()
    assert site.manager.txn_partitions == set(DECISIONS)
    assert not site.manager.is_empty_transaction()
    site.manager.add_offsets_to_txn({}, GROUP)
    assert site.manager.consumer_group_to_add() is None, "aiokafka adds no group again"


async def test_a_batch_without_records_adds_its_group_alone():
    """Positions of calls about which nothing is said are committed like any."""
    site = Site()
    quick = DirectTransaction(site.producer, GROUP)
    quick.ask_partitions(())
    assert await quick.has_partitions()
    assert site.connection.kinds[2:] == [AddOffsetsToTxnRequest]


@pytest.mark.parametrize("refused", ["group", "partitions"])
async def test_what_is_refused_for_the_last_transactions_markers_is_asked_again(
    refused, monkeypatch
):
    """Until they are written, in steps of a millisecond, and not aiokafka's 20."""
    assert direct_transactions.AGAIN_S <= 0.002
    monkeypatch.setattr(direct_transactions, "AGAIN_S", 0)
    site = Site()
    for each in ("group", "partitions"):
        site.connection.answer(BUSY if each == refused else 0)
    step = site.quick.has_group if refused == "group" else site.quick.has_partitions
    waiting = asyncio.create_task(step())

    def is_asked(times: int) -> bool:
        return len(site.connection.sent) == times

    for asked in (3, 4):
        await until(partial(is_asked, asked), "it is asked again")
        assert site.connection.kinds[-1] is site.connection.kinds[refused == "partitions"]
        assert not waiting.done()
        site.connection.answer(BUSY if asked == 3 else 0)
    assert await waiting


async def test_markers_that_take_long_are_asked_for_ever_more_rarely(monkeypatch):
    """A question lengthens the wait by a quarter at most, and by 20 ms, as aiokafka does.

    Markers of a fifth of a second took two hundred questions, and those of a dead broker thousands.
    """
    waits: list[float] = []
    turn = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await turn(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    site = Site()
    site.connection.answer(BUSY)
    site.connection.answer(0)
    waiting = asyncio.create_task(site.quick.has_group())
    while sum(waits) < 0.2:
        await turn(0)
        if site.connection._requests:
            site.connection.answer(BUSY)
    await turn(0)
    await turn(0)
    site.connection.answer(0)
    assert await waiting
    assert waits[0] == 0.001
    assert len(waits) < 25
    assert all(one <= max(0.001, 0.25 * sum(waits[:before])) for before, one in enumerate(waits))
    assert max(waits) == 0.02


@pytest.mark.parametrize(
    "code",
    [NotCoordinatorError.errno, InvalidProducerEpoch.errno, OperationNotAttempted.errno, None],
)
async def test_any_other_answer_leaves_the_step_to_aiokafka(code):
    """It asks again itself and judges the answer. An answer that never comes is one of these."""
    site = Site()
    if code is not None:
        site.connection.answer(code)
        site.connection.answer(0, code)
    site.connection.close()
    assert not await site.quick.has_group()
    assert not await site.quick.has_partitions()
    assert site.manager.state is TransactionState.IN_TRANSACTION
    assert not site.manager.txn_partitions
    site.manager.add_offsets_to_txn({}, GROUP)
    assert site.manager.consumer_group_to_add() == GROUP


@pytest.mark.parametrize("why", ["unknown", "closed", "none"])
async def test_without_a_connection_nothing_is_sent(why):
    """Coordinators are looked for and connected by aiokafka, as for the first transaction."""
    site = Site()
    match why:
        case "unknown":
            site.sender._coordinators.clear()
        case "closed":
            site.connection.is_open = False
        case "none":
            site.producer.client._conns.clear()
    quick = DirectTransaction(site.producer, GROUP)
    quick.ask_partitions(DECISIONS)
    assert not await quick.has_group()
    assert not await quick.has_partitions()
    assert not await taken(quick.put_positions(POSITIONS))
    assert not await quick.commit()
    assert len(site.connection.sent) == 2, "those of before"
    assert site.manager.is_in_transaction()


async def test_a_topic_that_may_not_be_written_is_named():
    """Else Kafka would refuse records of other topics too, for a reason that says nothing (48)."""
    site = Site()
    site.connection.answer(0)
    site.connection.answer(TopicAuthorizationFailedError.errno, OperationNotAttempted.errno)
    with pytest.raises(TopicAuthorizationFailedError, match="decisions"):
        await site.quick.has_partitions()


async def test_positions_go_to_the_groups_coordinator():
    """They are what the next reader begins at: each offset with its partition, and what it says."""
    site = Site()
    await site.added()
    site.sender._coordinators[CoordinationType.GROUP] = 4
    other = site.producer.client._conns[4, ConnectionGroup.COORDINATION] = Connection()
    answer = site.quick.put_positions(POSITIONS)
    (request,) = other.sent
    assert request._topics == [("calls", [(0, 12, ""), (1, 30, "cluster/topic")])]
    assert (request._transactional_id, request._group_id) == ("tx", GROUP)
    assert (request._producer_id, request._producer_epoch) == (PRODUCER_ID, EPOCH)
    other.answer(0)
    assert await taken(answer)


async def test_positions_refused_in_part_are_not_taken():
    """One partition's error is the whole answer's."""
    site = Site()
    await site.added()
    answer = site.quick.put_positions(POSITIONS)
    site.connection.answer(0, NotCoordinatorError.errno)
    assert not await taken(answer)


async def test_a_committed_transaction_is_over_for_aiokafka_too():
    """The next one may begin; its sender has nothing to end."""
    site = Site()
    await site.added()
    committing = asyncio.create_task(site.quick.commit())
    await asyncio.sleep(0)
    assert site.connection.kinds[-1] is EndTxnRequest
    assert site.connection.sent[-1]._transaction_result is True
    assert site.manager.needs_transaction_commit() is None, "its sender would commit as well"
    site.connection.answer(0)
    assert await committing
    assert site.manager.state is TransactionState.READY
    site.manager.begin_transaction()
    assert site.manager.is_empty_transaction()


async def test_an_end_that_is_refused_is_said_again_by_aiokafka():
    """The transaction is open for it as before; what it hears decides."""
    site = Site()
    await site.added()
    committing = asyncio.create_task(site.quick.commit())
    await asyncio.sleep(0)
    site.connection.answer(InvalidProducerEpoch.errno)
    assert not await committing
    committing = asyncio.ensure_future(site.producer.commit_transaction())
    await asyncio.sleep(0)
    assert site.manager.needs_transaction_commit() is not None
    site.manager.complete_transaction()
    await committing
