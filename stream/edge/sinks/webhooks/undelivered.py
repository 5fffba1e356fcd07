"""The topic of undelivered decisions: what an endpoint did not take, and why."""

from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.core.model.errors import SinkDown
from stream.edge.sinks.webhooks.endpoint import Undelivered
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected
from stream.kafka.settings import KafkaSettings


class Kept:
    """Writes that topic. Use `async with`; each method may raise SinkDown."""

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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._producer.stop()

    async def keep(self, one: Undelivered) -> None:
        """The decision as it was, with who did not take it and why in its headers."""
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
            raise SinkDown(f"{self._topic} takes nothing: {error!r}") from error
