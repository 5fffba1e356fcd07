"""`ringfence serve`: answer HTTP requests from the lists.

It answers from its first moment: lookups with `allow` until lists are there, records with 503 until
Kafka is.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stream.calls.publish import started_producer
from stream.config.settings import Settings
from stream.core.model.errors import KafkaRefuses, SourceDown
from stream.edge.http.app import application
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import Auth
from stream.edge.http.blocklist import Blocklist
from stream.edge.http.decision_store import DecisionStore, PreloadedDecisions
from stream.edge.http.dependencies import Parts
from stream.edge.http.http_server import serving
from stream.edge.http.lookup_routes import DirectLookup
from stream.edge.http.problems import ProblemKind
from stream.edge.http.record_intake import RecordIntake
from stream.edge.http.tokens import Tokens
from stream.edge.sinks.consumer_loop import SinkLoop
from stream.engine.decider import CurrentPolicy, decoder_for
from stream.engine.live_lookup import LiveLookup
from stream.kafka.batch import RawBatch
from stream.kafka.consumer import KafkaSource
from stream.ops.metrics.catalogue import BoundedLabels
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.metrics.shared_catalogue import TokenMetrics
from stream.ops.monitor.collect import Monitor
from stream.ops.retry import Backoff
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import LOOPBACK, Service, Words, WorkerPlace
from stream.web import install
from stream.web.page_context import PageParts, opened, redress_at

log = logging.getLogger(__name__)

_KEPT_AT_ONCE = 1000
"""Decisions copied at once, about 20 ms: lookups of this process wait so long at most."""
_CLOSE_S = 1.5
"""Seconds to close after the last request: less than a supervisor's grace for its workers."""


def run(settings: Settings, arguments: Sequence[str] = (), place: WorkerPlace | None = None) -> int:
    """Serve until a signal; return the exit code. `place` None: this is the only process.

    `arguments` are those of every command that the page runs, such as --config.
    """
    return service.run(
        settings, lambda: _Serving(settings, arguments, place).run(), place, process="serve"
    )


class _Serving(Service):
    """The parts that the routes use, and the order in which they start and end."""

    def __init__(
        self, settings: Settings, arguments: Sequence[str], place: WorkerPlace | None
    ) -> None:
        super().__init__(
            settings,
            settings.serve.health_port,
            words=Words(stopping="requests that run are answered"),
            place=place,
            uses=("kafka", "redis", "http"),
            # Requests may take all of shutdown_s; then the rest is closed.
            grace_s=_CLOSE_S,
        )
        self._arguments = arguments
        self._metrics = metrics = ServeMetrics(
            self.registry, BoundedLabels(settings.ops.lists_max, settings.policy.lists)
        )
        for kind in ProblemKind:
            metrics.problems.labels(kind)
        self._live = LiveLookup(settings, metrics.lookups, metrics.followed, metrics.signatures)
        self._auth = Auth(settings.secrets.http_tokens, settings.serve.refusals_per_minute)
        self._token_metrics: TokenMetrics | None = None
        self._tokens = settings.token_file(self._take_up)
        if place is None:  # else the supervisor shows them
            self._token_metrics = TokenMetrics(self.registry)
            self._token_metrics.show(self._tokens.held.expiries)
        self._blocklist = Blocklist(CurrentPolicy(settings, self._live.current, self._live.agreed))
        self._intake = RecordIntake(
            topics=dict(settings.calls.topics),
            read=decoder_for(settings),
            connect=self._connect,
            metrics=metrics,
            bytes_max=settings.serve.kafka_bytes_max,
            wait_s_max=settings.serve.kafka_s_max,
        )
        self._closed: tuple[str, ...] = (f"port {settings.serve.port} is not open yet",)
        self._warn()
        self._live.agreements.start()

    def _missing(self) -> tuple[str, ...]:
        # Lists may be loaded before the port is open: requests sent here then would be refused.
        return (*self._live.readiness.missing, *self._closed)

    def _hung_up(self) -> None:
        self._tokens.read()

    async def _work(self) -> None:
        settings, live = self.settings, self._live
        async with redress_at(settings, settings.serve, self._metrics, live.agreements) as redress:
            live.lookup.keep = redress.decisions.asked
            redress.preloaded = PreloadedDecisions(redress.decisions.redis, self._blocklist.policy)
            async with opened(
                settings,
                settings.serve,
                Monitor(settings.watched()),
                self._auth,
                live.agreements,
                redress,
                live.current,
                self._arguments,
            ) as pages:
                await supervised(
                    self._serve(self._parts(redress, pages), pages),
                    tokens=self._tokens.run(),
                    lists=live.run(),
                    records=self._take_records(),
                    changes=self.repeated(self._blocklist.look),
                    sweeps=self._blocklist.sweep_often(),
                    agreements=live.watch_agreements(),
                    asked=redress.decisions.run(),
                    decisions=self._keep_decisions(redress.decisions),
                )

    async def _serve(self, parts: Parts, pages: PageParts) -> None:
        serve = self.settings.serve
        async with serving(
            application(parts, lambda app: install(app, pages)),
            serve,
            self._metrics,
            shutdown_s=self.settings.ops.shutdown_s,
            shared=self.place is not None,
            direct=DirectLookup(parts),
        ) as port:
            self._closed = ()
            where = f"{'https' if serve.cert_file else 'http'}://{serve.host}:{port}"
            log.info("%s is the page; %s/docs lists the addresses for programs", where, where)
            try:
                await self.until_stopping()
            finally:
                # First: a page's stream of events is a request that would never end.
                pages.live.close()

    async def _take_records(self) -> None:
        """Hold the connection to Kafka. Without one, the other routes are still served."""
        await self._intake.run()
        await asyncio.Event().wait()  # a helper has no end of its own: see `supervised`

    def _parts(self, redress: AppealService, pages: PageParts) -> Parts:
        """Return the parts that the routes share."""
        settings = self.settings
        pages.push.told = lambda verdict: self._metrics.versions.labels(verdict).inc()
        return Parts(
            settings=settings.serve,
            auth=self._auth,
            metrics=self._metrics,
            readiness=lambda: self._live.readiness,
            lookup=self._live.lookup,
            intake=self._intake,
            appeals=redress,
            blocklist=self._blocklist,
            push=pages.push,
            record_bytes_max=settings.calls.record_bytes_max,
        )

    async def _keep_decisions(self, kept: DecisionStore) -> None:
        """Copy decisions from their topic, in a group of all processes that serve."""
        backoff, calls = Backoff(1.0, 30.0), self.settings.calls
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

        await self._live.begun()
        while True:
            source = KafkaSource(self.settings.kafka_client(), wanted, lambda _: None)
            try:
                await source.start()
                await SinkLoop(source, deliver, _KEPT_AT_ONCE).run()
            except (SourceDown, KafkaRefuses) as fault:
                log.warning("decisions are not kept by their ids now, still trying: %s", fault)
            finally:
                await source.stop()
            await backoff.pause()

    def _take_up(self, tokens: Tokens) -> None:
        self._auth.take_up(tokens)
        if self._token_metrics is not None:
            self._token_metrics.show(tokens.expiries)

    async def _connect(self) -> Any:
        options = self.settings.calls.producer_options(self.settings.kafka)
        return await started_producer(self.settings.kafka_client(), lambda _: None, **options)

    def _warn(self) -> None:
        """Warn of settings that are allowed, and seldom intended."""
        serve = self.settings.serve
        if not self.settings.secrets.http_tokens.held:
            log.warning(
                "there is no token, so every request is refused: `ringfence token create NAME "
                "--role ROLE` makes one"
            )
        if not serve.cert_file and not serve.host.startswith(LOOPBACK):
            log.warning(
                "%s is served without TLS: tokens and numbers can be read on the way; set "
                "cert_file and key_file in [serve], or put a TLS proxy before a loopback address",
                serve.host,
            )
