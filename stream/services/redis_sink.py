"""`ringfence sink redis`: keys for SIP proxies."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings
from stream.core.model.errors import ListStoreDown
from stream.edge.sinks.consumer_loop import Pump, PumpSettings
from stream.edge.sinks.decision_records import Seen
from stream.edge.sinks.preload_id_key import names_in
from stream.edge.sinks.preload_ids import KEY_BYTES, Names
from stream.edge.sinks.proxy_redis import Proxies
from stream.edge.sinks.proxy_sink import RedisSink
from stream.engine.decider import Judges, use_kernels
from stream.engine.list_follower import refresher_for
from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.lists.store.redis_client import client, renamed
from stream.ops.gc import settle
from stream.ops.metrics.sink import RedisSinkMetrics, SinkMetrics
from stream.ops.tasks import every, supervised
from stream.services import service
from stream.services.service import DELIVERS, LOOK_S, Service

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 4000
"""Decisions written at once: 8 scripts of 500 keys, about 40 ms."""
_QUIET: Final = (EventKind.SWAPPED, EventKind.LOADED)


def run_redis(settings: Settings) -> int:
    """Keep the proxies' keys until told to stop; the exit code."""
    return service.run(settings, lambda: RedisSinkRun(settings).run(), process="sink-redis")


class RedisSinkRun:
    """`ringfence sink redis`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = SinkMetrics(self._registry)
        self._redis_metrics = RedisSinkMetrics(self._registry)
        for seen in Seen:
            self._redis_metrics.decisions.labels(seen)
        for event in CallEvent:
            self._metrics.events.labels(event)
        self._agreements = AgreementFolder(settings.agreements.folder())
        self._refresher = refresher_for(settings, self._list_event)
        self._source: KafkaSource | None = None
        self._sink: RedisSink | None = None
        self._partitions: set[Partition] = set()
        self.service = Service(
            settings,
            settings.sinks.redis.http_port,
            self._registry,
            self._missing,
            words=DELIVERS,
            uses=("kafka",),
        )

    async def run(self) -> int:
        """Write keys until told to stop; the exit code. Raises Faults."""
        return await self.service.run(self._work)

    async def _work(self) -> None:
        self._agreements.start()
        await asyncio.gather(
            asyncio.to_thread(use_kernels, self._settings),
            asyncio.to_thread(self._refresher.load_last_good),
        )
        await supervised(self._keep_keys(), lists=self._refresher.run())

    async def _keep_keys(self) -> None:
        await self._refresher.wait_loaded()
        log.info("lists are loaded: %d", len(self._refresher.current.lists))
        settle()
        async with Proxies(self._settings.proxies()) as proxies:
            await self._write(proxies)

    async def _write(self, proxies: Proxies) -> None:
        settings, section = self._settings, self._settings.sinks.redis
        await proxies.let_in()
        kafka = settings.kafka_client()
        names = settings.calls.names(settings.kafka.replication_factor)
        await check_topics(kafka, names, 1, self._event)
        judges = Judges(
            settings, lambda: self._refresher.current, lambda: self._agreements.reading.agreements
        )
        sink = RedisSink(
            section.settings(settings.policy.decision_ttl_s),
            proxies,
            judges,
            self._redis_metrics,
            await self._names(),
        )
        group = section.group_id or f"{settings.calls.group_id}.redis"
        source = KafkaSource(kafka, settings.calls.decisions_source(group, "earliest"), self._event)

        async def back(
            epoch: int, delivered: Mapping[Partition, int], idle: int
        ) -> Mapping[Partition, int]:
            return await sink.replay.turn(source, epoch, delivered, idle)

        pump = Pump(source, sink.deliver, PumpSettings(RECORDS_MAX), back)
        self._sink, self._source = sink, source
        await source.start()
        try:
            self.service.ends_by(pump.stop)
            agreements = every(settings.agreements.reload_s, self._agreements.look)
            await supervised(
                pump.run(), keys=sink.keep(), look=self._look(source), agreements=agreements
            )
        finally:
            await source.stop()

    async def _names(self) -> Names:
        """The register's; without it, ids that lead to no page until the next start."""
        redis = client(self._settings.list_store())
        try:
            with renamed("reading the key of ids"):
                return await names_in(redis)
        except ListStoreDown as fault:
            log.warning("keys that no call led to have ids without a page, by now: %s", fault)
            return Names(os.urandom(KEY_BYTES))
        finally:
            await redis.aclose()

    async def _look(self, source: KafkaSource) -> None:
        while True:
            lags = source.lags()
            for partition in self._partitions | lags.keys():
                lag = self._metrics.lag.labels("redis", str(partition.number))
                lag.set(lags.get(partition, 0))
            self._partitions |= lags.keys()
            await asyncio.sleep(LOOK_S)

    def _missing(self) -> tuple[str, ...]:
        if self._sink is None or self._source is None:
            return ("the lists are not loaded, or Kafka does not answer yet",)
        if not self._sink.up:
            return ("the proxies' Redis does not answer",)
        if not self._sink.whole:
            return ("the keys are being rebuilt",)
        return () if self._source.assigned else ("no partitions are assigned",)

    def _event(self, event: CallEvent) -> None:
        self._metrics.events.labels(event).inc()

    def _list_event(self, event: ListEvent) -> None:
        level = logging.DEBUG if event.kind in _QUIET else logging.WARNING
        if event.kind is EventKind.REGISTER_UP:
            level = logging.INFO
        extra = {"list": event.list_name} if event.list_name else {}
        log.log(level, "%s: %s", event.kind, event.detail, extra=extra)
