"""A worker, put together: plain constructor calls, signals, and one deadline for all of a shutdown.

In this order: the last good lists from the state directory; the register (if it is away, a worker
with last good lists goes on, one without waits and says so); the topics; then the first call. No
call is read before the lists are there.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import gethostname
from uuid import uuid4

from prometheus_client import CollectorRegistry

from stream.calls.batch import CallBatch
from stream.calls.crash_notes import FOLDER, CrashLog
from stream.calls.decide import Outcome
from stream.calls.guarded import Guard
from stream.calls.loop import CallsLoop
from stream.calls.publish import Publisher
from stream.calls.publish_exactly_once import TransactionalPublisher
from stream.calls.tracing import traced
from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings
from stream.core.model.errors import (
    ConfigInvalid,
    Fault,
    KafkaAway,
    KafkaRefuses,
    RegisterDown,
    RegisterUnsafe,
    TopicMissing,
)
from stream.engine.decider import Decider, decoder_for, use_kernels
from stream.engine.list_follower import refresher_for
from stream.engine.worker_metrics import Watched
from stream.kafka.batch import RawBatch
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.ops import log as logs
from stream.ops.clock import Deadline, monotonic_s, now_ms, now_s
from stream.ops.gc import settle
from stream.ops.health import HealthServer, PortTaken, Readiness, Turning
from stream.ops.metrics.bounded_labels import Named
from stream.ops.metrics.certificate import CertificateMetrics
from stream.ops.metrics.exposition import keep_in_files
from stream.ops.tasks import cancelled, every, first, running
from stream.ops.traces import traces_to

log = logging.getLogger(__name__)

CLEAN, CRASHED, CONFIG_WRONG, UNUSABLE = 0, 1, 2, 3
"""Exit codes. UNUSABLE: Kafka, Redis or the port are there, but not as they have to be."""
LOOK_S = 1.0
STOP_S_MAX = 5.0
"""How long clients may take to close when nothing went wrong with the deadline."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of a supervisor's workers a process is.

    `report` is told every second whether it is ready; `gone` ends when the supervisor did.
    """

    slot: int
    workers: int
    report: Callable[[Readiness], None]
    gone: Callable[[], Awaitable[None]]


def run(settings: Settings, place: Place | None = None) -> int:
    """Run one worker until it is told to stop; its exit code. `place` None: it is the only one."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {} if place is None else {"worker": place.slot})
    if place is not None:
        keep_in_files(place.slot)
    try:
        return asyncio.run(_Worker(settings, place).run())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)
    except Exception:
        log.critical("a bug ended the worker", exc_info=True)
        raise


def refuse_optimised() -> None:
    """Without asserts a bug would go on working: python -O is refused."""
    if not __debug__:
        raise SystemExit("Ringfence does not run under python -O: its checks are asserts")


def exit_code_of(fault: Fault) -> int:
    """2: the configuration; 3: what the operator has to set up first; 1: anything else."""
    if isinstance(fault, ConfigInvalid):
        return CONFIG_WRONG
    unusable = KafkaAway | KafkaRefuses | RegisterDown | RegisterUnsafe | TopicMissing | PortTaken
    if isinstance(fault, unusable):
        return UNUSABLE
    return CRASHED


class _Worker:
    """One worker's life."""

    def __init__(self, settings: Settings, place: Place | None) -> None:
        self._settings = settings
        self._place = place
        self._agreements = AgreementFolder(settings.agreements.folder())
        self._watched = Watched(
            CollectorRegistry(),
            settings.calls.topics,
            settings.calls.home_country,
            Named(settings.ops.lists_max, settings.policy.lists),
            settings.trunks,
        )
        ops = settings.ops
        self._traces = traces_to(ops.traces, ops.traces_ratio, self._name())
        self._refresher = refresher_for(settings, self._watched.list_event, self._traces)
        self._source: KafkaSource | None = None
        self._loop: CallsLoop[Outcome] | None = None
        self._deadline = Deadline()
        self._told = asyncio.Event()
        self._crashes: CrashLog | None = None
        self._turning = Turning(settings.ops.stalled_s)

    async def run(self) -> int:
        """Until told to stop: CLEAN, or CRASHED if the deadline came first. Raises Faults."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        work = asyncio.create_task(self._work(), name="work")
        told = asyncio.create_task(self._told.wait(), name="told")
        async with self._seen_from_outside() as helpers:
            try:
                await asyncio.wait({work, told, *helpers}, return_when=asyncio.FIRST_COMPLETED)
                for helper in helpers:
                    if helper.done():
                        helper.result()
                if not work.done():
                    await self._wind_up(work)
            finally:
                await cancelled(told, work)
                await asyncio.to_thread(self._traces.stop)
                if self._crashes is not None:
                    self._crashes.close()
        if work.cancelled():
            return CLEAN if self._loop is None else CRASHED
        work.result()
        log.info("stopped; what was decided is committed")
        return CLEAN

    def _stop(self, why: str) -> None:
        """Begin the shutdown; a second word of a person ends it at once."""
        if self._told.is_set() and self._place is None:
            self._deadline = Deadline()
            self._deadline.start(0.0)
        self._deadline.start(self._settings.ops.shutdown_s)
        self._watched.state.stopping = True
        log.info("%s: stopping within %.1f s", why, self._deadline.left_s or 0.0)
        self._told.set()

    async def _wind_up(self, work: "asyncio.Task[None]") -> None:
        """Let the loop settle what it began, if the deadline allows it; then end everything."""
        if self._loop is None:
            work.cancel()
        else:
            self._loop.stop()
        while not work.done():
            left_s = self._deadline.left_s or 0.0
            if left_s == 0.0:
                log.error("the deadline came first: calls since the last commit are decided again")
                work.cancel()
                await asyncio.wait({work}, timeout=STOP_S_MAX)
                return
            await asyncio.wait({work}, timeout=min(left_s, 0.2))

    async def _work(self) -> None:
        """The worker's day, in order."""
        settings, watched = self._settings, self._watched
        self._agreements.start()
        await asyncio.gather(
            asyncio.to_thread(self._use_kernels), asyncio.to_thread(self._refresher.load_last_good)
        )
        async with running(self._refresher.run(), "lists") as lists:
            await first(self._refresher.wait_loaded(), lists)
            watched.state.lists_loaded = True
            loaded = self._refresher.current.lists
            log.info("lists are loaded: %d", len(loaded))
            settle()
            workers = 1 if self._place is None else self._place.workers
            kafka = settings.kafka_client()
            limits = await check_topics(
                kafka,
                settings.calls.names(settings.kafka.replication_factor),
                workers,
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
                settings,
                lambda: self._refresher.current,
                lambda: self._agreements.reading.agreements,
            )
            loop = await asyncio.to_thread(self._new_loop, source, sink, decider, hold_s_max)
            async with self._started(sink), self._started(source):
                self._source, self._loop = source, loop
                if self._told.is_set():
                    return
                log.info("reading calls from %s", ", ".join(settings.calls.topics))
                await first(loop.run(), lists)

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
    ) -> CallsLoop[Outcome]:
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

    def _guard(self, source: KafkaSource) -> Guard | None:
        """What finds a record that stops workers; None where no notes can be kept."""
        try:
            self._crashes = CrashLog(Path(self._settings.lists.state_dir, FOLDER), now_ms)
        except OSError as error:
            log.warning("a record that stops workers would not be found: %s", error)
            return None
        return Guard(self._crashes, lambda: source.starts, lambda: source.revoking)

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
            left_s = self._deadline.left_s
            try:
                async with asyncio.timeout(STOP_S_MAX if left_s is None else max(left_s, 0.1)):
                    await client.stop()
            except TimeoutError:
                log.warning("%s did not close in time", type(client).__name__)

    @asynccontextmanager
    async def _seen_from_outside(self) -> AsyncIterator[set["asyncio.Task[None]"]]:
        """Gauges, and either our own health pages or reports to the supervisor.

        Gives the tasks that do it: if one fails, so does the worker.
        """
        ops = self._settings.ops
        async with (
            running(self._turning.run(), "turning") as turning,
            running(self._look(), "look") as look,
            running(
                every(self._settings.agreements.reload_s, self._agreements.look), "agreements"
            ) as agreements,
        ):
            if self._place is not None:
                async with running(self._watch(self._place), "supervisor") as watch:
                    yield {turning, look, agreements, watch}
                return
            CertificateMetrics(self._watched.registry, self._settings.certificates("kafka"))
            server = HealthServer(
                ops.http_host,
                ops.http_port,
                self._watched.registry,
                lambda: self._watched.state.readiness,
                lambda: self._turning.stalled,
            )
            async with server:
                log.info("http://%s:%d/metrics /live /ready", ops.http_host, server.port)
                yield {turning, look, agreements}

    async def _look(self) -> None:
        while True:
            self._watched.look(self._source, self._refresher.current)
            self._watched.agreed(self._agreements.reading, now_s())
            if self._place is not None:
                self._place.report(self._watched.state.readiness)
            await asyncio.sleep(LOOK_S)

    async def _watch(self, place: Place) -> None:
        await place.gone()
        self._stop("the supervisor is gone")
