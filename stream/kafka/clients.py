"""Clients of Kafka: make one, wait for a broker that is away, and say why one refuses us."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
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
from stream.kafka.aiokafka_patches import pace_metadata, read_group_errors
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.settings import AwsIamSettings, KafkaSettings
from stream.ops.clock import monotonic_s

log = logging.getLogger(__name__)

WAIT_S_MIN, WAIT_S_MAX = 0.5, 10.0
"""Between two tries to connect: soon at first, and a cluster that comes up is not flooded."""
_LISTENS_S = 3.0
"""A host that drops packets answers nothing at all; `doctor` waits so long for each address."""
_COORDINATOR_S = 0.1
"""Kafka makes its topic of positions in about half a second, once."""
_ASK_MS = 5000
"""Time-out of the question for the reason: the broker refused a moment ago, so it answers soon."""
_REFUSED = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
_SILENT = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError)
"""Errors of a broker that is away. aiokafka marks not all of them as retriable."""
_BROKEN = (SSLEOFError, SSLZeroReturnError, SSLSyscallError)
"""TLS errors of a broker that goes away in the middle of a handshake: an outage, no refusal."""


class Patience:
    """One wait for Kafka: it ends where `patience_s` pass in which nothing came."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._since_s = monotonic_s()

    def came(self) -> None:
        """Start the time again: something came."""
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
    """Return the fault for an error of a client: KafkaAway where a patience was set."""
    # A bare KafkaError is what aiokafka raises when no broker that it knows gave it metadata.
    silent = error.retriable or isinstance(error, _SILENT) or type(error) is KafkaError
    if kafka.patience_s is not None and silent:
        return kafka.away(f"{doing}: {error!r}")
    return SourceDown(f"{doing}: {error!r}")


async def listens(kafka: KafkaSettings) -> bool:
    """Return whether a server listens at one of the addresses; asked without a client.

    aiokafka's clients try for long and log errors, which a check does not want.
    """
    for host, port, _ in collect_hosts(kafka.bootstrap_servers):
        try:
            async with asyncio.timeout(_LISTENS_S):
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
            refusal = refusal or _refusal(kafka, error)
        else:
            opened.close()
            return
    if refusal is not None:
        raise KafkaRefuses(f"Kafka at {kafka.bootstrap_servers}: {refusal}")


def _refusal(kafka: KafkaSettings, error: BaseException) -> str | None:
    """Return what an operator has to correct; None: it passes by itself."""
    if isinstance(error, _REFUSED):
        keys = "sasl_mechanism, sasl_username and RINGFENCE_KAFKA_PASSWORD"
        if isinstance(kafka.oauth, AwsIamSettings):
            keys = "oauth_aws_region, and the policy of our role (kafka-cluster:Connect)"
        return f"it refuses us ({error}); look at {keys}"
    # aiokafka wraps what TLS raised into a KafkaConnectionError.
    cause = error if isinstance(error, SSLError) else error.__cause__
    if isinstance(cause, SSLError) and not isinstance(cause, _BROKEN):
        keys = "security_protocol, ca_file, cert_file and key_file"
        return f"TLS fails ({cause}); look at {keys}"
    return None


def onlooker(kafka: KafkaSettings, **more: Any) -> AIOKafkaConsumer:
    """Return a consumer in no group, of committed records, oldest first: it moves no position."""
    return AIOKafkaConsumer(
        **kafka.options(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **more,
    )


async def subscribed(consumer: Any, topics: Sequence[str], kafka: KafkaSettings) -> None:
    """Give an onlooker all partitions of the topics, as soon as their leaders are known."""
    patience = Patience(kafka)
    consumer.subscribe(list(topics))
    # Without a group nothing announces the assignment: it is there once the metadata have come.
    while not consumer.assignment():
        patience.check("no leader of a partition is known")
        await consumer.getmany(timeout_ms=20)


async def group_positions(admin: Any, group: str) -> dict[TopicPartition, int]:
    """Return what a consumer group committed, by partition; nothing where it never did.

    On a new cluster the first question has Kafka make its topic of positions. The answer is that no
    coordinator is there. So this asks until one is: bound it by a time-out. Raises KafkaError.
    """
    while True:
        try:
            held = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(_COORDINATOR_S)
        else:
            return {place: one.offset for place, one in held.items()}


def _is_passing(error: KafkaError | AssertionError) -> bool:
    """Return whether waiting may heal what a client says at its start."""
    if isinstance(error, AssertionError):
        # aiokafka's, of metadata that name no broker: one that has just started, or of which its
        # controller has not heard from in time, answers so for a moment.
        return "bootstrap" in str(error)
    return isinstance(error, KafkaConnectionError) or error.retriable


def _check_brokers(client: Any) -> None:
    """Raise NodeNotReadyError where an admin client started with metadata that name no broker.

    Other clients see it themselves. This one would have no broker to ask for five minutes.
    """
    if isinstance(client, AIOKafkaAdminClient):
        cluster = client._client.cluster  # noqa: SLF001 - nothing public has it
        if not cluster.brokers():
            raise NodeNotReadyError("no broker is known yet")


async def connected(
    make: Callable[[], Any],
    close: Callable[[Any], Awaitable[None]],
    kafka: KafkaSettings,
    observe: Observe,
) -> Any:
    """Connect: return a started aiokafka client as soon as a broker answers; log each failure.

    The clients are untyped, therefore Any. Raises KafkaError for what waiting does not heal,
    KafkaRefuses if a broker refuses certificate or password, KafkaAway once the settings' patience
    is over.
    """
    where, patience = kafka.bootstrap_servers, Patience(kafka)
    wait_s, seen = WAIT_S_MIN, "a connection is taken, and nothing comes of it"
    failed = False
    while True:
        client = make()
        try:
            async with asyncio.timeout(patience.left_s) as limit:
                await client.start()
            _check_brokers(client)
        except TimeoutError as error:
            await close(client)
            # Only our own limit means "away"; a time-out from within the client is an error of it.
            if not limit.expired():
                raise
            raise kafka.away(seen) from error
        except (KafkaError, AssertionError) as error:
            await close(client)
            if not _is_passing(error):
                raise
            # A wrong password looks like an outage here, and would be tried for ever.
            await ask_why(kafka)
            failed, seen = True, repr(error)
            patience.check(seen)
            log.warning(
                "Kafka at %s does not answer (%r), next try in %.1f s", where, error, wait_s
            )
            observe(CallEvent.KAFKA_AWAITED)
        except BaseException:
            # Cancelled in mid-start: an aiokafka client that is not closed keeps sockets and tasks.
            await close(client)
            raise
        else:
            if isinstance(client, AIOKafkaConsumer):
                pace_metadata(client)
                read_group_errors(client, troubled=failed)
            return client
        left_s = patience.left_s
        wait_s = wait_s if left_s is None else min(wait_s, left_s)
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        wait_s = min(wait_s * 2, WAIT_S_MAX)
