"""`ringfence run`: one worker, which reads calls, decides them and publishes the decisions.

In this order: the last good lists from the state directory; the list store; the topics; then the
first call. If the list store is away, a worker with last good lists goes on. One without waits and
logs it. No call is read before the lists are there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING
from uuid import uuid4

from stream.calls.call_batch import CallBatch
from stream.calls.crash_guard import CrashGuard
from stream.calls.crash_notes import FOLDER, CrashLog
from stream.calls.encodings.schema_ids import schema_keys
from stream.calls.loop import CallsLoop
from stream.calls.publish import Publisher, TransactionalPublisher
from stream.calls.tracing import traced
from stream.config.settings import Settings
from stream.engine.decider import Decider, decoder_for
from stream.engine.live_lists import LiveLists
from stream.engine.signatures import Signatures, watching
from stream.engine.worker_metrics import WorkerMetrics
from stream.kafka.batch import RawBatch
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.ops.clock import monotonic_s, now_ms, now_s
from stream.ops.metrics.catalogue import BoundedLabels
from stream.ops.tasks import supervised
from stream.ops.traces import traces_to
from stream.services import service
from stream.services.service import STOP_S_MAX, Service, Words, WorkerPlace

if TYPE_CHECKING:
    from stream.kafka.schema_registry import SchemasAhead

log = logging.getLogger(__name__)

Before = Callable[[RawBatch], Awaitable[None]]


def run(settings: Settings, place: WorkerPlace | None = None) -> int:
    """Run one worker until a signal; return its exit code. `place` None: it is the only one."""
    return service.run(settings, lambda: _Worker(settings, place).run(), place)


class _Worker(Service):
    """The parts of one worker, and the order in which they start and end."""

    def __init__(self, settings: Settings, place: WorkerPlace | None) -> None:
        super().__init__(
            settings,
            settings.ops.http_port,
            words=Words(
                stopped="stopped; what was decided is committed",
                late="calls since the last commit are decided again",
            ),
            place=place,
            uses=("kafka", "redis"),
        )
        self._metrics = metrics = WorkerMetrics(
            self.registry,
            settings.calls.topics,
            settings.calls.home_country,
            BoundedLabels(settings.ops.lists_max, settings.policy.lists),
            settings.trunks,
        )
        ops = settings.ops
        self._suffix = "" if place is None else f"-{place.slot}"
        name = f"{settings.calls.instance_id or gethostname()}{self._suffix}"
        self._traces = traces_to(ops.traces, ops.traces_ratio, name)
        self._lists = LiveLists(settings, metrics.list_event, self._traces)
        self._source: KafkaSource | None = None
        self._crashes: CrashLog | None = None
        self._schemas: SchemasAhead | None = None
        self._ending = False

    def _missing(self) -> tuple[str, ...]:
        missing = self._metrics.state.readiness.missing
        if self._schemas is not None and self._schemas.down:
            return (*missing, f"calls wait for a schema: {self._schemas.down}")
        return missing

    async def _work(self) -> None:
        try:
            await supervised(
                self._start(),
                look=self.repeated(self._look),
                agreements=self._lists.watch_agreements(),
            )
        finally:
            await asyncio.to_thread(self._traces.stop)
            if self._crashes is not None:
                self._crashes.close()

    async def _start(self) -> None:
        """Load kernels and the last good lists, then follow the list store and decide calls."""
        self._lists.agreements.start()
        self._metrics.state.kernels_awaited = self.settings.ops.kernels != "off"
        warmth = await self._lists.load()
        self._metrics.kernels(warmth.why_not)
        if not warmth.why_not:
            log.info("compiled kernels are in use, after %.1f s", warmth.seconds)
        await supervised(self._decide_calls(), lists=self._lists.run())

    async def _decide_calls(self) -> None:
        """Wait for lists and Kafka, then decide calls until the process is asked to end."""
        settings, metrics = self.settings, self._metrics
        await self._lists.wait_loaded()
        metrics.state.lists_loaded = True
        kafka = settings.kafka_client()
        limits = await check_topics(
            kafka,
            settings.calls.names(settings.kafka.replication_factor),
            1 if self.place is None else self.place.workers,
            metrics.call_event,
        )
        metrics.reached_kafka()
        publish = settings.calls.publish(settings.kafka, limits)
        sink: Publisher | TransactionalPublisher
        hold_s_max = float("inf")
        source = KafkaSource(kafka, settings.calls.source(self._suffix), metrics.call_event)
        if settings.calls.delivery == "exactly_once":
            transact = settings.calls.transact(self._transactional_id())
            hold_s_max = transact.hold_s_max
            sink = TransactionalPublisher(
                kafka, publish, transact, metrics.call_event, source.told_of
            )
        else:
            sink = Publisher(kafka, publish, metrics.call_event)
        signatures = Signatures.of(settings, metrics.metrics.signatures.tell)
        verify = None if signatures is None else signatures.verifier.attested
        decider = Decider(settings, self._lists.current, self._lists.agreed, verify=verify)
        # In a thread: it reads crash notes from the disk, and the loop already serves /ready.
        loop = await asyncio.to_thread(self._new_loop, source, sink, decider, hold_s_max)
        # The source closes first: nothing is read any more that the sink could not publish.
        async with self._started(sink), self._started(source), watching(signatures):
            self._source = source
            self.ends_by(partial(self._end, loop))
            log.info("reading calls from %s", ", ".join(settings.calls.topics))
            await loop.run()

    def _end(self, loop: CallsLoop) -> None:
        self._ending = True
        loop.stop()

    def _new_loop(
        self,
        source: KafkaSource,
        sink: Publisher | TransactionalPublisher,
        decider: Decider,
        hold_s_max: float,
    ) -> CallsLoop:
        """Return the loop, its steps with spans and notes around them. Blocks."""
        calls, counted = self.settings.calls, self._metrics.done
        read, guard = decoder_for(self.settings), self._guard(source)
        if guard is not None:
            read = guard.reading(read)
        decode, decide, done = traced(
            self._traces, calls.group_id, self._counted(read), decider, counted
        )
        before: Before | None = None
        if guard is not None:
            # A probe is no call: it is counted nowhere, and its span has no end.
            probe = traced(self._traces, calls.group_id, read, decider, counted)
            before = partial(guard.before, decode=probe[0], decide=probe[1])
            decode, decide = guard.noting(decode, decide)
        before = self._after_schemas(source, before)
        steps = (source, decode, decide, sink, calls.loop(hold_s_max), monotonic_s, done)
        return CallsLoop(*steps, before=before)

    def _after_schemas(self, source: KafkaSource, before: Before | None) -> Before | None:
        """Return a `before` that fetches schemas first: a probe of the guard needs them too."""
        registry = self.settings.schemas()
        topics = frozenset(
            topic
            for topic, dialect in self.settings.calls.topics.items()
            if dialect.startswith("registry:")
        )
        if registry is None or not topics:
            return before
        from stream.kafka.schema_registry import SchemasAhead

        def leaves(raw: RawBatch) -> bool:
            # Not `stopping`: it is set before the loop is asked to end, which would decode still.
            return source.revoking or raw.epoch != source.epoch or self._ending

        registry.observe = self._metrics.registry_answered
        keys_in = partial(schema_keys, topics=topics)
        self._schemas = ahead = SchemasAhead(registry, keys_in, leaves)

        async def both(raw: RawBatch) -> None:
            await ahead.before(raw)
            if before is not None and not leaves(raw):
                await before(raw)

        return both

    def _guard(self, source: KafkaSource) -> CrashGuard | None:
        """Return the finder of a record that stops workers; None where no notes can be kept."""
        try:
            self._crashes = CrashLog(Path(self.settings.lists.state_dir, FOLDER), now_ms)
        except OSError as error:
            log.warning("a record that stops workers would not be found: %s", error)
            return None
        return CrashGuard(self._crashes, lambda: source.starts, lambda: source.revoking)

    def _counted(self, read: Callable[[RawBatch], CallBatch]) -> Callable[[RawBatch], CallBatch]:
        def counted(raw: RawBatch) -> CallBatch:
            self._metrics.taken(raw)
            batch = read(raw)
            self._metrics.decoded(raw, batch)
            return batch

        return counted

    def _transactional_id(self) -> str:
        """Return the same id after a restart where the configuration names this instance.

        Else a new one each time: what a dead worker left open then ends by its time-out alone.
        """
        calls = self.settings.calls
        return f"{calls.group_id}.{calls.instance_id or uuid4().hex}{self._suffix}"

    @asynccontextmanager
    async def _started(
        self, client: Publisher | TransactionalPublisher | KafkaSource
    ) -> AsyncIterator[None]:
        """Start the client, and close it within what is left of the deadline."""
        try:
            await client.start()
            yield
        finally:
            left_s = self.deadline.left_s
            try:
                async with asyncio.timeout(STOP_S_MAX if left_s is None else max(left_s, 0.1)):
                    await client.stop()
            except TimeoutError:
                log.warning("%s did not close in time", type(client).__name__)

    def _look(self) -> None:
        stopping = self.stopping.is_set()
        self._metrics.look(self._source, self._lists.current(), stopping=stopping)
        self._metrics.agreed(self._lists.agreements.reading, now_s())
