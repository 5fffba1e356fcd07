"""What was decided in fact about a number: its last records in the decisions topic."""

import asyncio
from typing import Any

from aiokafka.errors import KafkaError

from stream.config.settings import Settings
from stream.core.model.errors import Fault, SourceDown
from stream.kafka.call_events import Event
from stream.kafka.decision_history import Found, about
from stream.kafka.outage import listens
from stream.kafka.topic_reader import reader

LOOK_BACK = 200_000
"""Records of the number's partition that are looked through, about a second's work."""
ASK_S_MAX = 15.0


async def decided(
    settings: Settings, topic: str, number: str, at_ms: int | None, limit: int
) -> tuple[list[Found], dict[str, Any]]:
    """The last `limit` records about `number` in `topic`, up to a moment; and how far was looked.

    Kafka's absence is told in `why`, at once where nobody is there, after `ASK_S_MAX` at most.
    """
    said = {"why": "", "looked_back": LOOK_BACK, "whole": False}
    where = settings.kafka.bootstrap_servers

    def waiting(event: Event) -> None:
        if event is Event.KAFKA_AWAITED:
            # The first try is enough: whoever asks is waiting for an answer.
            raise SourceDown(f"Kafka at {where} does not answer")

    if not await listens(settings.kafka_client()):
        return [], said | {"why": f"{topic} cannot be read: Kafka at {where} does not answer"}
    try:
        async with asyncio.timeout(ASK_S_MAX):
            async with reader(settings.kafka_client(), [topic], waiting) as consumer:
                found, whole = await about(consumer, topic, number, limit, LOOK_BACK, at_ms)
    except TimeoutError:
        return [], said | {"why": f"Kafka at {where} takes too long"}
    except (Fault, KafkaError) as error:
        return [], said | {"why": f"{topic} cannot be read: {error}"}
    return found, said | {"why": "", "whole": whole}
