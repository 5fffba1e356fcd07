"""`ringfence run`: one worker, which reads calls, decides them and publishes the decisions.

In this order: the last good lists from the state directory; the register (if it is away, a worker
with last good lists goes on, one without waits and says so); the topics; then the first call. No
call is read before the lists are there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from socket import gethostname
from uuid import uuid4

from prometheus_client import CollectorRegistry

from stream.calls.call_batch import CallBatch
from stream.calls.crash_guard import CrashGuard
from stream.calls.crash_notes import FOLDER, CrashLog
from stream.calls.loop import CallsLoop
from stream.calls.publish import Publisher, TransactionalPublisher
from stream.calls.tracing import traced
from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings
from stream.engine.decider import Decider, decoder_for, use_kernels
from stream.engine.list_follower import refresher_for
from stream.engine.worker_metrics import Watched
from stream.kafka.batch import RawBatch
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.ops.clock import monotonic_s, now_ms, now_s
from stream.ops.gc import settle
from stream.ops.metrics.bounded_labels import Named
from stream.ops.tasks import every, supervised
from stream.ops.traces import traces_to
from stream.services import service
from stream.services.service import LOOK_S, STOP_S_MAX, Place, Service, Words

log = logging.getLogger(__name__)

_WORDS = Words(
    stopped="stopped; what was decided is committed",
    late="calls since the last commit are decided again",
)


def run(settings: Settings, place: Place | None = None) -> int:
    """Run one worker until it is told to stop; its exit code. `place` None: it is the only one."""
    return service.run(settings, lambda: _Worker(settings, place).run(), place)


class _Worker:
    """The parts of one worker, and the order in which they start and end."""

    def __init__(self, settings: Settings, place: Place | None) -> None:
        self._settings = settings
        self._place = place
        self._agreements = AgreementFolder(settings.agreements.folder())
        self._watched = watched = Watched(
            CollectorRegistry(),
            settings.calls.topics,
            settings.calls.home_country,
            Named(settings.ops.lists_max, settings.policy.lists),
            settings.trunks,
        )
        self._service = Service(
            settings,
            settings.ops.http_port,
            watched.registry,
            lambda: watched.state.readiness.missing,
            words=_WORDS,
            place=place,
            uses=("kafka",),
        )
        ops = settings.ops
        self._traces = traces_to(ops.traces, ops.traces_ratio, self._name())
        self._refresher = refresher_for(settings, watched.list_event, self._traces)
        self._source: KafkaSource | None = None
        self._crashes: CrashLog | None = None

    async def run(self) -> int:
        """Work until told to stop; the exit code. Raises Faults."""
        return await self._service.run(self._work)

    async def _work(self) -> None:
        agreements = every(self._settings.agreements.reload_s, self._agreements.look)
        try:
            await supervised(self._start(), look=self._look(), agreements=agreements)
        finally:
            await asyncio.to_thread(self._traces.stop)
            if self._crashes is not None:
                self._crashes.close()

    async def _start(self) -> None:
        """Load the last good lists, then follow the list store and decide calls."""
        self._agreements.start()
        await asyncio.gather(
            asyncio.to_thread(self._use_kernels), asyncio.to_thread(self._refresher.load_last_good)
        )
        await supervised(self._decide_calls(), lists=self._refresher.run())

    async def _decide_calls(self) -> None:
        """Wait for lists and Kafka, then decide calls until told to stop."""
        settings, watched = self._settings, self._watched
        await self._refresher.wait_loaded()
        watched.state.lists_loaded = True
        log.info("lists are loaded: %d", len(self._refresher.current.lists))
        settle()
        kafka = settings.kafka_client()
        limits = await check_topics(
            kafka,
            settings.calls.names(settings.kafka.replication_factor),
            1 if self._place is None else self._place.workers,
            watched.call_event,
        )
        watched.reached_kafka()
        publish = settings.calls.publish(settings.kafka, limits)
        sink: Publisher | TransactionalPublisher
        hold_s_max = float("inf")
        if settings.calls.delivery == "exactly_once":
            transact = settings.calls.transact(self._transactional_id())
            hold_s_max = transact.hold_s_max
            sink = TransactionalPublisher(kafka, publish, transact, watched.call_event)
        else:
            sink = Publisher(kafka, publish, watched.call_event)
        source = KafkaSource(kafka, settings.calls.source(self._suffix()), watched.call_event)
        decider = Decider(
            settings, lambda: self._refresher.current, lambda: self._agreements.reading.agreements
        )
        loop = await asyncio.to_thread(self._new_loop, source, sink, decider, hold_s_max)
        async with self._started(sink), self._started(source):
            self._source = source
            self._service.ends_by(loop.stop)
            log.info("reading calls from %s", ", ".join(settings.calls.topics))
            await loop.run()

    def _use_kernels(self) -> None:
        """Switch the compiled kernels on, before the first call and before the lists are built."""
        self._watched.state.kernels_awaited = self._settings.ops.kernels != "off"
        warmth = use_kernels(self._settings)
        self._watched.kernels(warmth.why_not)
        if not warmth.why_not:
            log.info("compiled kernels are in use, after %.1f s", warmth.seconds)

    def _new_loop(
        self,
        source: KafkaSource,
        sink: Publisher | TransactionalPublisher,
        decider: Decider,
        hold_s_max: float,
    ) -> CallsLoop:
        """The loop, its steps with spans and notes around them. Blocks."""
        calls = self._settings.calls
        read, guard = decoder_for(self._settings), self._guard(source)
        if guard is not None:
            read = guard.reading(read)
        decode, decide, done = traced(
            self._traces, calls.group_id, self._counted(read), decider, self._watched.done
        )
        before = None
        if guard is not None:
            # A probe is no call: it is counted nowhere, and its span has no end.
            probe = traced(self._traces, calls.group_id, read, decider, self._watched.done)
            before = partial(guard.before, decode=probe[0], decide=probe[1])
            decode, decide = guard.noting(decode, decide)
        steps = (source, decode, decide, sink, calls.loop(hold_s_max), monotonic_s, done)
        return CallsLoop(*steps, before=before)

    def _guard(self, source: KafkaSource) -> CrashGuard | None:
        """Return what finds a record that stops workers; None where no notes can be kept."""
        try:
            self._crashes = CrashLog(Path(self._settings.lists.state_dir, FOLDER), now_ms)
        except OSError as error:
            log.warning("a record that stops workers would not be found: %s", error)
            return None
        return CrashGuard(self._crashes, lambda: source.starts, lambda: source.revoking)

    def _counted(self, read: Callable[[RawBatch], CallBatch]) -> Callable[[RawBatch], CallBatch]:

        def counted(raw: RawBatch) -> CallBatch:
            self._watched.taken(raw)
            batch = read(raw)
            self._watched.decoded(raw, batch)
            return batch

        return counted

    def _name(self) -> str:
        """This worker among all, for traces."""
        return f"{self._settings.calls.instance_id or gethostname()}{self._suffix()}"

    def _suffix(self) -> str:
        return "" if self._place is None else f"-{self._place.slot}"

    def _transactional_id(self) -> str:
        """The same after a restart where the configuration names this instance.

        Else a new one each time: what a dead worker left open then ends by its time-out alone.
        """
        calls = self._settings.calls
        return f"{calls.group_id}.{calls.instance_id or uuid4().hex}{self._suffix()}"

    @asynccontextmanager
    async def _started(
        self, client: Publisher | TransactionalPublisher | KafkaSource
    ) -> AsyncIterator[None]:
        """The client, started, and closed within what is left of the deadline."""
        try:
            await client.start()
            yield
        finally:
            left_s = self._service.deadline.left_s
            try:
                async with asyncio.timeout(STOP_S_MAX if left_s is None else max(left_s, 0.1)):
                    await client.stop()
            except TimeoutError:
                log.warning("%s did not close in time", type(client).__name__)

    async def _look(self) -> None:
        while True:
            stopping = self._service.stopping.is_set()
            self._watched.look(self._source, self._refresher.current, stopping=stopping)
            self._watched.agreed(self._agreements.reading, now_s())
            await asyncio.sleep(LOOK_S)
