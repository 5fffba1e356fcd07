"""Kafka and its schema registry: are they there, are topics as they should be, what may we do?

Our principal's right to write is tested with a batch whose checksum is wrong. A broker checks
rights first and the batch then. So it refuses the batch for one reason or the other, and keeps
nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream.calls.dialects.dialect import NoCall
from stream.calls.encodings.registry import RegistryDialect
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.core.model.schemas import RegistryDown, SchemaUnknown
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.kafka.broker_versions import LEAST, lacking, named, request_versions
from stream.kafka.clients import ask_why, granting, listens
from stream.kafka.topics import TopicReport, TopicState, ensure_topics

ANSWER_MS = 5000
"""Of one request: a slower broker is in trouble. Each check has its own limit too."""
_CRC = slice(17, 21)
"""The checksum's place in a record batch of format 2."""
_REGISTRY = "schema registry"
_REGISTRY_FIX = "[schema_registry] url, username and RINGFENCE_SCHEMA_REGISTRY_PASSWORD"


async def check_kafka(settings: Settings) -> list[CheckLine]:
    """Check Kafka; one line if it does not answer."""
    kafka, where = settings.kafka_client(), settings.kafka.bootstrap_servers
    if not await listens(kafka):
        fix = "start it, or [kafka] bootstrap_servers"
        return [fail("kafka", f"nobody listens at {where}", fix)]
    try:
        await ask_why(kafka)
    except Fault as fault:
        return [fail("kafka", str(fault), "ringfence check-config")]
    options = kafka.options(request_timeout_ms=ANSWER_MS)
    client, admin = AIOKafkaClient(**options), AIOKafkaAdminClient(**options)
    try:
        await client.bootstrap()
        count = len(client.cluster.brokers())
        found = await request_versions(kafka)
        lines = [ok("kafka", f"{count} brokers at {where}, like Kafka {named(found)}")]
        if lacks := lacking(found):
            lines.append(fail("kafka", lacks, f"upgrade the brokers to {LEAST} or newer"))
            return lines
        more = settings.sinks.webhooks.topics()
        names = settings.calls.names(settings.kafka.replication_factor, more)
        reports = await ensure_topics(kafka, names, lambda _: None, create=False)
        lines += topic_lines(reports)
        there = [one.name for one in reports if one.done is TopicState.KEPT]
        await admin.start()
        described = await admin.describe_topics([*there]) if there else []
        lines += replica_lines(described, names.replicas(count))
        return lines + await _rights(settings, client, there)
    except (KafkaError, Fault) as error:
        return [fail("kafka", f"it answers and then fails: {error!r}", "the broker's own log")]
    finally:
        await admin.close()
        await client.close()


def topic_lines(reports: Sequence[TopicReport]) -> Iterator[CheckLine]:
    """Compare topics with the configuration."""
    for one in reports:
        name = f"topic {one.name}"
        if one.done is TopicState.MISSING:
            said = "is not there, or our user lacks the right Describe"
            yield fail(name, said, "ringfence topics create")
        elif one.differences:
            fix = "kafka-configs.sh --alter, or the setting: ringfence topics list"
            yield warn(name, "; ".join(one.differences), fix)
        else:
            yield ok(name, "partitions and retention as the configuration wants")


def replica_lines(described: Sequence[Any], wanted: int) -> Iterator[CheckLine]:
    """Check that each topic's partitions have `wanted` copies, all up to date."""
    for topic in described:
        name, partitions = f"topic {topic['topic']}", topic["partitions"]
        headless = [one["partition"] for one in partitions if one["leader"] < 0]
        behind = [one["partition"] for one in partitions if len(one["isr"]) < len(one["replicas"])]
        least = min((len(one["replicas"]) for one in partitions), default=0)
        if headless:
            yield fail(name, f"partitions {headless} have no leader", "start the missing brokers")
        elif behind:
            yield warn(name, f"partitions {behind} lack replicas", "start the missing brokers")
        elif least < wanted:
            fix = "kafka-reassign-partitions.sh, or [kafka] replication_factor"
            yield warn(name, f"{least} replicas, {wanted} wanted", fix)


async def _rights(settings: Settings, client: Any, topics: Sequence[str]) -> list[CheckLine]:
    """Try our principal's rights on each topic, group and id, without leaving anything."""
    calls = settings.calls
    group, ids = calls.group_id, f"{calls.group_id}.*"
    lines = [await _on_topic(client, one, writes=one not in calls.topics) for one in topics]
    # As JoinGroup, it needs Read. A question for positions needs Describe only.
    asked: Any = HeartbeatRequest(group, -1, "doctor")
    fix = granting("Read", "group", group)
    lines.append(await _of_coordinator(client, group, asked, f"read in group {group}", fix))
    if calls.delivery == "exactly_once":
        name = f"{group}.{calls.instance_id or 'doctor'}"
        asked = EndTxnRequest(name, -1, -1, False)
        fix = granting("Write", "transactional-id", ids)
        lines.append(await _of_coordinator(client, name, asked, f"write transactions {ids}", fix))
    return lines


def right(doing: str, error: type[BaseException] | None, fix: str) -> CheckLine:
    """Return a right that we have, or not."""
    if error is None:
        return ok("kafka rights", f"may {doing}")
    return fail("kafka rights", f"may not {doing}: {error.__name__}", fix)


async def _on_topic(client: Any, topic: str, *, writes: bool) -> CheckLine:
    """Try to write a topic, or to read it."""
    await client.force_metadata_update()
    leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
    if leader is None:
        return warn("kafka rights", f"{topic} has no leader: not tried", "start the brokers")
    # Not DescribeAcls: it needs rights that our user should not have (decision 0116).
    request: Any = FetchRequest(0, 0, 1, 0, [(topic, [(0, 0, 1)])])
    if writes:
        request = ProduceRequest(None, -1, ANSWER_MS, [(topic, [(0, damaged_batch())])])
    answer: Any = await client.send(leader, request)
    error = for_code(answer.topics[0][1][0][1])
    refused = error if error is TopicAuthorizationFailedError else None
    doing = "write" if writes else "read"
    return right(f"{doing} {topic}", refused, granting(doing.title(), "topic", topic))


async def _of_coordinator(client: Any, name: str, asked: Any, doing: str, fix: str) -> CheckLine:
    """Ask the coordinator of `name` for what it never does: it checks rights first."""
    of = CoordinationType.GROUP
    if isinstance(asked, EndTxnRequest):
        of = CoordinationType.TRANSACTION
    try:
        node = await client.coordinator_lookup(of, name)
        answer = await client.send(node, asked, group=ConnectionGroup.COORDINATION)
        error: Any = for_code(answer.error_code)
    except KafkaError as raised:
        error = type(raised)
    if error in (GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed):
        return right(doing, error, fix)
    if error.retriable:  # a new cluster makes its topic of groups when first asked
        said = f"whether we may {doing} cannot be asked yet: {error.__name__}"
        return warn("kafka rights", said, "ringfence doctor, again in a minute")
    return right(doing, None, fix)


def damaged_batch() -> bytes:
    """Return a batch of one record whose checksum is wrong: no broker keeps it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1024,
    )
    builder.append(0, timestamp=0, key=None, value=b"doctor", headers=[])
    batch = bytearray(builder.build())
    batch[_CRC] = bytes(byte ^ 0xFF for byte in batch[_CRC])
    return bytes(batch)


def check_registry(settings: Settings) -> Iterator[CheckLine]:
    """Ask for the newest schema of each topic that has one; no line without a registry. Blocks."""
    registry = settings.schemas()
    if registry is None:
        return
    for topic, name in settings.calls.topics.items():
        dialect = settings.dialect(name)
        if not isinstance(dialect, RegistryDialect):
            continue
        subject = f"{topic}-value"
        try:
            number = registry.newest(subject)
            dialect.decoder(number)
        except RegistryDown as down:
            # Of one that is away each further question takes its whole time.
            yield fail(_REGISTRY, str(down), _REGISTRY_FIX)
            return
        except SchemaUnknown:
            said = f"{settings.schema_registry.url} answers, and has no subject {subject}"
            yield warn(_REGISTRY, said, "none is needed if the producer names subjects otherwise")
        except NoCall as wrong:
            yield fail(
                _REGISTRY, f"{subject}: {wrong.detail}", "correct the schema in the registry"
            )
        else:
            kind = registry.schema(number).kind
            yield ok(_REGISTRY, f"{subject}: schema {number} ({kind}) can be used")
