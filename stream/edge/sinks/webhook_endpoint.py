"""Deliver events to one endpoint, or give them up and keep them.

An endpoint has a consumer group, a connection pool and waits of its own, so its trouble delays no
other. A failed event is sent again with growing waits, not before the time that Retry-After names.
It goes to the topic of undelivered decisions after `give_up_s`, which comes before a later
Retry-After; after `REFUSALS_MAX` refusals; or after `TRIES_MAX` tries while others go through.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.core.model.errors import SinkDown
from stream.edge.sinks.cloud_event import CloudEvent, read_event
from stream.edge.sinks.settings import EndpointSection
from stream.edge.sinks.webhook_post import DeliveryResult, DeliveryTry, Post
from stream.kafka.batch import RawBatch
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected, described
from stream.kafka.settings import KafkaSettings
from stream.ops.clock import monotonic_s
from stream.ops.metrics.sink_catalogue import WebhookMetrics
from stream.ops.retry import Backoff
from stream.ops.tasks import together

log = logging.getLogger(__name__)

TRIES_MAX = 8
"""Of an event that fails while others of its endpoint are taken: about a minute."""
REFUSALS_MAX = 3
"""A receiver that refuses an event refuses it again; more tries would delay the next ones."""
_REFUSALS = (DeliveryResult.REFUSED, DeliveryResult.REDIRECTED)
_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 300.0


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An event that was given up."""

    endpoint: str
    event: CloudEvent
    last: DeliveryTry
    tries: int


class Endpoint:
    """One endpoint."""

    def __init__(
        self,
        name: str,
        settings: EndpointSection,
        post: Post,
        give_up: Callable[[Undelivered], Awaitable[None]],
        metrics: WebhookMetrics,
    ) -> None:
        """`give_up` stores an event; an error that it raises ends `deliver`."""
        self._name = name
        self._settings = settings
        self._lists = frozenset(settings.lists)
        self._post = post
        self._give_up = give_up
        self._metrics = metrics
        self._places = asyncio.Semaphore(settings.parallel)
        self._not_before_s = 0.0
        self._told_to_wait = DeliveryTry(DeliveryResult.BUSY)
        """The last answer that asked to wait, of any event: it moved `_not_before_s`."""
        self._delivered_s = float("-inf")
        self._failing = False

    async def deliver(self, raw: RawBatch) -> None:
        """Return once each decision was delivered, filtered out, or given up."""
        events = []
        for value in raw.values:
            event = read_event(value)
            if event is None:
                self._count("unreadable")
            elif self._wants(event):
                events.append(event)
            else:
                self._count("filtered")
        if events:
            await together(*map(self._in_turn, events))

    async def _in_turn(self, event: CloudEvent) -> None:
        async with self._places:
            await self._one(event)

    def _wants(self, event: CloudEvent) -> bool:
        right_list = not self._lists or bool(self._lists & event.lists)
        return right_list and event.kind in self._settings.verdicts

    async def _one(self, event: CloudEvent) -> None:
        backoff = Backoff(_FIRST_WAIT_S, _MOST_WAIT_S)
        began_s = monotonic_s()
        until_s = began_s + self._settings.give_up_s
        tries = refusals = 0
        tried = self._told_to_wait
        while await self._open(until_s):
            tried = await self._post.send(event)
            tries += 1
            self._metrics.tries.labels(self._name, tried.result).inc()
            self._tell(tried)
            if tried.result is DeliveryResult.DELIVERED:
                self._delivered_s = monotonic_s()
                self._count("delivered")
                return
            if tried.wait_s is not None:
                # Retry-After holds for the whole endpoint. The jitter spreads the first requests.
                longer = random.uniform(1.0, 1.2)  # noqa: S311 - jitter, no secret
                self._not_before_s = max(self._not_before_s, monotonic_s() + tried.wait_s * longer)
                self._told_to_wait = tried
            refusals += tried.result in _REFUSALS
            alone = tries >= TRIES_MAX and self._delivered_s > began_s
            if monotonic_s() >= until_s or refusals >= REFUSALS_MAX or alone:
                break
            left_s = max(until_s - monotonic_s(), 0.0)
            await asyncio.sleep(min(backoff.next_s(), left_s))
        await self._give_up(Undelivered(self._name, event, tried, tries))
        self._count("given_up")

    async def _open(self, until_s: float) -> bool:
        """Wait for the time that the endpoint asked for, which may move; False: past `until_s`."""
        wait_s = min(self._not_before_s, until_s) - monotonic_s()
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = min(self._not_before_s, until_s) - monotonic_s()
        return self._not_before_s <= monotonic_s()

    def _tell(self, tried: DeliveryTry) -> None:
        """Log once that the endpoint fails, and once that it works again."""
        name, fails = self._name, tried.result is not DeliveryResult.DELIVERED
        if fails and not self._failing:
            log.warning("webhook %s: %s (status %d): tried again", name, tried.result, tried.status)
        elif self._failing and not fails:
            log.info("webhook %s: recovered", name)
        self._failing = fails
        self._metrics.failing.labels(name).set(fails)

    def _count(self, outcome: str) -> None:
        self._metrics.events.labels(self._name, outcome).inc()


class UndeliveredTopic:
    """The topic of undelivered decisions. Use `async with`; each method may raise SinkDown."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, observe: Observe, *, idempotent: bool
    ) -> None:
        self._kafka, self._topic, self._observe = kafka, topic, observe
        self._idempotent = idempotent
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        def make() -> AIOKafkaProducer:
            return AIOKafkaProducer(
                **self._kafka.options(), acks="all", enable_idempotence=self._idempotent
            )

        try:
            self._producer = await connected(
                make, AIOKafkaProducer.stop, self._kafka, self._observe
            )
        except KafkaError as error:
            raise SinkDown(f"Kafka at {self._kafka.bootstrap_servers}: {error!r}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def keep(self, one: Undelivered) -> None:
        """Write the decision as it was, with endpoint, reason and status in its headers."""
        headers = [
            ("ce_id", one.event.id.encode()),
            ("endpoint", one.endpoint.encode()),
            ("reason", one.last.result.encode()),
            ("status", str(one.last.status).encode()),
            ("tries", str(one.tries).encode()),
        ]
        try:
            await self._producer.send_and_wait(
                self._topic, one.event.body, key=one.event.number.encode() or None, headers=headers
            )
        except KafkaError as error:
            raise SinkDown(f"{self._topic} takes nothing: {described(error, 'Write')}") from error
