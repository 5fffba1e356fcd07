"""`ringfence sink redis`: keys for SIP proxies."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from prometheus_client import CollectorRegistry

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings
from stream.core.model.errors import RegisterDown
from stream.edge.sinks.consumer_loop import Pump, PumpSettings
from stream.edge.sinks.decision_records import Seen
from stream.edge.sinks.preload_id_key import names_in
from stream.edge.sinks.preload_ids import KEY_BYTES, Names
from stream.edge.sinks.proxy_redis import Proxies
from stream.edge.sinks.proxy_sink import RedisSink
from stream.engine.decider import Judges, use_kernels
from stream.engine.list_follower import refresher_for
from stream.kafka.batch import Partition
from stream.kafka.call_events import Event
from stream.kafka.consumer import KafkaSource
from stream.kafka.topics import check_topics
from stream.lists.follower.list_events import Event as ListEvent
from stream.lists.follower.list_events import EventKind
from stream.lists.store.redis_client import client, renamed
from stream.ops.gc import settle
from stream.ops.metrics.sink import RedisSinkMetrics, SinkMetrics
from stream.ops.tasks import every, first, running
from stream.services.service import LOOK_S, Life, run, source_settings

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 4000
"""Decisions written at once: 8 scripts of 500 keys, about 40 ms."""
_QUIET: Final = (EventKind.SWAPPED, EventKind.LOADED)


def run_redis(settings: Settings) -> int:
    """Keep the proxies' keys until told to stop; the exit code."""
    return run(settings, "sink-redis", lambda: RedisSinkRun(settings).run())


class RedisSinkRun:
    """`ringfence sink redis`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = SinkMetrics(self._registry)
        self._redis_metrics = RedisSinkMetrics(self._registry)
        for seen in Seen:
            self._redis_metrics.decisions.labels(seen)
        for event in Event:
            self._metrics.events.labels(event)
        self._agreements = AgreementFolder(settings.agreements.folder())
        self._refresher = refresher_for(settings, self._list_event)
        self._source: KafkaSource | None = None
        self._sink: RedisSink | None = None
        self._pump: Pump | None = None
        self._stopped = asyncio.Event()
        self._partitions: set[Partition] = set()

    async def run(self) -> int:
        """Until told to stop."""
        life = Life(self._settings, self._settings.sinks.redis.http_port, self._registry)
        return await life.run(self._work, self._wind_up, self._missing)

    def _wind_up(self) -> None:
        self._stopped.set()
        if self._pump is not None:
            self._pump.stop()

    async def _work(self) -> None:
        settings = self._settings
        self._agreements.start()
        await asyncio.gather(
            asyncio.to_thread(use_kernels, settings),
            asyncio.to_thread(self._refresher.load_last_good),
        )
        async with running(self._refresher.run(), "lists") as lists:
            loaded = running(self._refresher.wait_loaded(), "loading")
            async with loaded as loading, running(_set(self._stopped), "told") as told:
                await asyncio.wait({loading, lists, told}, return_when=asyncio.FIRST_COMPLETED)
                if lists.done():
                    lists.result()
                if self._stopped.is_set():
                    return
            log.info("lists are loaded: %d", len(self._refresher.current.lists))
            settle()
            async with AsyncExitStack() as stack:
                proxies = await stack.enter_async_context(Proxies(settings.proxies()))
                await self._write(proxies, lists)

    async def _write(self, proxies: Proxies, lists: "asyncio.Task[None]") -> None:
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
        source = KafkaSource(kafka, source_settings(settings, group, "earliest"), self._event)

        async def back(
            epoch: int, delivered: Mapping[Partition, int], idle: int
        ) -> Mapping[Partition, int]:
            return await sink.replay.turn(source, epoch, delivered, idle)

        self._pump = Pump(source, sink.deliver, PumpSettings(RECORDS_MAX), back)
        self._sink, self._source = sink, source
        await source.start()
        try:
            if self._stopped.is_set():
                return
            async with (
                running(sink.keep(), "keys") as keys,
                running(self._look(source), "look") as look,
                running(
                    every(settings.agreements.reload_s, self._agreements.look), "agreements"
                ) as agreements,
            ):
                await first(self._pump.run(), lists, keys, look, agreements)
        finally:
            await source.stop()

    async def _names(self) -> Names:
        """The register's; without it, ids that lead to no page until the next start."""
        redis = client(self._settings.register())
        try:
            with renamed("reading the key of ids"):
                return await names_in(redis)
        except RegisterDown as fault:
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

    def _event(self, event: Event) -> None:
        self._metrics.events.labels(event).inc()

    def _list_event(self, event: ListEvent) -> None:
        level = logging.DEBUG if event.kind in _QUIET else logging.WARNING
        if event.kind is EventKind.REGISTER_UP:
            level = logging.INFO
        extra = {"list": event.list_name} if event.list_name else {}
        log.log(level, "%s: %s", event.kind, event.detail, extra=extra)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
