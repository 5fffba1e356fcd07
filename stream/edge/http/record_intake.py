"""Records from HTTP to Kafka, acknowledged only when Kafka has them all.

The producer waits for all in-sync replicas and is idempotent. Its unacknowledged bytes are bounded;
beyond, the answer is 503. A sender repeats its records after 503, so a record may be in Kafka
twice: at least once.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from stream.calls.call_batch import CallBatch
from stream.calls.submitted_records import Unreadable, keyed, other_events, topics_of
from stream.core.model.errors import KafkaRefuses, SinkDown
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.kafka.batch import RawBatch
from stream.kafka.clients import described
from stream.ops.clock import monotonic_s
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

TURN: Final = 200
"""Records handed over in one go, about 4 ms; then others get a turn."""
RETRY_S: Final = 2
_REGISTRY: Final = "registry:"
_OVERHEAD: Final = 256
"""Bytes of a record in the producer besides its value: key, headers, future."""


@dataclass(slots=True)
class RecordIntake:
    """Intake of records for Kafka.

    `topics` maps each topic to its dialect's name. Those of a schema registry are left out: each
    request would wait for the registry, and no body has such records. `read` is the stream's
    decoder, which finds the records that are no calls. `connect` waits until a broker answers and
    returns a started producer. At most `bytes_max` are under way, for `wait_s_max` at most.
    """

    topics: dict[str, str]
    read: Callable[[RawBatch], CallBatch]
    connect: Callable[[], Any]
    metrics: ServeMetrics
    bytes_max: int
    wait_s_max: float
    _producer: Any = field(init=False, default=None)
    _bytes: int = field(init=False, default=0)
    _sending: "dict[asyncio.Task[None], float]" = field(init=False, default_factory=dict)
    _why_not: str = field(init=False, default="Kafka does not answer yet")

    def __post_init__(self) -> None:
        self.topics = {
            topic: name for topic, name in self.topics.items() if not name.startswith(_REGISTRY)
        }

    @property
    def missing(self) -> str:
        """Return why records cannot be taken; "" if they can."""
        return self._why_not

    async def run(self) -> None:
        """Connect, and hold the connection until cancelled."""
        try:
            self._producer = await self.connect()
        except (KafkaRefuses, SinkDown) as fault:
            self._why_not = str(fault)
            log.critical("records cannot be taken by HTTP: %s", fault)
            return
        log.info("records are taken by HTTP for %s", ", ".join(self.topics))
        self._why_not = ""
        try:
            await asyncio.Event().wait()
        finally:
            producer, self._producer = self._producer, None
            self._why_not = "it is being stopped"
            await cancelled(*self._sending)
            await producer.stop()

    def topic_of(self, dialect: str, topic: str | None) -> str:
        """Return the topic for `dialect`, with or without its switch. Raises ProblemError."""
        of_it = topics_of(self.topics, dialect)
        if dialect.startswith(_REGISTRY):
            text = "records of a schema registry are not taken by HTTP: write them to their topic"
            raise ProblemError(ProblemKind.NOT_FOUND, text)
        if not of_it:
            known = ", ".join(sorted(set(self.topics.values())))
            text = f"no topic in [calls.topics] has this dialect; there are {known}"
            raise ProblemError(ProblemKind.NOT_FOUND, text)
        if topic is None and len(of_it) > 1:
            text = f"several topics have this dialect; name one by ?topic=: {', '.join(of_it)}"
            raise ProblemError(ProblemKind.MALFORMED, text)
        if topic is not None and topic not in of_it:
            text = f"?topic= names none of this dialect's; there are {', '.join(of_it)}"
            raise ProblemError(ProblemKind.MALFORMED, text)
        return of_it[0] if topic is None else topic

    async def take(
        self, topic: str, records: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
    ) -> tuple[Unreadable, ...]:
        """Hand `records` to Kafka, and wait until it has all of them. Raises ProblemError.

        Return the records that are no calls; the worker puts them on `calls.rejected` later, but
        for those of another event.
        """
        waited_s = monotonic_s() - min(self._sending.values(), default=monotonic_s())
        if self._producer is None or waited_s > self.wait_s_max:
            # Not handed over: the sender repeats them, so they would come twice once Kafka is back.
            why = self._why_not or f"Kafka has acknowledged nothing for {waited_s:.0f} s"
            raise ProblemError(ProblemKind.KAFKA_DOWN, why, retry_after_s=RETRY_S)
        weight = sum(map(len, records)) + _OVERHEAD * len(records)
        if self._bytes and self._bytes + weight > self.bytes_max:
            self.metrics.records.labels(self.topics[topic], "refused").inc(len(records))
            text = "Kafka is slower than what is sent; come again"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=RETRY_S)
        keys, unreadable = keyed(self.read, topic, records)
        # No TaskGroup: Kafka may still take the records after the sender got its 503.
        sending = asyncio.create_task(self._send(topic, records, keys, list(headers)))
        self._hold(sending, weight)
        done, _ = await asyncio.wait({sending}, timeout=self.wait_s_max)
        why = self._silence(topic)
        if done:
            error = sending.exception()
            if error is None:
                self._count(topic, len(records), unreadable)
                return unreadable
            if isinstance(error, MessageSizeTooLargeError):
                text = f"a record is larger than topic {topic} takes"
                raise ProblemError(ProblemKind.TOO_LARGE, text) from error
            if not isinstance(error, KafkaError):
                raise error
            why = f"Kafka refused them: {described(error, 'Write')}"
        self.metrics.records.labels(self.topics[topic], "refused").inc(len(records))
        text = f"{why}; send all of them again"
        raise ProblemError(ProblemKind.KAFKA_DOWN, text, retry_after_s=RETRY_S)

    def _silence(self, topic: str) -> str:
        """Return why Kafka has not acknowledged a topic's records: it may be that there is none."""
        producer = self._producer
        if producer is not None and producer.client.cluster.partitions_for_topic(topic) is None:
            return f"Kafka has no topic {topic}: `ringfence topics create` makes it"
        return "Kafka has not acknowledged them in time"

    async def _send(
        self,
        topic: str,
        records: Sequence[bytes],
        keys: Sequence[bytes | None],
        headers: list[tuple[str, bytes]],
    ) -> None:
        waiting = []
        for index, (record, key) in enumerate(zip(records, keys, strict=True)):
            waiting.append(await self._producer.send(topic, record, key, headers=headers))
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    def _hold(self, sending: "asyncio.Task[None]", weight: int) -> None:
        """Count the bytes until Kafka has answered, not until the sender has given up.

        They stay in the producer's memory that long.
        """

        def ended(_: object) -> None:
            del self._sending[sending]
            self._weigh(-weight)
            if not sending.cancelled():
                sending.exception()  # taken, since the sender may have given up

        self._sending[sending] = monotonic_s()
        self._weigh(weight)
        sending.add_done_callback(ended)

    def _weigh(self, more: int) -> None:
        self._bytes += more
        self.metrics.on_their_way.set(self._bytes)

    def _count(self, topic: str, records: int, unreadable: Sequence[Unreadable]) -> None:
        dialect, others = self.topics[topic], other_events(unreadable)
        self.metrics.records.labels(dialect, "taken").inc(records - len(unreadable))
        self.metrics.records.labels(dialect, "unreadable").inc(len(unreadable) - others)
        self.metrics.records.labels(dialect, "other_event").inc(others)
