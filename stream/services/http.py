"""`ringfence serve`, put together: HTTP in front of the lists, until told to stop.

It answers from its first moment: lookups with `allow` until lists are there, records with 503 until
Kafka is. The lists are loaded as a worker loads them: the last good ones from the state directory,
then the register, whose changes are followed.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from stream.calls.publish import started_producer
from stream.config.settings import Settings
from stream.core.model.errors import Fault, KafkaRefuses, SourceDown
from stream.edge.http.app import application
from stream.edge.http.appeal_service import Redress
from stream.edge.http.auth import Guard
from stream.edge.http.blocklist import Blocklist
from stream.edge.http.decision_store import KeptDecisions
from stream.edge.http.dependencies import Parts
from stream.edge.http.preloaded import Preloaded
from stream.edge.http.problems import Kind
from stream.edge.http.record_intake import Door
from stream.edge.http.server import serving
from stream.edge.http.tokens import Tokens
from stream.edge.sinks.consumer_loop import Pump, PumpSettings
from stream.engine.decider import Judges, decoder_for
from stream.engine.live_lookup import Memory
from stream.kafka.batch import RawBatch
from stream.kafka.consumer import KafkaSource
from stream.kafka.settings import SourceSettings
from stream.ops import log as logs
from stream.ops.health import HealthServer, Turning
from stream.ops.metrics.bounded_labels import Named
from stream.ops.metrics.certificate import CertificateMetrics
from stream.ops.metrics.exposition import keep_in_files
from stream.ops.metrics.serve import ServeMetrics
from stream.ops.metrics.token import TokenMetrics
from stream.ops.retry import Backoff
from stream.ops.tasks import running, until
from stream.services.worker import CLEAN, Place, exit_code_of, refuse_optimised
from stream.web.lifespan import opened, redress_at
from stream.web.routes import install

log = logging.getLogger(__name__)

_LOOPBACK = ("127.", "::1", "localhost")
_RECORD_OVERHEAD = 64 * 1024
"""Of a request to Kafka around its records."""
_KEPT_AT_ONCE = 1000
_LOOK_S = 1.0


def run(settings: Settings, arguments: Sequence[str] = (), place: Place | None = None) -> int:
    """Serve until told to stop; the exit code. `place` None: this is the only process.

    `arguments` are those of every command that the page runs, e.g. --config.
    """
    refuse_optimised()
    named = {} if place is None else {"worker": place.slot}
    logs.set_up(settings.ops.log_level, {"process": "serve", **named})
    if place is not None:
        keep_in_files(place.slot)
    try:
        return asyncio.run(_Serving(settings, arguments, place).run())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


class _Serving:
    """One process's life."""

    def __init__(self, settings: Settings, arguments: Sequence[str], place: Place | None) -> None:
        self._settings = settings
        self._arguments = arguments
        self._place = place
        self._registry = CollectorRegistry()
        self._metrics = metrics = ServeMetrics(
            self._registry, Named(settings.ops.lists_max, settings.policy.lists)
        )
        for kind in Kind:
            metrics.problems.labels(kind)
        self._token_metrics: TokenMetrics | None = None
        self._told = asyncio.Event()
        self._turning = Turning(settings.ops.stalled_s)
        self._memory = Memory(settings, metrics.lookups, metrics.followed)
        self._guard = Guard(settings.secrets.http_tokens, settings.serve.refusals_per_minute)
        self._tokens = settings.token_file(self._take_up)
        self._blocklist = Blocklist(
            Judges(
                settings,
                lambda: self._memory.refresher.current,
                lambda: self._memory.agreements.reading.agreements,
            )
        )
        self._door = Door(
            topics=dict(settings.calls.topics),
            read=decoder_for(settings),
            connect=self._connect,
            metrics=metrics,
            bytes_max=settings.serve.kafka_bytes_max,
            wait_s_max=settings.serve.kafka_s_max,
        )

    async def run(self) -> int:
        """Until told to stop. Raises Faults."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        settings, ops = self._settings, self._settings.ops
        self._warn()
        self._memory.agreements.start()
        async with AsyncExitStack() as stack:
            redress = await stack.enter_async_context(
                redress_at(settings, self._metrics, self._memory.agreements)
            )
            self._memory.keep = redress.kept.asked
            redress.preloaded = Preloaded(redress.kept.redis, self._blocklist.judge)
            parts = self._parts(redress)
            pages = await stack.enter_async_context(
                opened(
                    settings,
                    parts.guard,
                    self._memory.agreements,
                    redress,
                    lambda: self._memory.refresher.current,
                    self._arguments,
                )
            )
            jobs = [
                await stack.enter_async_context(running(job, name))
                for name, job in (
                    ("turning", self._turning.run()),
                    ("tokens", self._tokens.run()),
                    ("lists", self._memory.run()),
                    ("door", self._door.run()),
                    ("look", self._look()),
                    ("agreements", self._memory.look()),
                    ("asked", redress.kept.run()),
                    ("decisions", self._keep_decisions(redress.kept)),
                )
            ]
            jobs += await stack.enter_async_context(self._seen_from_outside())
            port = await stack.enter_async_context(
                serving(
                    application(parts, lambda app: install(app, pages)),
                    settings.serve,
                    self._metrics,
                    shutdown_s=ops.shutdown_s,
                    shared=self._place is not None,
                )
            )
            scheme = "https" if settings.serve.cert_file else "http"
            where = f"{scheme}://{settings.serve.host}:{port}"
            log.info("%s is the page; %s/docs lists what programs are served", where, where)
            try:
                await until(self._told, jobs)
            finally:
                pages.live.close()
        log.info("stopped")
        return CLEAN

    @asynccontextmanager
    async def _seen_from_outside(self) -> AsyncIterator["list[asyncio.Task[None]]"]:
        """Our own health pages, or reports to the supervisor; gives the tasks that do it."""
        ops, place = self._settings.ops, self._place
        if place is not None:
            async with (
                running(self._report(place), "report") as report,
                running(self._watch(place), "supervisor") as watch,
            ):
                yield [report, watch]
            return
        CertificateMetrics(self._registry, self._settings.certificates("kafka", "http"))
        self._token_metrics = TokenMetrics(self._registry)
        self._token_metrics.show(self._tokens.held.expiries)
        async with HealthServer(
            ops.http_host,
            self._settings.serve.health_port,
            self._registry,
            lambda: self._memory.readiness,
            lambda: self._turning.stalled,
        ) as server:
            log.info("http://%s:%d/metrics /live /ready", ops.http_host, server.port)
            yield []

    async def _report(self, place: Place) -> None:
        while True:
            place.report(self._memory.readiness)
            await asyncio.sleep(_LOOK_S)

    async def _watch(self, place: Place) -> None:
        await place.gone()
        self._stop("the supervisor is gone")

    def _parts(self, redress: Redress) -> Parts:
        """What the routes share."""
        settings = self._settings
        return Parts(
            settings=settings.serve,
            guard=self._guard,
            metrics=self._metrics,
            readiness=lambda: self._memory.readiness,
            lookup=self._memory.lookup,
            door=self._door,
            redress=redress,
            blocklist=self._blocklist,
            record_bytes_max=settings.calls.record_bytes_max,
        )

    async def _keep_decisions(self, kept: KeptDecisions) -> None:
        """Copy decisions from their topic, in a group of all processes that serve."""
        backoff = Backoff(1.0, 30.0)

        async def deliver(batch: RawBatch) -> None:
            await kept.deliver(batch)
            backoff.reset()

        while True:
            source = KafkaSource(self._settings.kafka_client(), self._kept_source(), lambda _: None)
            try:
                await source.start()
                await Pump(source, deliver, PumpSettings(_KEPT_AT_ONCE)).run()
            except (SourceDown, KafkaRefuses) as fault:
                log.warning("decisions are not kept by their ids now, still trying: %s", fault)
            finally:
                await source.stop()
            await asyncio.sleep(backoff.next_s())

    def _kept_source(self) -> SourceSettings:
        calls = self._settings.calls
        return SourceSettings(
            topics=(calls.decisions_topic,),
            group_id=f"{calls.group_id}.serve",
            instance_id="",
            start_at="earliest",
            session_timeout_ms=calls.session_timeout_ms,
            rebalance_timeout_ms=calls.rebalance_timeout_ms,
            fetch=calls.fetch,
            corrupt_batches="skip",
        )

    async def _look(self) -> None:
        """Notice for the blocklist what changed."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._blocklist.look()

    def _take_up(self, tokens: Tokens) -> None:
        self._guard.take_up(tokens)
        if self._token_metrics is not None:
            self._token_metrics.show(tokens.expiries)

    async def _connect(self) -> Any:
        kafka = self._settings.kafka
        return await started_producer(
            self._settings.kafka_client(),
            lambda _: None,
            enable_idempotence=kafka.idempotent,
            compression_type=None if kafka.compression == "none" else kafka.compression,
            max_batch_size=self._settings.calls.record_bytes_max,
            max_request_size=self._settings.calls.record_bytes_max + _RECORD_OVERHEAD,
        )

    def _stop(self, why: str) -> None:
        log.info("%s: stopping; requests that run are answered", why)
        self._told.set()

    def _warn(self) -> None:
        """Of what is allowed, and seldom meant."""
        serve = self._settings.serve
        if not self._settings.secrets.http_tokens.held:
            log.warning(
                "there is no token, so nobody may ask anything: `ringfence token create NAME "
                "--role ROLE` makes one"
            )
        if not serve.cert_file and not serve.host.startswith(_LOOPBACK):
            log.warning(
                "%s is served without TLS: tokens and numbers can be read on the way; set "
                "cert_file and key_file in [serve], or put a TLS proxy before a loopback address",
                serve.host,
            )
