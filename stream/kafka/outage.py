"""A Kafka that does not answer or refuses us: how long a client waits, and what it raises."""

import asyncio
from ssl import SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stream.core.model.errors import Fault, KafkaRefuses, SourceDown
from stream.kafka.settings import KafkaSettings
from stream.ops.clock import monotonic_s

_ASK_MS = 5000
_REFUSED = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
_SILENT = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError)
_BROKEN = (SSLEOFError, SSLZeroReturnError, SSLSyscallError)
"""What TLS says of a broker that goes away in the middle of a handshake."""


class Patience:
    """One wait for Kafka: it ends where `patience_s` pass in which nothing came."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._since_s = monotonic_s()

    def came(self) -> None:
        """Something did: the time begins anew."""
        self._since_s = monotonic_s()

    @property
    def left_s(self) -> float | None:
        """Seconds until it is over; None: never."""
        most_s = self._kafka.patience_s
        return None if most_s is None else max(0.0, most_s - (monotonic_s() - self._since_s))

    def check(self, why: str = "nothing comes") -> None:
        """Raise KafkaAway if it is over."""
        if self.left_s == 0.0:
            raise self._kafka.away(why)


def down(kafka: KafkaSettings, doing: str, error: KafkaError) -> Fault:
    """What to raise for an error of a client: KafkaAway for who waits so long and no longer."""
    # A bare KafkaError is what aiokafka raises when no broker that it knows gave it metadata.
    silent = error.retriable or isinstance(error, _SILENT) or type(error) is KafkaError
    if kafka.patience_s is not None and silent:
        return kafka.away(f"{doing}: {error!r}")
    return SourceDown(f"{doing}: {error!r}")


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
    """Connect once more to each address: aiokafka's clients tell why they cannot in a log alone.

    Returns where it is an outage, at once if one address lets us in. Raises KafkaRefuses.
    """
    options = kafka.options(request_timeout_ms=_ASK_MS)
    refusal = None
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            opened: Any = await create_conn(host, port, **options)
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
