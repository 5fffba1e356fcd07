"""Send record batches in one turn of the event loop, where aiokafka's sender takes five.

aiokafka hands a batch to a task, which hands it to another for each broker, which waits in a third
for the answer. Around a batch of one call that is more than the call costs. Usually none of it is
needed. The leader is known, its connection is open, and nothing else of ours is on its way there.
Then a batch goes to the socket at once, and a callback takes the answer.

Everything else stays aiokafka's. A batch is sent here only if its sender would send it in its next
turn. Its sender sees it as its own: sequence numbers, brokers with a request on its way, partitions
that wait. An answer that is not plain success goes through aiokafka's handler, so errors, retries,
leader moves and fencing are what they always were. Of aiokafka 0.14 this needs private names, which
the tests of `tests/unit/kafka/produce/test_direct_sends.py` hold.
"""

import asyncio
from collections.abc import Callable, Iterable
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
        """Give up retries: the producer is closed, and no caller waits for them."""
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
            ask(connection, self._handler.create_request(), _Awaited(self._answered))
        except KafkaError as error:
            self._answered(None, error)

    def _answered(self, response: Any, error: BaseException | None) -> None:
        if error is None and not _has_errors(response):
            self._handler.handle_response(response)
            self._end()
            return
        # aiokafka's handler has what is not plain success.
        self._handler._client = _Answered(self._sends._client, response, error)
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


class _Awaited:
    """An answer to come, as aiokafka's connection knows it: what it needs of a future, and no more.

    `take` gets the response or the error at once. A future would call it in a turn of its own.
    """

    def __init__(self, take: Callable[[Any, BaseException | None], None]) -> None:
        self._take = take
        self._is_done = False
        self.timer: asyncio.TimerHandle | None = None

    def done(self) -> bool:
        """Return whether it has come."""
        return self._is_done

    def set_result(self, response: Any) -> None:
        """Take the response."""
        self._end(response, None)

    def set_exception(self, error: BaseException) -> None:
        """Take the end of the connection."""
        self._end(None, error)

    def _end(self, response: Any, error: BaseException | None) -> None:
        self._is_done = True
        if self.timer is not None:
            self.timer.cancel()
        self._take(response, error)


def ask(connection: Any, request: Any, awaited: _Awaited) -> None:
    """Write a request now; `awaited` gets its answer. Raises KafkaError where it is not written."""
    # The coroutine waits for the answer, in a task. What it waits for is all that is needed, and
    # nobody has it yet: the answer comes in a later turn.
    connection.send(request).close()
    correlation_id, sent, _ = connection._requests.pop()
    connection._requests.append((correlation_id, sent, awaited))
    # As `AIOKafkaClient.send` does with a broker that does not answer: the next try has another
    # connection. What was on its way ends with an error, this request too.
    awaited.timer = asyncio.get_running_loop().call_later(
        connection._request_timeout, connection.close, CloseReason.CONNECTION_TIMEOUT
    )


def answer_of(connection: Any, request: Any) -> "asyncio.Future[Any]":
    """Write a request now; return its answer to come. Raises KafkaError where none can be written.

    The answer may be left alone: an error of it is not logged then.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take(response: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(response)
        else:
            answer.set_exception(error)
            answer.exception()

    ask(connection, request, _Awaited(take))
    return answer


class _Answered:
    """aiokafka's client, which has the answer to the next request already."""

    def __init__(self, client: Any, response: Any, error: BaseException | None) -> None:
        self._client = client
        self._response = response
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: int, request: object) -> Any:
        """Return the answer, or raise its error."""
        del node, request
        if self._error is not None:
            raise self._error
        return self._response


def _has_errors(response: Any) -> bool:
    """Return whether any partition was answered with an error code, the second of its fields."""
    return any(part[1] for _, parts in response.topics for part in parts)
