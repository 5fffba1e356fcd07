"""Send record batches in one turn of the event loop, where aiokafka's sender takes five.

aiokafka hands a batch to a task, which hands it to another for each broker, which waits in a third
for the answer. Around a batch of one call that is more than the call costs. Usually none of it is
needed. The leader is known, its connection is open, and nothing of aiokafka's is on its way there.
Then a batch goes to the socket at once, and a callback takes the answer.

Several requests may be on their way to a broker, as with Kafka's own client
(max.in.flight.requests.per.connection). aiokafka sends one and waits. So a broker did nothing from
its answer until our event loop had read it, which is as long as a full batch takes to be decided.
An idempotent producer keeps the order: a broker refuses a batch whose predecessor it did not take
(OUT_OF_ORDER_SEQUENCE_NUMBER), and knows the last five of a partition again.

Everything else stays aiokafka's. Its sender sees what is sent here as its own: sequence numbers,
brokers with a request on its way, partitions that wait. An answer that is not plain success goes
through aiokafka's handler, so errors, leader moves and fencing are what they always were. Batches
that are to be sent again go to aiokafka's queue in their order, once the broker has answered all.
Of aiokafka 0.14 this needs private names, which the tests of
`tests/unit/kafka/produce/test_direct_sends.py` hold.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import aiokafka.producer.sender
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import DuplicateSequenceNumber, KafkaError, NoError, OutOfOrderSequenceNumber
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import SendProduceReqHandler

from stream.kafka.fetch.broker import name_of

log = logging.getLogger(__name__)

Acknowledgements = list["asyncio.Future[Any]"]

REQUESTS_MAX: Final = 5
"""Requests on their way to one broker, and so batches to one partition: of so many a broker knows a
repetition (ProducerStateEntry.NUM_BATCHES_TO_RETAIN of Kafka)."""
_TAKEN: Final = frozenset({NoError.errno, DuplicateSequenceNumber.errno})
_KNOWN_S: Final = 3600.0
"""A broker that has acknowledged a batch knows its producer for so long: producer.id.expiration.ms
is a day. One that does not takes any number for the first, also that of a second batch whose first
it refused. So nothing follows a batch to a broker that may not know us."""


class DirectSends:
    """The quick way of one started producer; `producer` is untyped, therefore Any."""

    def __init__(self, producer: Any) -> None:
        self._sender = producer._sender
        self._accumulator = producer._message_accumulator
        self._client = producer.client
        self._transactions = producer._txn_manager
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[int, _Unanswered] = {}
        self._known_s: dict[TopicPartition, float] = {}
        self._retries: set[asyncio.Task[None]] = set()

    def send(self, batches: Mapping[str, Iterable[tuple[int, Any]]]) -> Acknowledgements | None:
        """Send `batches`, by topic, each with its partition; those of one partition in order.

        Return None, and send nothing, where that must wait. Each of the futures ends when the
        broker has its batch, or with a KafkaError.
        """
        requests = self._requests(batches)
        if requests is None:
            return None
        waiting: Acknowledgements = []
        for node, builders in requests:
            # Through the accumulator: it gives sequence numbers, and its `flush` waits for these.
            taken: dict[TopicPartition, MessageBatch] = {}
            for tp, builder in builders.items():
                made = MessageBatch(tp, builder, self._accumulator._batch_ttl, 0)
                self._accumulator._batches[tp].append(made)
                taken[tp] = self._accumulator._pop_batch(tp)
                waiting.append(made.future)
            if node not in self._unanswered:
                self._unanswered[node] = _Unanswered(self, node)
            self._unanswered[node].send(taken)
        return waiting

    def close(self) -> None:
        """Give up retries: the producer is closed, and no caller waits for them."""
        for task in self._retries:
            task.cancel()

    def _requests(
        self, batches: Mapping[str, Iterable[tuple[int, Any]]]
    ) -> list[tuple[int, dict[TopicPartition, Any]]] | None:
        """Return requests, each with its broker, in order; None where they cannot go now."""
        # Queued batches go first. A closed or failed accumulator says so itself.
        accumulator = self._accumulator
        if accumulator._batches or accumulator._closed or accumulator._exception is not None:
            return None
        if self._transactions is not None and not self._transactions.has_pid():
            return None
        made: dict[int, list[dict[TopicPartition, Any]]] = {}
        for topic, some in batches.items():
            for partition, batch in some:
                tp = TopicPartition(topic, partition)
                node = self._client.cluster.leader_for_partition(tp)
                requests = made.setdefault(node, [])
                # A request has one batch of a partition, as in `drain_by_nodes`.
                after = next((one for one in requests if tp not in one), None)
                if after is None:
                    requests.append(after := {})
                if not self._may_send(node, tp, len(requests), follows=after is not requests[0]):
                    return None
                after[tp] = batch
        return [(node, one) for node, requests in made.items() for one in requests]

    def _may_send(self, node: int, tp: TopicPartition, count: int, *, follows: bool) -> bool:
        """Return whether the broker may get another batch of `tp` in one of `count` requests.

        `follows`: it would follow another batch of the same partition.
        """
        connection = self._client._conns.get((node, ConnectionGroup.DEFAULT))
        if connection is None or not connection.connected():
            return False
        unanswered = self._unanswered.get(node)
        if unanswered is not None:
            follows |= tp in unanswered.partitions
            if unanswered.is_broken or len(unanswered.requests) + count > REQUESTS_MAX:
                return False
        elif node in self._sender._in_flight or count > REQUESTS_MAX:
            return False
        if not follows:
            return tp not in self._sender._muted_partitions
        # Without sequence numbers, a batch that is sent again would land behind the next one.
        known_s = self._known_s.get(tp) if self._transactions is not None else None
        return known_s is not None and self._loop.time() - known_s < _KNOWN_S


class _Unanswered:
    """Requests that one broker has not answered, as `Sender._send_produce_req` without tasks."""

    def __init__(self, sends: DirectSends, node: int) -> None:
        self._sends = sends
        self._node = node
        self.requests: deque[_Request] = deque()
        self.partitions: dict[TopicPartition, int] = {}
        """Batches of each that are on their way."""
        self.is_broken = False
        """True once an answer was not plain success: nothing is sent until all are there."""

    def send(self, batches: dict[TopicPartition, MessageBatch]) -> None:
        """Write a request; its answer is taken in a callback."""
        sends, sender = self._sends, self._sends._sender
        sender._in_flight.add(self._node)
        sender._muted_partitions.update(batches)
        for tp in batches:
            self.partitions[tp] = self.partitions.get(tp, 0) + 1
        request = _Request(sender, batches)
        self.requests.append(request)

        def take(response: Any, error: BaseException | None) -> None:
            self._answered(request, response, error)

        try:
            connection = sends._client._conns[(self._node, ConnectionGroup.DEFAULT)]
            made = request.create_request()  # type: ignore[no-untyped-call]
            ask(connection, made, _Awaited(take))
        except KafkaError as error:
            take(None, error)

    def _answered(self, request: "_Request", response: Any, error: BaseException | None) -> None:
        request.answer = (response, error)
        self.is_broken |= error is not None or _has_errors(response)
        if not self.is_broken:
            self.requests.remove(request)
            request.handle_response(response)
            self._release(request)
        elif all(one.answer is not None for one in self.requests):
            task = self._sends._loop.create_task(self._settle())
            self._sends._retries.add(task)
            task.add_done_callback(self._settled)

    async def _settle(self) -> None:
        """Do as aiokafka's handler does with each answer, and queue again what has to be."""
        again: list[MessageBatch] = []
        for request in self.requests:
            again += request.settle({batch.tp for batch in again})
        if again:
            # As aiokafka's handler waits: a new leader, or a replica, needs a moment.
            await asyncio.sleep(self._sends._sender._retry_backoff)
            for batch in reversed(again):  # each goes before what is queued
                self._sends._accumulator.reenqueue(batch)
            # If an error asked for metadata, its answer comes before the next try.
            await self._sends._client._maybe_wait_metadata()

    def _settled(self, task: "asyncio.Task[None]") -> None:
        self._sends._retries.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A bug. Every batch of the producer ends with it, as with one in its own tasks.
            self._sends._accumulator.fail_all(task.exception())
        while self.requests:
            self._release(self.requests.popleft())

    def _release(self, request: "_Request") -> None:
        """Let go of a request; let aiokafka's sender go on with what was queued meanwhile."""
        sends, sender = self._sends, self._sends._sender
        known_s = sends._loop.time()
        for tp in request.batches:
            if self.is_broken:
                sends._known_s.pop(tp, None)
            else:
                sends._known_s[tp] = known_s
            self.partitions[tp] -= 1
            if not self.partitions[tp]:
                del self.partitions[tp]
                sender._muted_partitions.discard(tp)
        if self.requests:
            return
        del sends._unanswered[self._node]
        sender._in_flight.discard(self._node)
        waiter = sends._accumulator._waiter_future
        if sends._accumulator._batches and not waiter.done():
            waiter.set_result(None)


class _AnswerHandler(SendProduceReqHandler):
    """aiokafka's handler of an answer, which logs too what was refused for good.

    The error that follows has no topic, and not the code where aiokafka does not know it.
    """

    def handle_response(self, response: Any) -> None:
        """Take an answer."""
        super().handle_response(response)  # type: ignore[no-untyped-call]
        again = {batch.tp for batch in self._to_reenqueue}
        for topic, parts in response.topics:
            for number, code, *_ in parts:
                if code not in _TAKEN and TopicPartition(topic, number) not in again:
                    log.warning("%s/%d: Kafka refused records: %s", topic, number, name_of(code))


# Requests of aiokafka's own tasks too: its sender looks the name up for each.
aiokafka.producer.sender.SendProduceReqHandler = _AnswerHandler  # type: ignore[misc]


class _Request(_AnswerHandler):
    """One request, and the handler of its answer."""

    def __init__(self, sender: Any, batches: dict[TopicPartition, MessageBatch]) -> None:
        super().__init__(sender, batches)  # type: ignore[no-untyped-call]
        self.batches = batches
        self.answer: tuple[Any, BaseException | None] | None = None
        self._behind: set[TopicPartition] = set()

    def settle(self, behind: set[TopicPartition]) -> list[MessageBatch]:
        """Take an answer that may have errors; return the batches that are to be sent again.

        An earlier batch of the partitions `behind` is to be sent again too.
        """
        assert self.answer is not None, "settled only once it is there"
        self._behind = behind
        response, error = self.answer
        if error is None:
            self.handle_response(response)
            return self._to_reenqueue
        # As `do` of the handler, which sends first.
        log.warning("Got error produce response: %s", error)
        if getattr(error, "invalid_metadata", False):
            self._client.force_metadata_update()
        for batch in self.batches.values():
            if self._can_retry(error, batch):
                self._to_reenqueue.append(batch)
            else:
                batch.failure(exception=error)
        return self._to_reenqueue

    def _can_retry(self, error: Any, batch: MessageBatch) -> bool:
        """Return whether a batch may be sent again; one refused for the batch before it may."""
        if isinstance(error, OutOfOrderSequenceNumber) and batch.tp in self._behind:
            return True
        return bool(super()._can_retry(error, batch))  # type: ignore[no-untyped-call]


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


def _has_errors(response: Any) -> bool:
    """Return whether any partition was answered with an error code, the second of its fields."""
    return any(part[1] for _, parts in response.topics for part in parts)
