"""Send record batches in one turn of the event loop, where aiokafka's sender takes five.

aiokafka hands a batch to a task, which hands it to another for each broker, which waits in a third
for the answer. Around a batch of one call that is more than the call costs. In the usual case none
of it is needed: the leader is known, its connection is open, nothing else of ours is on its way
there. Then a batch goes to the socket at once, and a callback takes the answer.

Everything else stays aiokafka's. A batch is sent here only where its sender would send it in its
next turn, and its sender sees it as one of its own: sequence numbers, brokers with a request on
its way, partitions that wait. An answer that is not plain success goes through aiokafka's handler,
so errors, retries, leader moves and fencing are what they always were. Of aiokafka 0.14 this needs
private names, which the tests of `tests/unit/kafka/produce/test_direct_sends.py` hold.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import SendProduceReqHandler

Acknowledgements = list["asyncio.Future[Any]"]


class DirectSends:
    """The quick way of one started producer; `producer` is untyped, therefore Any."""

    def __init__(self, producer: Any) -> None:
        self._sender = producer._sender
        self._accumulator = producer._message_accumulator
        self._client = producer.client
        self._transactions = producer._txn_manager
        self._loop = asyncio.get_running_loop()
        self._retries: set[asyncio.Task[None]] = set()

    def send(self, topic: str, batches: Iterable[tuple[int, Any]]) -> Acknowledgements | None:
        """Send all of `batches`, one a partition; None, and nothing is sent, where that must wait.

        Each of the futures ends when the broker has its batch, or with a KafkaError.
        """
        by_node = self._by_node(topic, batches)
        if by_node is None:
            return None
        waiting: Acknowledgements = []
        for node, builders in by_node.items():
            # Through the accumulator: it gives sequence numbers, and its `flush` waits for these.
            for tp, builder in builders.items():
                made = MessageBatch(tp, builder, self._accumulator._batch_ttl, 0)
                self._accumulator._batches[tp].append(made)
                waiting.append(made.future)
            taken = {tp: self._accumulator._pop_batch(tp) for tp in builders}
            _Request(self, node, taken).send()
        return waiting

    def close(self) -> None:
        """Give up retries: the producer is closed, and nobody waits for them."""
        for task in self._retries:
            task.cancel()

    def _by_node(
        self, topic: str, batches: Iterable[tuple[int, Any]]
    ) -> dict[int, dict[TopicPartition, Any]] | None:
        """Return the batches by leader; None where aiokafka's sender would not send them now."""
        sender, client, transactions = self._sender, self._client, self._transactions
        # What is queued goes first. A closed or failed accumulator says so itself.
        accumulator = self._accumulator
        if accumulator._batches or accumulator._closed or accumulator._exception is not None:
            return None
        if transactions is not None and not transactions.has_pid():
            return None
        by_node: dict[int, dict[TopicPartition, Any]] = {}
        for partition, batch in batches:
            tp = TopicPartition(topic, partition)
            node = client.cluster.leader_for_partition(tp)
            connection = client._conns.get((node, ConnectionGroup.DEFAULT))
            if connection is None or not connection.connected():
                return None
            builders = by_node.setdefault(node, {})
            # As in `drain_by_nodes`: one request of a broker, and one batch of a partition.
            if node in sender._in_flight or tp in sender._muted_partitions or tp in builders:
                return None
            builders[tp] = batch
        return by_node


class _Request:
    """One request on its way to `node`, as `Sender._send_produce_req` without its task."""

    def __init__(self, sends: DirectSends, node: int, batches: dict[TopicPartition, Any]) -> None:
        self._sends = sends
        self._node = node
        self._batches = batches
        self._handler = SendProduceReqHandler(sends._sender, batches)

    def send(self) -> None:
        """Write the request; its answer is taken in a callback."""
        sends, sender = self._sends, self._sends._sender
        connection = sends._client._conns[(self._node, ConnectionGroup.DEFAULT)]
        sender._in_flight.add(self._node)
        sender._muted_partitions.update(self._batches)
        try:
            answer = ask(connection, self._handler.create_request())
        except KafkaError as error:
            answer = sends._loop.create_future()
            answer.set_exception(error)
            self._retry(answer)
            return
        answer.add_done_callback(self._answered)

    def _answered(self, answer: "asyncio.Future[Any]") -> None:
        if answer.cancelled() or answer.exception() is not None or _has_errors(answer.result()):
            self._retry(answer)
            return
        self._handler.handle_response(answer.result())
        self._end()

    def _retry(self, answer: "asyncio.Future[Any]") -> None:
        """Let aiokafka's handler have an answer that is not plain success."""
        self._handler._client = _Answered(self._sends._client, answer)
        task = self._sends._loop.create_task(self._handler.do(self._node))
        self._sends._retries.add(task)
        task.add_done_callback(self._retried)

    def _retried(self, task: "asyncio.Task[None]") -> None:
        self._sends._retries.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A bug. Every batch of the producer ends with it, as with one in its own tasks.
            self._sends._accumulator.fail_all(task.exception())
        self._end()

    def _end(self) -> None:
        """Let aiokafka's sender go on with what was queued meanwhile."""
        sender, accumulator = self._sends._sender, self._sends._accumulator
        sender._in_flight.discard(self._node)
        sender._muted_partitions.difference_update(self._batches)
        waiter = accumulator._waiter_future
        if accumulator._batches and not waiter.done():
            waiter.set_result(None)


def ask(connection: Any, request: Any) -> "asyncio.Future[Any]":
    """Write a request now; return its answer to come. Raises KafkaError where none can be written.

    The answer may be left alone: an error of it is not logged then.
    """
    # The coroutine waits for the answer, in a task. The future that it waits for is enough.
    connection.send(request).close()
    answer: asyncio.Future[Any] = connection._requests[-1][2]
    # As `AIOKafkaClient.send` does with a broker that does not answer: the next try has another
    # connection. What was on its way ends with an error, this request too.
    timer = asyncio.get_running_loop().call_later(
        connection._request_timeout, connection.close, CloseReason.CONNECTION_TIMEOUT
    )

    def answered(answer: "asyncio.Future[Any]") -> None:
        timer.cancel()
        if not answer.cancelled():
            answer.exception()

    answer.add_done_callback(answered)
    return answer


class _Answered:
    """aiokafka's client, which has the answer to the next request already."""

    def __init__(self, client: Any, answer: "asyncio.Future[Any]") -> None:
        self._client = client
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: int, request: object) -> Any:
        """Return the answer, or raise its error."""
        del node, request
        return await self._answer


def _has_errors(response: Any) -> bool:
    """Return whether any partition was answered with an error code, the second of its fields."""
    return any(part[1] for _, parts in response.topics for part in parts)
