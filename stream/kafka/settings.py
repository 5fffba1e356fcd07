"""Settings of connections, readers and topics, apart from the clients, which are slow to import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Annotated, Any
from urllib.parse import urlsplit

from stream.core.model.errors import KafkaAway
from stream.ops.renewed_secret import RenewedSecret, Secret
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems


@dataclass(frozen=True, slots=True)
class ServerWait:
    """Longest wait for a server that does not answer; None: for ever, as services do."""

    patience_s: float | None = None


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """An identity provider's token endpoint, and our name and secret there.

    `extensions` go to the broker with each token (RFC 7628, 3.1), as hosted brokers ask for them.
    """

    token_url: str
    client_id: str
    client_secret: Secret = field(repr=False)
    scope: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AwsIamSettings:
    """Amazon MSK, by AWS IAM: the cluster's region. The credentials are AWS' SDK's own."""

    region: str


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
    sasl_password: Secret | None = field(default=None, repr=False)
    oauth: OAuthSettings | AwsIamSettings | None = None
    patience_s: float | None = None

    def options(self, **more: Any) -> dict[str, Any]:
        """Return what every aiokafka client is made with, and `more` of one."""
        shared: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }
        if isinstance(self.sasl_password, RenewedSecret):
            from stream.kafka.aiokafka_patches import RenewedPassword

            shared["sasl_plain_password"] = RenewedPassword(self.sasl_password)
        if isinstance(self.oauth, AwsIamSettings):
            from stream.kafka.oauth_tokens import AwsIam

            shared["sasl_oauth_token_provider"] = AwsIam(self.oauth)
        elif self.oauth is not None:
            from stream.kafka.oauth_tokens import ClientCredentials

            shared["sasl_oauth_token_provider"] = ClientCredentials(self.oauth)
        # aiokafka waits 40 s for a leader that cannot be reached, whatever our own limit is.
        if self.patience_s is not None:
            shared["request_timeout_ms"] = max(1, round(self.patience_s * 1000))
        return shared | more

    def away(self, why: str) -> KafkaAway:
        """Return what to raise where `patience_s` is over; `why` is what was seen last."""
        assert self.patience_s is not None, "a wait without an end is never over"
        return KafkaAway(
            f"Kafka at {self.bootstrap_servers} does not answer within {self.patience_s:g} s "
            f"({why}): look at bootstrap_servers and security_protocol in [kafka], and at the "
            "broker's advertised.listeners; --timeout waits longer"
        )


HEARTBEAT_MS = 500
"""Calls of a worker that leaves wait until the others ask the group, and all wait for the last to
do so. With Kafka's default of 3 s that took up to 3 s. The price is 400 requests a second of 200
workers to one broker, and 0.1 % of a core in each."""
OLD_NAMES = {"lane": "fetcher", "ordinary": "aiokafka"}
"""Of the values of `calls.fetch`."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The topics that are read, as which member of a group, and how. Times are milliseconds.

    `instance_id` names this worker for static membership. With the same name after a restart it
    gets its partitions back without a rebalance; "" is dynamic membership. `leave_on_stop`: a named
    worker that stops in order gives its partitions to the others at once. `fetch`: "fetcher" reads
    whole record batches, "aiokafka" an object a record; "lane" and "ordinary" are their older
    names. `corrupt_batches`: a batch that cannot be right stops its partition or is passed over
    ("skip"); of the fetcher alone. A member that asks for no records for longer than
    `poll_interval_ms` leaves the group.
    """

    topics: Sequence[str]
    group_id: str
    instance_id: str
    start_at: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    fetch: str = "fetcher"
    corrupt_batches: str = "stop"
    leave_on_stop: bool = False
    fetch_max_wait_ms: int = 50
    poll_interval_ms: int = 300_000

    def __post_init__(self) -> None:
        if self.start_at not in ("earliest", "latest"):
            raise ValueError(f"calls.start_at is earliest or latest, not {self.start_at!r}")
        if self.fetch not in ("fetcher", "aiokafka", *OLD_NAMES):
            raise ValueError(f"calls.fetch is fetcher or aiokafka, not {self.fetch!r}")
        if self.corrupt_batches not in ("stop", "skip"):
            raise ValueError(f"calls.corrupt_batches is stop or skip, not {self.corrupt_batches!r}")
        if not 0 < self.fetch_max_wait_ms < self.session_timeout_ms:
            raise ValueError("calls.session_timeout_ms must be above the longest wait for records")
        if self.rebalance_timeout_ms < 2 * self._join_again_ms:
            raise ValueError(
                f"calls.rebalance_timeout_ms must be at least {2 * self._join_again_ms}, "
                "or no time is left to finish a batch"
            )

    @property
    def by_aiokafka(self) -> bool:
        """True if aiokafka's own fetcher is to be used."""
        return self.fetch in ("aiokafka", "ordinary")

    @property
    def heartbeat_interval_ms(self) -> int:
        """Longest time until a rebalance is noticed.

        At most a third of the session timeout, as Kafka asks for: two heartbeats may be lost.
        """
        return min(HEARTBEAT_MS, self.session_timeout_ms // 3)

    @property
    def hand_over_s(self) -> float:
        """Time that the loop has to finish its batch and commit when partitions are revoked.

        The broker counts the rebalance timeout from when another member asked for it.
        """
        return (self.rebalance_timeout_ms - self._join_again_ms) / 1000

    @property
    def _join_again_ms(self) -> int:
        """Time to learn of a rebalance and to say that we join again, on a busy machine too."""
        return 2 * min(3000, self.session_timeout_ms // 3)


REPLICAS = 3
"""Of a partition: one broker may be away for maintenance while another one dies."""


@dataclass(frozen=True, slots=True)
class TopicsSettings:
    """Names of our topics, and how those that we make are made; `more`: of sinks.

    `replication_factor` 0 is `REPLICAS` of them, or as many as there are brokers.
    """

    calls: Sequence[str]
    decisions: str
    rejected: str
    partitions: int
    replication_factor: int
    more: Sequence[str] = ()

    def replicas(self, brokers: int) -> int:
        """Return how many copies of each partition a cluster of so many brokers shall have."""
        return self.replication_factor or max(1, min(REPLICAS, brokers))

    def __post_init__(self) -> None:
        if not self.calls:
            raise ValueError("calls.topics must name at least one topic")
        if self.partitions < 1 or self.replication_factor < 0:
            raise ValueError("calls.partitions or kafka.replication_factor is too small")
        names = [*self.calls, self.decisions, self.rejected, *self.more]
        if len(set(names)) < len(names):
            raise ValueError(f"each topic needs a name of its own, not {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """Bytes of the largest value that each topic takes."""

    decision_bytes_max: int
    rejected_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRegistrySection:
    """`[schema_registry]`: address and access of a Confluent-compatible schema registry."""

    url: Annotated[str, Checked(checks.maybe(checks.web_url))]
    username: str
    ca_file: str
    cert_file: str
    key_file: str
    timeout_s: Annotated[float, Between(0.1, 300)]

    def __post_init__(self) -> None:
        found = checks.tls_files(self.ca_file, self.cert_file, self.key_file)
        if urlsplit(self.url).username or urlsplit(self.url).password:
            text = "must hold no login: username, and RINGFENCE_SCHEMA_REGISTRY_PASSWORD"
            found.append(Problem(("url",), text))
        if found:
            raise Problems(found)
