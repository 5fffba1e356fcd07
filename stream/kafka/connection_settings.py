"""How Kafka is reached: settings shared by all clients, and why one is not let in."""

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from stream.core.model.errors import KafkaAway


@dataclass(frozen=True, slots=True)
class Asking:
    """How long whoever asks waits for a server that says nothing; None: for ever, as services."""

    patience_s: float | None = None


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One cluster and how we show ourselves to it. `ssl` is made from files by the composition.

    `patience_s` is how long a wait for it may last in which nothing comes; None: for ever.
    """

    bootstrap_servers: str
    client_id: str
    security_protocol: str = "PLAINTEXT"
    ssl: SSLContext | None = None
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    patience_s: float | None = None

    def options(self, **more: Any) -> dict[str, Any]:
        """What every aiokafka client is made with, and `more` of one."""
        shared: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }
        if self.patience_s is not None:  # a leader that cannot be reached is no reason to wait
            shared["request_timeout_ms"] = max(1, round(self.patience_s * 1000))
        return shared | more

    def away(self, why: str) -> KafkaAway:
        """What to raise where `patience_s` is over; `why` is what was seen last."""
        assert self.patience_s is not None, "who waits for ever is never told"
        return KafkaAway(
            f"Kafka at {self.bootstrap_servers} does not answer within {self.patience_s:g} s "
            f"({why}): look at bootstrap_servers and security_protocol in [kafka], and at the "
            "broker's advertised.listeners; --timeout waits longer"
        )
