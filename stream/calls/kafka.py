"""How Kafka is reached: settings shared by all clients, and the patience to wait for a broker."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext, SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stream.calls.events import Event, Observe
from stream.core.faults import KafkaRefuses

log = logging.getLogger(__name__)

WAIT_S_MIN = 0.5
WAIT_S_MAX = 10.0
_ASK_MS = 5000
_REFUSED = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
_BROKEN = (SSLEOFError, SSLZeroReturnError, SSLSyscallError)
"""What TLS says of a broker that goes away in the middle of a handshake."""


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
    make: Callable[[], Any],
    close: Callable[[Any], Awaitable[None]],
    kafka: KafkaSettings,
    observe: Observe,
) -> Any:
    """A started aiokafka client, as soon as a broker answers; says each time that none does.

    The clients are untyped, therefore Any. Raises KafkaError for what waiting does not heal,
    KafkaRefuses where a broker is there and certificate or password do not fit.
    """
    where = kafka.bootstrap_servers
    wait_s = WAIT_S_MIN
    while True:
        client = make()
        try:
            await client.start()
        except KafkaError as error:
            await close(client)
            if not isinstance(error, KafkaConnectionError) and not error.retriable:
                raise
            await _ask_why(kafka)
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


async def _ask_why(kafka: KafkaSettings) -> None:
    """Connect once more to each address: aiokafka's clients tell why they can not in a log alone.

    Returns where it is an outage, at once if one address lets us in. Raises KafkaRefuses.
    """
    options = kafka.options()
    refusal = None
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            opened: Any = await create_conn(host, port, request_timeout_ms=_ASK_MS, **options)
        except (OSError, KafkaError, TimeoutError) as error:
            refusal = refusal or _refusal(error)
        else:
            opened.close()
            return
    if refusal is not None:
        raise KafkaRefuses(f"Kafka at {kafka.bootstrap_servers}: {refusal}")


def _refusal(error: BaseException) -> str | None:
    """What an operator has to mend, None for what mends itself."""
    if isinstance(error, _REFUSED):
        keys = "sasl_mechanism, sasl_username and RINGFENCE_KAFKA_PASSWORD"
        return f"it refuses us ({error}); look at {keys}"
    cause = error if isinstance(error, SSLError) else error.__cause__
    if isinstance(cause, SSLError) and not isinstance(cause, _BROKEN):
        keys = "security_protocol, ca_file, cert_file and key_file"
        return f"TLS fails ({cause}); look at {keys}"
    return None
