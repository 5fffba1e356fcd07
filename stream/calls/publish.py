"""Publish outcomes to Kafka: decisions, and the records that could not be read as calls.

`Publisher` publishes at least once, `TransactionalPublisher` exactly once.

`send` hands an outcome to the producer, in order, and returns what can be awaited until the broker
has all of it. The producer is idempotent. It repeats by itself, without limit and without
duplicates, what an unavailable broker did not acknowledge. A failure that it reports is final. Then
`SinkDown` ends the worker before anything past the failure is committed, and its successor reads
from the last committed position on. Repairing a producer in place would save a few seconds in a
case that a healthy cluster never shows. Its price would be code that daily work never runs.

Exactly once: decisions, rejects and positions go in one transaction, of a batch or of several.

A reader with `isolation.level=read_committed` sees every decision once, whatever dies.

A zombie is a worker that was cut off while others took its partitions. It must not commit, but
aiokafka 0.14 sends no generation with TxnOffsetCommit, so the group cannot fence it. Instead, a
transaction may begin and end only while the group's confirmation of our membership is fresh
(`holds`). That is: same assignment, and less than half a session timeout old. When it gets old, the
loop asks for a new one. It commits a position that is committed already, which the group refuses to
other workers. The age of the batch would not be enough. A worker that wakes from a pause gets
records that aiokafka had fetched before, or fetches now, and only its next heartbeat is refused.
The broker also aborts a transaction that stays open for `transaction_timeout_ms`. It looks for such
ones every 10 s (transaction.abort.timed.out.transaction.cleanup.interval.ms). Timeout plus 10 s
stay below the session timeout. So a paused worker's open transaction is dead before another worker
can read its partitions. A worker that leaves in order loses its partitions at once: who takes them
over waits until its transaction has ended (`kafka.aiokafka_patches`).

Speed: `kafka/produce/direct_transactions.py` sends the requests of a transaction. A transaction
costs the same for 50 records and for 8,000: let batches be large.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata

from stream.calls.call_batch import Outcome
from stream.calls.settings import PublishSettings, TransactSettings
from stream.core import kernels
from stream.core.model.call import Rejected
from stream.core.model.errors import Fault, SinkDown
from stream.kafka.batch import Partition
from stream.kafka.batch_encoder import ID_HEADER, BatchEncoder, partitions_of
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.clients import connected, described
from stream.kafka.produce.direct_sends import DirectSends
from stream.kafka.produce.direct_transactions import DirectTransaction, taken
from stream.kafka.settings import KafkaSettings
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

Headers = list[tuple[str, bytes]]
Batches = dict[str, list[tuple[int, Any]]]
"""Record batches by topic, each with its partition; those of one partition in order."""


class Publisher:
    """Publishes outcomes at least once."""

    commits = False
    """Positions are committed by the source, not along with the outcomes."""

    def __init__(self, kafka: KafkaSettings, settings: PublishSettings, observe: Observe) -> None:
        self._kafka = kafka
        self._settings = settings
        self._observe = observe
        self._out: OutcomeProducer | None = None

    async def start(self) -> None:
        """Connect, as soon as a broker answers. Raises SinkDown if it never will."""
        settings = self._settings
        producer = await started_producer(
            self._kafka,
            self._observe,
            enable_idempotence=settings.idempotent,
            max_batch_size=settings.batch_bytes_max,
            compression_type=settings.compression,
        )
        # Kept before it is asked: what fails from here on is closed by `stop`.
        self._out = OutcomeProducer(
            producer, settings, self._observe, transactional=False, direct=DirectSends(producer)
        )
        await self._out.learn_partitions()

    async def stop(self) -> None:
        """Close; what the broker has not acknowledged by now may be lost, and was not committed."""
        if self._out is not None:
            await self._out.stop()

    async def send(
        self,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> Awaitable[None]:
        """Hand `outcomes` to the producer; the returned awaitable ends when the broker has them.

        Both may raise SinkDown. `positions` and `holds` are for publishers that commit.
        """
        del positions, holds
        assert self._out is not None, "start comes first"
        acknowledged = await self._out.send(await self._out.batches(outcomes))
        if self._out.queued:
            await _on_the_wire()
        return acknowledged


async def started_producer(
    kafka: KafkaSettings, observe: Observe, ids: str = "", **options: Any
) -> Any:
    """Connect a producer that waits for all replicas; `ids` as `described`. Raises SinkDown."""
    try:
        return await connected(
            # No linger: batches come whole, and waiting for more would only delay them.
            lambda: AIOKafkaProducer(**kafka.options(), acks="all", linger_ms=0, **options),
            AIOKafkaProducer.stop,
            kafka,
            observe,
        )
    except KafkaError as error:
        why = described(error, "Write", ids)
        raise SinkDown(f"Kafka at {kafka.bootstrap_servers}: {why}") from error


class OutcomeProducer:
    """One producer and the form in which outcomes leave through it."""

    def __init__(
        self,
        producer: Any,
        settings: PublishSettings,
        observe: Observe,
        *,
        transactional: bool,
        direct: DirectSends | None = None,
    ) -> None:
        """`direct` sends what can go at once; None: everything goes through aiokafka's tasks."""
        self.producer = producer
        self.queued = False
        self._direct = direct
        self._settings = settings
        self._observe = observe
        self._turn = 0
        # CloudEvents 1.0, Kafka protocol binding, binary content mode. All but the id are the same
        # for every decision.
        self.framing = BatchEncoder(
            headers=(
                ("ce_specversion", b"1.0"),
                ("ce_type", b"io.ringfence.decision.v1"),
                ("ce_source", settings.cloudevents_source.encode()),
                ("content-type", b"application/json"),
            ),
            bytes_max=settings.batch_bytes_max,
            compression=settings.compression,
            transactional=transactional,
        )

    async def learn_partitions(self) -> None:
        """Learn how many partitions our topics have. Raises SinkDown where one is missing."""
        for topic in (self._settings.decisions_topic, self._settings.rejected_topic):
            try:
                await self.producer.partitions_for(topic)
            except KafkaError as error:
                raise SinkDown(f"topic {topic}: {described(error, 'Write')}") from error

    async def stop(self) -> None:
        """Close the producer and its connections."""
        try:
            # First, while retries go on: it waits for what was sent and is not acknowledged.
            await self.producer.stop()
        except KafkaError as error:
            # Of a request that was under way, as of a producer that was fenced off meanwhile:
            # aiokafka raises it here, and leaves its connections open.
            log.warning("the producer did not close in order: %r", error)
            await self.producer.client.close()
        finally:
            if self._direct is not None:
                self._direct.close()

    async def batches(self, outcomes: Sequence[Outcome]) -> Batches:
        """Return the record batches of `outcomes`."""
        made: Batches = {}
        now_ms = time.time_ns() // 1_000_000
        for outcome in outcomes:
            if len(outcome.ids):
                decisions = await self._of_decisions(outcome, now_ms)
                made.setdefault(self._settings.decisions_topic, []).extend(decisions)
            if kept := [one for one in outcome.rejected if one.is_kept]:
                rejected = await self._of_rejected(kept, now_ms)
                made.setdefault(self._settings.rejected_topic, []).extend(rejected)
        return made

    async def send(self, batches: Batches, *, by_aiokafka: bool = False) -> Awaitable[None]:
        """See `Publisher.send`; `queued` is true then if aiokafka's tasks have to send some."""
        self.queued = False
        if self._direct is not None and not by_aiokafka:
            sent = self._direct.send(batches)
            if sent is not None:
                return _acknowledgement(sent)
        waiting: list[asyncio.Future[Any]] = []
        for topic, some in batches.items():
            for partition, batch in some:
                waiting.append(await self._enqueue(batch, topic, partition))
        return _acknowledgement(waiting)

    async def _of_decisions(self, outcome: Outcome, now_ms: int) -> list[tuple[int, Any]]:
        count = len(await self.producer.partitions_for(self._settings.decisions_topic))
        # As Kafka does with records without a key: one partition for a batch, then the next.
        keyless = self._next_turn(count)
        return list(
            self.framing.frames(outcome.ids, outcome.keys, outcome.values, count, keyless, now_ms)
            # With headers that differ, a record takes aiokafka's way: 3 us instead of 0.1.
            if kernels.compiled() and not outcome.contexts
            else self.built(outcome, count, keyless, now_ms)
        )

    def built(
        self, outcome: Outcome, count: int, keyless: int, now_ms: int
    ) -> Iterator[tuple[int, Any]]:
        """Make the batches that `BatchEncoder` would, by aiokafka's builder; with `contexts`."""
        contexts = outcome.contexts or ((),) * len(outcome.ids)
        keys, ids, values = outcome.keys.tolist(), outcome.ids.tolist(), list(outcome.values)
        partitions = partitions_of(keys, count)
        partitions[outcome.keys == b""] = keyless
        order = np.argsort(partitions, kind="stable")
        ends = np.cumsum(np.bincount(partitions, minlength=count)).tolist()
        start = 0
        for partition, end in enumerate(ends):
            batch = None
            for index in order[start:end].tolist():
                record = {
                    "timestamp": now_ms,
                    "key": keys[index] or None,
                    "value": values[index],
                    "headers": [*self.framing.headers, (ID_HEADER, ids[index]), *contexts[index]],
                }
                if batch is None or batch.append(**record) is None:
                    if batch is not None:
                        yield partition, batch
                    batch = self.producer.create_batch()
                    batch.append(**record)
            if batch is not None:
                yield partition, batch
            start = end

    async def _of_rejected(
        self, rejected: Sequence[Rejected], now_ms: int
    ) -> list[tuple[int, Any]]:
        topic = self._settings.rejected_topic
        partition = self._next_turn(len(await self.producer.partitions_for(topic)))
        made: list[tuple[int, Any]] = []
        for record in rejected:
            value, headers = rejected_form(record, self._settings.rejected_bytes_max)
            form = {"key": None, "value": value, "timestamp": now_ms, "headers": headers}
            if not made or made[-1][1].append(**form) is None:
                made.append((partition, self.producer.create_batch()))
                made[-1][1].append(**form)
        return made

    async def _enqueue(self, batch: Any, topic: str, partition: int) -> "asyncio.Future[Any]":
        """Queue one batch, waiting for the one before it in the same partition to leave.

        While a broker is away that wait has no end; aiokafka gives up, we do not.
        """
        self.queued = True
        while True:
            try:
                queued: asyncio.Future[Any] = await self.producer.send_batch(
                    batch, topic, partition=partition
                )
            except KafkaTimeoutError:
                log.warning("Kafka takes no records for %s/%d, still trying", topic, partition)
                self._observe(CallEvent.SINK_AWAITED)
            except KafkaError as error:
                raise SinkDown(
                    f"{topic}/{partition} cannot be written: {described(error, 'Write')}"
                ) from error
            else:
                return queued

    def _next_turn(self, count: int) -> int:
        self._turn += 1
        return self._turn % count


def rejected_form(record: Rejected, bytes_max: int) -> tuple[bytes | None, Headers]:
    """Return a rejected record's value and headers: its bytes, cut where the topic takes no more.

    Headers: `reason`, `detail`, `origin` (topic/partition/offset); of a cut value also
    `original_size` in bytes and `original_sha256` in hex, so that it can be found again.
    """
    headers: Headers = [
        ("reason", record.reason.encode()),
        ("detail", record.detail.encode()),
        ("origin", str(record.origin).encode()),
    ]
    value = record.value
    if value is not None and len(value) > bytes_max:
        headers += [
            ("original_size", b"%d" % len(value)),
            ("original_sha256", hashlib.sha256(value).hexdigest().encode()),
        ]
        value = value[:bytes_max]
    return value, headers


def _acknowledgement(waiting: Sequence["asyncio.Future[Any]"]) -> "asyncio.Future[None]":
    """Return a future that ends when all of `waiting` have; with SinkDown where one failed."""
    # By callbacks: a task around a `gather` costs 30 us, for a batch of perhaps one call.
    whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(waiting)

    def ended(one: "asyncio.Future[Any]") -> None:
        nonlocal left
        left -= 1
        error = asyncio.CancelledError() if one.cancelled() else one.exception()
        if whole.done():  # one failed before, or nobody waits any more
            return
        if isinstance(error, KafkaError):
            whole.set_exception(_refusal(error))
        elif isinstance(error, asyncio.CancelledError):
            whole.cancel()
        elif error is not None:
            whole.set_exception(error)
        elif not left:
            whole.set_result(None)

    for one in waiting:
        one.add_done_callback(ended)
    if not waiting:
        whole.set_result(None)
    return whole


def _refusal(error: KafkaError) -> SinkDown:
    """Return the fault for records that the broker did not take."""
    why = f"the broker refused records: {described(error, 'Write')}"
    if isinstance(error, InvalidTimestampError):
        why = (
            "the broker refused records for their time: this machine's clock is wrong (`chronyc "
            "tracking`); with message.timestamp.type=LogAppendTime topics take them all the same"
        )
    fault = SinkDown(why)
    fault.__cause__ = error
    return fault


_TURNS = 8
"""Turns of the event loop until a queued batch has left. A source with a backlog and a sink with
room never wait. To put a batch on the wire, aiokafka's tasks need three turns. If the batch before
it is not acknowledged yet, they need some more to read the acknowledgement. With three turns, a
batch waited for all of the next one's work: p99 4 instead of 3 ms at 2,000 and at 20,000 calls a
second."""


async def _on_the_wire() -> None:
    """Let aiokafka's tasks send what they were given, before the next batch is worked on."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class TransactionAborted(Fault):
    """Nothing of the batch was published or committed: it has to be read again."""


class TransactionalPublisher:
    """Publishes outcomes exactly once: those of a `send` in one transaction, one at a time."""

    commits = True
    """Positions are committed along with the outcomes."""

    def __init__(
        self,
        kafka: KafkaSettings,
        publish: PublishSettings,
        settings: TransactSettings,
        observe: Observe,
        told_of: Callable[[str], str] = lambda _: "",
    ) -> None:
        """`told_of` returns what a position says of its topic, as `KafkaSource.told_of`."""
        self._kafka = kafka
        self._publish = publish
        self._settings = settings
        self._observe = observe
        self._told_of = told_of
        self._out: OutcomeProducer | None = None

    async def start(self) -> None:
        """Connect, as soon as a broker answers, and fence off the last producer with our id."""
        producer = await started_producer(
            self._kafka,
            self._observe,
            f"{self._settings.group_id}.",
            transactional_id=self._settings.transactional_id,
            transaction_timeout_ms=self._settings.transaction_timeout_ms,
            retry_backoff_ms=self._settings.retry_backoff_ms,
            max_batch_size=self._publish.batch_bytes_max,
            compression_type=self._publish.compression,
        )
        self._out = OutcomeProducer(
            producer, self._publish, self._observe, transactional=True, direct=DirectSends(producer)
        )
        await self._out.learn_partitions()

    async def stop(self) -> None:
        """Close; a transaction that is still open is aborted by the broker in its time."""
        if self._out is not None:
            await self._out.stop()

    async def send(
        self,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> Awaitable[None]:
        """Begin a transaction with `outcomes` and `positions`; the last one has ended.

        The returned awaitable ends when it is committed. It may raise TransactionAborted, after
        which the batch and all later ones are to be read again, or SinkDown. `holds` says whether
        the worker still owns the batch's partitions.
        """
        assert self._out is not None, "start comes first"
        assert positions, "a transaction without positions would never end in aiokafka"
        ended = asyncio.ensure_future(self._transact(self._out, outcomes, positions, holds))
        try:
            await _on_the_wire()
        except asyncio.CancelledError:  # nobody else knows of it yet
            await cancelled(ended)
            raise
        return ended

    async def _transact(
        self,
        out: OutcomeProducer,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> None:
        if not holds():
            self._observe(CallEvent.BATCH_DROPPED)
            raise TransactionAborted(
                "the group has not confirmed for too long that the batch is ours"
            )
        producer = out.producer
        offsets = {
            TopicPartition(*partition): OffsetAndMetadata(offset, self._told_of(partition.topic))
            for partition, offset in positions.items()
        }
        try:
            # aiokafka asks on without an end; by then the broker has aborted the transaction.
            async with asyncio.timeout(self._settings.end_s_max):
                await producer.begin_transaction()
                quick = DirectTransaction(producer, self._settings.group_id)
                await self._write(quick, out, outcomes, offsets)
                if holds():
                    if not await quick.commit():
                        await producer.commit_transaction()
                    return
                await producer.abort_transaction()
        except TimeoutError as error:
            why = f"a transaction did not end within {self._settings.end_s_max:g} s"
            raise SinkDown(
                f"{why}: the broker has aborted it, the next worker repeats it"
            ) from error
        except ProducerFenced as error:
            # Another worker has our transactional id, or the broker aborted for us: either way
            # only a new producer may go on.
            raise SinkDown(
                f"our transactions ({self._settings.transactional_id}) were fenced off: {error!r}. "
                "Another worker has our calls.instance_id, or the broker aborted for us"
            ) from error
        except SinkDown as error:
            # aiokafka has counted the records that the broker did not take. Each later transaction
            # would be refused for the gap in their sequence; only a new producer begins at zero.
            await self._abort(out, error)
            raise SinkDown(f"{error}. The worker starts again with a new producer") from error
        except KafkaError as error:
            await self._abort(out, error)
        self._observe(CallEvent.TRANSACTION_ABORTED)
        raise TransactionAborted("the transaction was aborted; its batch is read again")

    async def _write(
        self,
        quick: DirectTransaction,
        out: OutcomeProducer,
        outcomes: Sequence[Outcome],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        """Write `outcomes` and positions into the transaction."""
        made = await out.batches(outcomes)
        quick.ask_partitions(
            {TopicPartition(topic, one) for topic, some in made.items() for one, _ in some}
        )
        positions = quick.put_positions(offsets) if await quick.has_group() else None
        try:
            added = await quick.has_partitions()
        except TopicAuthorizationFailedError as error:
            raise _refusal(error) from error
        if not await taken(positions):
            await out.producer.send_offsets_to_transaction(offsets, self._settings.group_id)
        # aiokafka adds partitions to the transaction before it sends their records.
        await (await out.send(made, by_aiokafka=not added))

    async def _abort(self, out: OutcomeProducer, why: Exception) -> None:
        """Abort after `why`. Raises SinkDown where aiokafka's producer cannot go on."""
        log.warning("transaction aborted: %s", described(why, "Write"))
        try:
            await out.producer.abort_transaction()
        except (KafkaError, AssertionError) as error:
            raise SinkDown(f"the producer cannot go on: {described(why, 'Write')}") from error
