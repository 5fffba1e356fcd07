"""`ringfence sink webhooks` and `sink resend`: deliver decisions over HTTP.

Each endpoint has a consumer group of its own. What an endpoint does not take goes to the topic of
undelivered decisions; `resend` reads that topic, with a group for each endpoint too. Decisions that
are not taken then are written to the topic's end again. So nothing is lost whenever it is stopped,
and a decision may be delivered twice, with the same id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.consumer_loop import SinkLoop
from stream.edge.sinks.webhook_endpoint import Endpoint, Undelivered, UndeliveredTopic
from stream.edge.sinks.webhook_post import Post
from stream.kafka.batch import RawBatch
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.clients import connected, down
from stream.kafka.consumer import KafkaSource
from stream.kafka.topic_reader import records_in, require_topics
from stream.kafka.topics import check_topics
from stream.ops.metrics.sink_catalogue import SinkMetrics, WebhookMetrics
from stream.ops.tasks import supervised, together
from stream.services import service
from stream.services.service import DELIVERS, Service

RECORDS_MAX: Final = 200
"""Decisions of one endpoint under way: so many may come twice after a crash."""
_EVERY_KIND: Final = ("block", "flag", "allow", "simulated")


def run_webhooks(settings: Settings, environ: Mapping[str, str]) -> int:
    """Deliver until a signal; return the exit code."""
    return service.run(
        settings, lambda: WebhookSink(settings, environ).run(), process="sink-webhooks"
    )


class WebhookSink(Service):
    """All endpoints that the settings name. Raises ConfigInvalid if that is none."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._section = section = settings.sinks.webhooks
        super().__init__(settings, section.http_port, words=DELIVERS, uses=("kafka",))
        if not section.endpoints:
            text = "names no endpoint: [sinks.webhooks.endpoints.<name>] url, secret_env"
            raise ConfigInvalid((f"sinks.webhooks.endpoints: {text}",))
        self._secrets = section.secrets(environ)
        self._metrics = SinkMetrics(self.registry)
        self._webhook_metrics = WebhookMetrics(self.registry)
        for event in CallEvent:
            self._metrics.events.labels(event)
        self._sources: dict[str, KafkaSource] = {}

    async def _work(self) -> None:
        settings = self.settings
        kafka, topics = settings.kafka_client(), self._section.topics()
        names = settings.calls.names(settings.kafka.replication_factor, topics)
        await check_topics(kafka, names, 1, self._event)
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(
                UndeliveredTopic(
                    kafka, topics[0], self._event, idempotent=settings.kafka.idempotent
                )
            )
            pumps = [await self._endpoint(stack, name, kept) for name in self._section.endpoints]

            def stop() -> None:
                for pump in pumps:
                    pump.stop()

            self.ends_by(stop)
            await supervised(
                together(*(pump.run() for pump in pumps)), look=self.repeated(self._look)
            )

    async def _endpoint(self, stack: AsyncExitStack, name: str, kept: UndeliveredTopic) -> SinkLoop:
        """Return the loop of one endpoint, ready to run."""
        calls, section = self.settings.calls, self._section.endpoints[name]
        post = await stack.enter_async_context(
            Post(section, f"/ringfence/{calls.group_id}", self._secrets[name])
        )
        endpoint = Endpoint(name, section, post, kept.keep, self._webhook_metrics)
        # A new endpoint gets what is decided from now on, not the week before.
        wanted = calls.decisions_source(f"{calls.group_id}.webhook.{name}", "latest")
        source = KafkaSource(self.settings.kafka_client(), wanted, self._event)
        await source.start()
        stack.push_async_callback(source.stop)
        self._sources[name] = source
        return SinkLoop(source, endpoint.deliver, RECORDS_MAX)

    def _look(self) -> None:
        for name, source in self._sources.items():
            lags = source.lags()
            self._metrics.show_lags(name, {one.number: lag for one, lag in lags.items()})

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


@dataclass(slots=True)
class Resent:
    """Counts of one endpoint's undelivered decisions, by outcome."""

    endpoint: str
    delivered: int = 0
    not_taken: int = 0


async def resend(
    settings: Settings,
    names: Sequence[str],
    environ: Mapping[str, str],
    give_up_s: float,
    observe: Observe,
) -> list[Resent]:
    """Deliver again for the endpoints `names`, each decision for `give_up_s` at most.

    What is written to the topic meanwhile waits for the next time. Raises ConfigInvalid,
    TopicMissing, SourceDown, SinkDown, KafkaRefuses.
    """
    section, kafka = settings.sinks.webhooks, settings.kafka_client()
    secrets = section.secrets(environ)
    found = []
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(
            UndeliveredTopic(
                kafka, section.undelivered_topic, observe, idempotent=settings.kafka.idempotent
            )
        )
        for name in names:
            source = f"/ringfence/{settings.calls.group_id}"
            one, done = section.endpoints[name], Resent(name)

            async def keep(undelivered: Undelivered, done: Resent = done) -> None:
                await kept.keep(undelivered)
                done.not_taken += 1

            async with Post(one, source, secrets[name]) as post:
                # It was chosen when it was decided; what is chosen by now does not count.
                wanted = replace(one, verdicts=_EVERY_KIND, lists=(), give_up_s=give_up_s)
                endpoint = Endpoint(name, wanted, post, keep, WebhookMetrics(CollectorRegistry()))
                await _resend_all(settings, endpoint, done, observe)
            found.append(done)
    return found


async def _resend_all(
    settings: Settings, endpoint: Endpoint, done: Resent, observe: Observe
) -> None:
    """Deliver what the topic holds now for one endpoint, from its group's position."""
    kafka, topic = settings.kafka_client(), settings.sinks.webhooks.undelivered_topic

    def make() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **kafka.options(),
            group_id=f"{settings.calls.group_id}.resend.{done.endpoint}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    consumer = await connected(make, AIOKafkaConsumer.stop, kafka, observe)
    try:
        await require_topics(consumer, [topic], "`ringfence topics create` makes it")
        assigned = _Assigned()
        consumer.subscribe([topic], listener=assigned)
        partitions = await assigned.partitions  # two at once share them
        ends = await consumer.end_offsets(partitions)
        spans = {one: (await consumer.position(one), ends[one]) for one in partitions}
        async with aclosing(records_in(consumer, spans, records_max=RECORDS_MAX)) as batches:
            async for fetched in batches:
                values = [
                    record.value
                    for records in fetched.values()
                    for record in records
                    if dict(record.headers).get("endpoint") == done.endpoint.encode()
                ]
                before = done.not_taken
                none = np.zeros(len(values), np.int64)
                await endpoint.deliver(RawBatch(values, none, none, (), 0))
                done.delivered += len(values) - (done.not_taken - before)
                # After what was handled, and never after the end that was there at first.
                await consumer.commit(
                    {one: min(await consumer.position(one), ends[one]) for one in partitions}
                )
    except KafkaError as error:
        raise down(kafka, f"{topic} cannot be read", error) from error
    finally:
        await consumer.stop()


class _Assigned(ConsumerRebalanceListener):
    """Learns the partitions of the first assignment."""

    def __init__(self) -> None:
        self.partitions: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """None is, before the first are assigned."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Give the partitions to who waits for them."""
        if not self.partitions.done():
            self.partitions.set_result(sorted(assigned))
