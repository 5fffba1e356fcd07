"""Clients of Kafka: make one, wait for a broker that is away, and say why one refuses us."""

import asyncio
import logging
import random
from asyncio import IncompleteReadError
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest

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
_TLS_ALERT = 0x1503
"""Type and version that a TLS alert begins with (RFC 8446, 5.1), read as the size of an answer."""
_UNCONNECTED = (OSError, KafkaError, TimeoutError)
_REFUSED = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
_SILENT = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError)
"""Errors of a broker that is away. aiokafka marks not all of them as retriable."""
_BROKEN = (SSLEOFError, SSLZeroReturnError, SSLSyscallError)
"""TLS errors of a broker that goes away in the middle of a handshake: an outage, no refusal."""

_RIGHT_OF: Final[dict[type[BaseException], str]] = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional-id",
}
"""Options of kafka-acls.sh, which name what an error is about."""
_RIGHT_TO: Final = {"group": "Read", "transactional-id": "Write"}
"""The one right that we need of these."""


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


def granting(may: str, of: str, name: str) -> str:
    """Return the command that gives the right `may`; a name that ends in `*` is a prefix."""
    pattern = " --resource-pattern-type prefixed" if name.endswith("*") else ""
    allowed = f"--allow-principal User:<ours> --operation {may} --{of} {name.removesuffix('*')}"
    return f"kafka-acls.sh --add {allowed}{pattern}"


def described(error: BaseException, may: str, ids: str = "") -> str:
    """Return the text of an error; of a missing right, which one, and the command that gives it.

    `may` is what was tried with a topic: Read or Write. `ids` is the prefix of our transactional
    ids, of which each start of a worker may have a new one.
    """
    of = _RIGHT_OF.get(type(error))
    if of is None or not error.args:
        return repr(error)
    about = error.args[0]
    name = about if isinstance(about, str) else ",".join(sorted(about))
    may = _RIGHT_TO.get(of, may)
    fix = granting(may, of, f"{ids}*" if of == "transactional-id" and ids else name)
    return f"our user lacks the right {may} on {of} {name}: {fix}"


def down(kafka: KafkaSettings, doing: str, error: KafkaError, may: str = "Read") -> Fault:
    """Return the fault for an error of a client: KafkaAway where a patience was set.

    `may` is the right that it needs.
    """
    # A bare KafkaError is what aiokafka raises when no broker that it knows gave it metadata.
    silent = error.retriable or isinstance(error, _SILENT) or type(error) is KafkaError
    if kafka.patience_s is not None and silent:
        return kafka.away(f"{doing}: {error!r}")
    return SourceDown(f"{doing}: {described(error, may)}")


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
        except _UNCONNECTED as error:
            why = _refusal(kafka, error)
            if why is None and kafka.security_protocol.endswith("SSL"):
                why = await _without_tls(kafka, host, port)
            refusal = refusal or why
        else:
            try:
                why = await _wants_name(kafka, opened)
            finally:
                opened.close()
            if why is None:
                return
            refusal = refusal or why
    if refusal is not None:
        raise KafkaRefuses(f"Kafka at {kafka.bootstrap_servers}: {refusal}")


def _refusal(kafka: KafkaSettings, error: BaseException) -> str | None:
    """Return what an operator has to correct; None: it passes by itself."""
    protocol = kafka.security_protocol
    if isinstance(error, IllegalSaslStateError):
        other = protocol.removeprefix("SASL_")
        return f"this port takes no name, and security_protocol is {protocol}: write {other}"
    cut = error.__cause__
    if isinstance(cut, IncompleteReadError) and (cut.expected or 0) >> 16 == _TLS_ALERT:
        other = protocol.replace("PLAINTEXT", "SSL")
        return f"this port speaks TLS, and security_protocol is {protocol}: write {other}"
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


async def _without_tls(kafka: KafkaSettings, host: str, port: int) -> str | None:
    """Return what to correct where a broker answers without TLS, which it was asked for."""
    try:
        opened: Any = await create_conn(host, port, request_timeout_ms=_ASK_MS)
    except _UNCONNECTED:
        return None
    opened.close()
    protocol = kafka.security_protocol
    other = protocol.replace("SSL", "PLAINTEXT")
    return (
        f"this port has no TLS, and security_protocol is {protocol}: take the broker's port with "
        f"TLS, or write {other}"
    )


async def _wants_name(kafka: KafkaSettings, opened: Any) -> str | None:
    """Return what to correct where a connection without a name is one that needs a name.

    There a broker answers the question for its versions, and closes the connection at any other.
    """
    protocol, known = kafka.security_protocol, opened._versions  # noqa: SLF001 - nothing public
    if protocol.startswith("SASL") or SaslHandShakeRequest.API_KEY not in known:
        return None
    try:
        answer = await opened.send(SaslHandShakeRequest(""))
    except _UNCONNECTED:
        return None
    if answer.error_code == IllegalSaslStateError.errno:
        return None
    other, ways = f"SASL_{protocol}", ", ".join(answer.enabled_mechanisms)
    return f"this port wants a name ({ways}), and security_protocol is {protocol}: write {other}"


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
