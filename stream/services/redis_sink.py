"""`ringfence sink redis`: keys for SIP proxies."""

import logging
import os
from collections.abc import Mapping
from typing import Final

from stream.config.settings import Settings
from stream.core.model.errors import ListStoreDown
from stream.edge.sinks.consumer_loop import SinkLoop
from stream.edge.sinks.decision_records import RecordOutcome
from stream.edge.sinks.preload_ids import KEY_BYTES, NumberIds
from stream.edge.sinks.proxy_redis import ProxyRedis, number_ids
from stream.edge.sinks.proxy_sink import RedisSink
from stream.engine.decider import CurrentPolicy
from stream.engine.live_lists import LiveLists, tell
from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.lists.store.redis_client import client, renamed
from stream.ops.metrics.sink_catalogue import RedisSinkMetrics, SinkMetrics
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import DELIVERS, Service

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 4000
"""Decisions written at once: 8 scripts of 500 keys, about 40 ms."""


def run_redis(settings: Settings) -> int:
    """Keep the proxies' keys until a signal; return the exit code."""
    return service.run(settings, lambda: RedisSinkService(settings).run(), process="sink-redis")


class RedisSinkService(Service):
    """The lists, the decisions topic, and the proxies' keys made from both."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            settings,
            settings.sinks.redis.http_port,
            words=DELIVERS,
            uses=("kafka", "redis", "proxies"),
        )
        self._metrics = SinkMetrics(self.registry)
        self._redis_metrics = RedisSinkMetrics(self.registry)
        for seen in RecordOutcome:
            self._redis_metrics.decisions.labels(seen)
        for event in CallEvent:
            self._metrics.events.labels(event)
        self._lists = LiveLists(settings, tell)
        self._source: KafkaSource | None = None
        self._sink: RedisSink | None = None

    async def _work(self) -> None:
        self._lists.agreements.start()
        await self._lists.load()
        await supervised(self._keep_keys(), lists=self._lists.run())

    async def _keep_keys(self) -> None:
        await self._lists.wait_loaded()
        async with ProxyRedis(self.settings.proxies()) as proxies:
            await proxies.let_in()
            await self._write(proxies)

    async def _write(self, proxies: ProxyRedis) -> None:
        settings, section = self.settings, self.settings.sinks.redis
        kafka = settings.kafka_client()
        names = settings.calls.names(settings.kafka.replication_factor)
        await check_topics(kafka, names, 1, self._event)
        self._sink = sink = RedisSink(
            section,
            settings.policy.decision_ttl_s,
            proxies,
            CurrentPolicy(settings, self._lists.current, self._lists.agreed),
            self._redis_metrics,
            await self._names(),
            lambda: self._lists.refresher.deleted,
        )
        group = section.group_id or f"{settings.calls.group_id}.redis"
        self._source = source = KafkaSource(
            kafka, settings.calls.decisions_source(group, "earliest"), self._event
        )

        async def back(
            epoch: int, delivered: Mapping[Partition, int], idle: int
        ) -> Mapping[Partition, int]:
            return await sink.replay.turn(source, epoch, delivered, idle)

        pump = SinkLoop(source, sink.deliver, RECORDS_MAX, back)
        await source.start()
        try:
            self.ends_by(pump.stop)
            await supervised(
                pump.run(),
                keys=sink.keep(),
                look=self.repeated(self._look),
                agreements=self._lists.watch_agreements(),
            )
        finally:
            await source.stop()

    async def _names(self) -> NumberIds:
        """Return the list store's names; without it, ids without a page until the next start."""
        redis = client(self.settings.list_store())
        try:
            with renamed("reading the key of ids"):
                return await number_ids(redis)
        except ListStoreDown as fault:
            log.warning("keys that no call led to have ids without a page, by now: %s", fault)
            return NumberIds(os.urandom(KEY_BYTES))
        finally:
            await redis.aclose()

    def _look(self) -> None:
        if self._source is not None:
            lags = self._source.lags()
            self._metrics.show_lags("redis", {one.number: lag for one, lag in lags.items()})

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
