"""`ringfence sink webhooks`: decisions told over HTTP, a consumer group for each endpoint."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.consumer_loop import Pump, PumpSettings
from stream.edge.sinks.webhooks.endpoint import Endpoint
from stream.edge.sinks.webhooks.post import Post
from stream.edge.sinks.webhooks.undelivered import Kept
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.ops.metrics.sink import SinkMetrics, WebhookMetrics
from stream.ops.tasks import supervised, together
from stream.services import service
from stream.services.service import DELIVERS, LOOK_S, Service

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 200
"""Decisions of one endpoint under way: so many may come twice after a crash."""


def run_webhooks(settings: Settings, environ: Mapping[str, str]) -> int:
    """Deliver until told to stop; the exit code."""
    return service.run(
        settings, lambda: WebhooksRun(settings, environ).run(), process="sink-webhooks"
    )


class WebhooksRun:
    """All endpoints that the settings name. Raises ConfigInvalid if that is none."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._section = settings.sinks.webhooks
        if not self._section.endpoints:
            text = "names no endpoint: [sinks.webhooks.endpoints.<name>] url, secret_env"
            raise ConfigInvalid((f"sinks.webhooks.endpoints: {text}",))
        self._secrets = self._section.secrets(environ)
        self._registry = CollectorRegistry()
        self._metrics = SinkMetrics(self._registry)
        self._webhook_metrics = WebhookMetrics(self._registry)
        for event in CallEvent:
            self._metrics.events.labels(event)
        self._sources: dict[str, KafkaSource] = {}
        self.service = Service(
            settings,
            self._section.http_port,
            self._registry,
            self._missing,
            words=DELIVERS,
            uses=("kafka",),
        )

    async def run(self) -> int:
        """Deliver until told to stop; the exit code. Raises Faults."""
        return await self.service.run(self._work)

    async def _work(self) -> None:
        settings = self._settings
        kafka, topics = settings.kafka_client(), self._section.topics()
        names = settings.calls.names(settings.kafka.replication_factor, topics)
        await check_topics(kafka, names, 1, self._event)
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(
                Kept(kafka, topics[0], self._event, idempotent=settings.kafka.idempotent)
            )
            pumps = [await self._endpoint(stack, name, kept) for name in self._section.endpoints]

            def stop() -> None:
                for pump in pumps:
                    pump.stop()

            self.service.ends_by(stop)
            await supervised(together(*(pump.run() for pump in pumps)), look=self._look())

    async def _endpoint(self, stack: AsyncExitStack, name: str, kept: Kept) -> Pump:
        """The loop of one endpoint, ready to run."""
        settings, section = self._settings, self._section.endpoints[name]
        source_name = f"/ringfence/{settings.calls.group_id}"
        post = await stack.enter_async_context(Post(section.post(source_name, self._secrets[name])))
        endpoint = Endpoint(section.endpoint(name), post, kept.keep, self._webhook_metrics)
        # A new endpoint is told what is decided from now on, not the week before.
        wanted = settings.calls.decisions_source(
            f"{settings.calls.group_id}.webhook.{name}", "latest"
        )
        source = KafkaSource(settings.kafka_client(), wanted, self._event)
        await source.start()
        stack.push_async_callback(source.stop)
        self._sources[name] = source
        return Pump(source, endpoint.deliver, PumpSettings(RECORDS_MAX))

    async def _look(self) -> None:
        while True:
            for name, source in self._sources.items():
                for partition, records in source.lags().items():
                    self._metrics.lag.labels(name, str(partition.number)).set(records)
            await asyncio.sleep(LOOK_S)

    def _missing(self) -> tuple[str, ...]:
        if len(self._sources) < len(self._section.endpoints):
            return ("Kafka does not answer yet",)
        return tuple(
            f"{name}: no partitions are assigned"
            for name, source in self._sources.items()
            if not source.assigned
        )

    def _event(self, event: CallEvent) -> None:
        self._metrics.events.labels(event).inc()
