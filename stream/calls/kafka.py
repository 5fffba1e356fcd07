"""How Kafka is reached: settings shared by all clients, and the patience to wait for a broker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.calls.events import Event, Observe

log = logging.getLogger(__name__)

WAIT_S_MIN = 0.5
WAIT_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One cluster and how we show ourselves to it. `ssl` is made from files by the composition."""

    bootstrap_servers: str
    client_id: str
    security_protocol: str = "PLAINTEXT"
    ssl: SSLContext | None = None
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """What every aiokafka client is made with."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


async def connected(
    make: Callable[[], Any], close: Callable[[Any], Awaitable[None]], where: str, observe: Observe
) -> Any:
    """A started aiokafka client, as soon as a broker answers; says each time that none does.

    The clients are untyped, therefore Any. Raises KafkaError for what waiting does not heal.
    """
    wait_s = WAIT_S_MIN
    while True:
        client = make()
        try:
            await client.start()
        except KafkaError as error:
            await close(client)
            if not isinstance(error, KafkaConnectionError) and not error.retriable:
                raise
            log.warning(
                "Kafka at %s does not answer (%r), next try in %.1f s", where, error, wait_s
            )
            observe(Event.KAFKA_AWAITED)
        except BaseException:
            await close(client)
            raise
        else:
            return client
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        wait_s = min(wait_s * 2, WAIT_S_MAX)
