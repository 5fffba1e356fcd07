"""`ringfence serve`: answer HTTP requests from the lists.

It answers from its first moment: lookups with `allow` until lists are there, records with 503 until
Kafka is. The lists are loaded as a worker loads them: the last good ones from the state directory,
then the list store, whose changes are followed.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from stream.calls.publish import started_producer
from stream.config.settings import Settings
from stream.core.model.errors import KafkaRefuses, SourceDown
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
from stream.ops.metrics.bounded_labels import Named
from stream.ops.metrics.serve import ServeMetrics
from stream.ops.metrics.token import TokenMetrics
from stream.ops.monitor.collect import Watch
from stream.ops.retry import Backoff
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import LOOK_S, Place, Service, Words
from stream.web import install
from stream.web.page_context import PageParts, opened, redress_at

log = logging.getLogger(__name__)

_LOOPBACK = ("127.", "::1", "localhost")
_RECORD_OVERHEAD = 64 * 1024
"""Of a request to Kafka around its records."""
_KEPT_AT_ONCE = 1000
_CLOSE_S = 1.5
"""Less than the grace that a supervisor gives its workers."""


def run(settings: Settings, arguments: Sequence[str] = (), place: Place | None = None) -> int:
    """Serve until told to stop; the exit code. `place` None: this is the only process.

    `arguments` are those of every command that the page runs, e.g. --config.
    """
    return service.run(
        settings, lambda: _Serving(settings, arguments, place).run(), place, process="serve"
    )


class _Serving:
    """The parts behind the routes, and the order in which they start and end."""

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

        self._service = Service(
            settings,
            settings.serve.health_port,
            self._registry,
            lambda: self._memory.readiness.missing,
            words=Words(stopping="requests that run are answered"),
            place=place,
            uses=("kafka", "http"),
            # Requests may take all of shutdown_s; then the rest is closed.
            grace_s=_CLOSE_S,
        )

    async def run(self) -> int:
        """Serve until told to stop; the exit code. Raises Faults."""
        self._warn()
        self._memory.agreements.start()
        if self._place is None:  # else the supervisor shows them
            self._token_metrics = TokenMetrics(self._registry)
            self._token_metrics.show(self._tokens.held.expiries)
        # Before the first report: a supervisor that hears of us may send it, and it would end us.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._tokens.read)
        return await self._service.run(self._work)

    async def _work(self) -> None:
        settings = self._settings
        async with redress_at(
            settings, settings.serve, self._metrics, self._memory.agreements
        ) as redress:
            self._memory.lookup.keep = redress.kept.asked
            redress.preloaded = Preloaded(redress.kept.redis, self._blocklist.judge)
            parts = self._parts(redress)
            async with opened(
                settings,
                settings.serve,
                Watch(settings.watched()),
                parts.guard,
                self._memory.agreements,
                redress,
                lambda: self._memory.refresher.current,
                self._arguments,
            ) as pages:
                await supervised(
                    self._serve(parts, pages),
                    tokens=self._tokens.run(),
                    lists=self._memory.run(),
                    records=self._take_records(),
                    changes=self._look(),
                    agreements=self._memory.look(),
                    asked=redress.kept.run(),
                    decisions=self._keep_decisions(redress.kept),
                )

    async def _serve(self, parts: Parts, pages: PageParts) -> None:
        serve = self._settings.serve
        async with serving(
            application(parts, lambda app: install(app, pages)),
            serve,
            self._metrics,
            shutdown_s=self._settings.ops.shutdown_s,
            shared=self._place is not None,
        ) as port:
            where = f"{'https' if serve.cert_file else 'http'}://{serve.host}:{port}"
            log.info("%s is the page; %s/docs lists what programs are served", where, where)
            try:
                await self._service.until_stopping()
            finally:
                # First: a page's stream of events is a request that would never end.
                pages.live.close()

    async def _take_records(self) -> None:
        """Hold the connection to Kafka. Without one, the other routes are still served."""
        await self._door.run()
        await asyncio.Event().wait()

    def _parts(self, redress: Redress) -> Parts:
        """Return the parts that the routes share."""
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
        backoff, calls = Backoff(1.0, 30.0), self._settings.calls
        wanted = replace(
            calls.source(""),
            topics=(calls.decisions_topic,),
            group_id=f"{calls.group_id}.serve",
            instance_id="",  # all processes that serve share the group
            start_at="earliest",
            corrupt_batches="skip",
        )

        async def deliver(batch: RawBatch) -> None:
            await kept.deliver(batch)
            backoff.reset()

        while True:
            source = KafkaSource(self._settings.kafka_client(), wanted, lambda _: None)
            try:
                await source.start()
                await Pump(source, deliver, PumpSettings(_KEPT_AT_ONCE)).run()
            except (SourceDown, KafkaRefuses) as fault:
                log.warning("decisions are not kept by their ids now, still trying: %s", fault)
            finally:
                await source.stop()
            await asyncio.sleep(backoff.next_s())

    async def _look(self) -> None:
        """Follow changes of the lists for `/v1/blocklist`."""
        while True:
            await asyncio.sleep(LOOK_S)
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

    def _warn(self) -> None:
        """Warn of settings that are allowed, and seldom intended."""
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
