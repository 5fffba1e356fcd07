"""How Kafka is reached: settings shared by all clients, and why one is not let in."""

import asyncio
from dataclasses import dataclass, field
from ssl import SSLContext, SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stream.core.faults import KafkaRefuses

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


async def listens(kafka: KafkaSettings, wait_s: float = 3.0) -> bool:
    """Whether anybody listens at one of the addresses at least; asked without a client.

    aiokafka tries for long and logs errors, which whoever only looks does not want.
    """
    for host, port, _ in collect_hosts(kafka.bootstrap_servers):
        try:
            async with asyncio.timeout(wait_s):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            continue
        writer.close()
        return True
    return False


async def ask_why(kafka: KafkaSettings) -> None:
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
