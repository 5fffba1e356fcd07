"""End a transaction after four waits for the broker, where aiokafka's sender waits five times.

aiokafka sends the requests of a transaction one after another, each in its own task. The group is
added, its positions are committed, partitions are added, records are sent, and the transaction
ends. Here each goes as soon as Kafka may have it, without tasks:

    AddOffsetsToTxn    |  TxnOffsetCommit     |  Produce  |  EndTxn
    AddPartitionsToTxn, answered meanwhile    |           |

Records and positions do not go together. Since 3.6 a broker asks the coordinator whether the
transaction has the partition. It drops the first of two such questions about one transaction, and
refuses that request as NOT_ENOUGH_REPLICAS. So one in five had to be sent again, after a wait.

After an end Kafka writes markers for some milliseconds, and refuses additions until then. aiokafka
waits 20 ms for partitions. Here a refused request is sent again after `AGAIN_S`, and then more and
more rarely. A cluster that writes markers slowly is not asked a thousand times a second.

Everything else stays aiokafka's. Each step says if it was done. One that was not, for any reason,
is done by aiokafka from its beginning: Kafka takes each of these requests twice. So errors, moved
coordinators and fencing are what they always were. What was added is written into aiokafka's own
book of the transaction. Of aiokafka 0.14 this needs private names, which the tests of
`tests/unit/kafka/produce/test_direct_transactions.py` hold.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    KafkaError,
    NoError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.structs import OffsetAndMetadata

from stream.kafka.produce.direct_sends import answer_of

AGAIN_S, AGAIN_S_MAX = 0.001, 0.02
"""Until what was refused is asked for again: markers of the last transaction are being written.
At most what aiokafka waits."""
_AGAIN_SHARE = 0.25
"""The next question comes after this share of the wait so far: it lengthens that by no more."""

Answer = asyncio.Future[Any] | None
"""An answer to come; None: nothing was asked, as no connection to the coordinator is open."""


class DirectTransaction:
    """The quick way of one transaction; `producer` has begun it, and is untyped, therefore Any."""

    def __init__(self, producer: Any, group_id: str) -> None:
        """Ask for the group to be added: Kafka does it while records are made."""
        self._sender = producer._sender
        self._client = producer.client
        self._manager = producer._txn_manager
        self._group_id = group_id
        self._group = self._ask(AddOffsetsToTxnRequest, group_id)
        self._partitions: Answer = None
        self._tps: list[TopicPartition] = []

    def ask_partitions(self, partitions: Iterable[TopicPartition]) -> None:
        """Ask for `partitions` to be added; see `has_partitions`."""
        self._tps = list(partitions)
        if self._tps:
            self._partitions = self._ask(AddPartitionsToTxnRequest, _by_topic(self._tps))

    async def has_group(self) -> bool:
        """Wait until the group is part of the transaction; return whether it is."""
        if not await self._accepted(self._group, AddOffsetsToTxnRequest, self._group_id):
            return False
        self._manager.consumer_group_added(self._group_id)
        return True

    async def has_partitions(self) -> bool:
        """Wait until the partitions are part of the transaction; return whether they are.

        Raises TopicAuthorizationFailedError. aiokafka would go on, and Kafka refuse the records of
        other topics for a reason that says nothing.
        """
        topics = _by_topic(self._tps)
        if topics and not await self._accepted(self._partitions, AddPartitionsToTxnRequest, topics):
            return False
        self._manager.txn_partitions.update(self._tps)
        return True

    def put_positions(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> Answer:
        """Ask for positions to be committed with the transaction; see `taken`."""
        topics: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (topic, partition), at in sorted(offsets.items()):
            topics[topic].append((partition, at.offset, at.metadata))
        manager = self._manager
        request = TxnOffsetCommitRequest(
            manager.transactional_id,
            self._group_id,
            manager.producer_id,
            manager.producer_epoch,
            list(topics.items()),
        )
        return self._send(CoordinationType.GROUP, request)

    async def commit(self) -> bool:
        """Commit, once everything is acknowledged; return whether it is done."""
        if not await taken(self._ask(EndTxnRequest, True)):
            return False
        # Only now: aiokafka's sender would end a transaction that is being committed itself.
        self._manager._transition_to(TransactionState.COMMITTING_TRANSACTION)
        self._manager.complete_transaction()
        return True

    async def _accepted(self, answer: Answer, request: Any, what: object) -> bool:
        """Wait for an answer, and ask again while markers of the last transaction are written.

        The publisher bounds the whole transaction in time (`end_s_max`), and so this too.
        """
        waited_s = 0.0
        while (codes := await _codes_of(answer)) == {ConcurrentTransactions.errno}:
            again_s = min(max(AGAIN_S, waited_s * _AGAIN_SHARE), AGAIN_S_MAX)
            await asyncio.sleep(again_s)
            waited_s += again_s
            answer = self._ask(request, what)
        return codes == {NoError.errno}

    def _ask(self, request: Any, what: object) -> Answer:
        manager = self._manager
        asked = request(manager.transactional_id, manager.producer_id, manager.producer_epoch, what)
        return self._send(CoordinationType.TRANSACTION, asked)

    def _send(self, of: CoordinationType, request: Any) -> Answer:
        node = self._sender._coordinators.get(of)
        connection = self._client._conns.get((node, ConnectionGroup.COORDINATION))
        if connection is None or not connection.connected():
            return None
        try:
            return answer_of(connection, request)
        except KafkaError:
            return None


async def taken(answer: Answer) -> bool:
    """Wait for an answer; return whether it is plain success.

    Raises UnknownTopicOrPartitionError: a topic of the positions is gone. aiokafka would repeat the
    request until the topic is there again, or the transaction is too old.
    """
    codes = await _codes_of(answer)
    if UnknownTopicOrPartitionError.errno in codes:
        raise UnknownTopicOrPartitionError("a topic of the positions is gone")
    return codes == {NoError.errno}


async def _codes_of(answer: Answer) -> set[int]:
    """Return the error codes of an answer; none where it does not come."""
    if answer is None:
        return set()
    try:
        got = await answer
    except KafkaError:
        return set()
    if hasattr(got, "error_code"):
        return {got.error_code}
    for topic, parts in got.errors:
        if any(code == TopicAuthorizationFailedError.errno for _, code in parts):
            raise TopicAuthorizationFailedError(topic)
    return {code for _, parts in got.errors for _, code in parts}


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics: defaultdict[str, list[int]] = defaultdict(list)
    for topic, partition in partitions:
        topics[topic].append(partition)
    return list(topics.items())
