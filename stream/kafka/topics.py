"""Our topics: made by `ringfence topics create`, looked at when a worker starts."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream.core.model.errors import SourceDown, TopicMissing
from stream.kafka.broker_versions import check_version
from stream.kafka.call_events import Observe
from stream.kafka.clients import connected, down
from stream.kafka.settings import REPLICAS, KafkaSettings, TopicLimits, TopicsSettings

DAY_MS = 86_400_000
REJECTED_BYTES_MAX = 16 * 1024 * 1024
"""Largest record on the rejected topic: a switch's largest mistake should fit whole."""
MESSAGE_BYTES_DEFAULT = 1_048_588
"""Kafka's own `max.message.bytes`, for when a topic's may not be read."""
_LOOKS_S = (0.2, 0.5, 1.0)
_LOOKS_CREATED_S = (0.2, *(0.5,) * 60)
"""Pauses, in seconds: a loaded broker took more than two to know a topic that was created."""
_BATCH_OVERHEAD = 4096
"""`max.message.bytes` counts the batch around a record and our headers too."""


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it should be."""

    name: str
    partitions: int
    configs: Mapping[str, str] = field(default_factory=dict)


class TopicState(StrEnum):
    """The state of one topic."""

    CREATED = "created"
    KEPT = "kept"
    MISSING = "missing"
    """It is not there, and was only looked for."""


@dataclass(frozen=True, slots=True)
class TopicReport:
    """The state of one topic, and its differences from what is wanted.

    An existing topic is never altered. More partitions would move numbers between them, and an
    operator's settings are the operator's to change.
    """

    name: str
    done: TopicState
    differences: tuple[str, ...]


def wanted(settings: TopicsSettings, replicas: int = 1) -> list[WantedTopic]:
    """Return all topics as they should be, with so many copies of each partition."""
    # What is acknowledged lies on two brokers at least: the death of one loses nothing.
    safe = {"min.insync.replicas": "2"} if replicas >= REPLICAS else {}
    # Dated by the broker: of a worker whose clock is ahead by an hour it would refuse all records.
    ours = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}
    week = {**ours, "retention.ms": str(7 * DAY_MS), **safe}
    return [
        *(WantedTopic(name, settings.partitions, safe) for name in settings.calls),
        WantedTopic(settings.decisions, settings.partitions, week),
        WantedTopic(
            settings.rejected,
            settings.partitions,
            {**week, "max.message.bytes": str(REJECTED_BYTES_MAX)},
        ),
        *(WantedTopic(name, settings.partitions, week) for name in settings.more),
    ]


async def ensure_topics(
    kafka: KafkaSettings, settings: TopicsSettings, observe: Observe, *, create: bool = True
) -> list[TopicReport]:
    """Make the topics that are missing (unless not `create`), and say how the others differ.

    Waits for a broker. Raises SourceDown where Kafka refuses, KafkaTooOld, KafkaAway.
    """
    admin = await _admin(kafka, observe)
    try:
        reports = []
        existing = await _partitions(admin)
        replicas = settings.replicas(len((await admin.describe_cluster())["brokers"]))
        for topic in wanted(settings, replicas):
            if topic.name not in existing and not create:
                reports.append(TopicReport(topic.name, TopicState.MISSING, ()))
            elif topic.name in existing or not await _create(admin, topic, replicas):
                differences = await _differences(admin, topic, existing.get(topic.name))
                reports.append(TopicReport(topic.name, TopicState.KEPT, differences))
            else:
                reports.append(TopicReport(topic.name, TopicState.CREATED, ()))
        # Until Kafka lists them: a worker that starts now would not find its topic.
        there = {report.name for report in reports if report.done is not TopicState.MISSING}
        if unseen := sorted(there - (await _found(admin, there, _LOOKS_CREATED_S)).keys()):
            raise SourceDown(
                f"topics {', '.join(unseen)} are created, but the brokers do not list them yet: "
                "wait until `ringfence topics list` shows them, or give the user the right Describe"
            )
    except KafkaError as error:
        raise down(kafka, "topics cannot be made", error, "Create") from error
    else:
        return reports
    finally:
        await admin.close()


async def check_topics(
    kafka: KafkaSettings, settings: TopicsSettings, partitions_min: int, observe: Observe
) -> TopicLimits:
    """Raise TopicMissing unless every topic is there, KafkaTooOld. Waits for a broker.

    The topics with calls need `partitions_min` partitions in all, one for each worker: without, a
    worker would idle for ever. Looks at the whole cluster's topics, since asking for one by name
    lets a broker create it with defaults that nobody chose.
    """
    admin = await _admin(kafka, observe)
    try:
        names = {topic.name for topic in wanted(settings)}
        # Of one question: the next may go to a broker that does not know a topic yet.
        existing = await _found(admin, names)
        if lacking := sorted(names - existing.keys()):
            raise TopicMissing(
                f"no topic {', '.join(lacking)} that we may see at {kafka.bootstrap_servers}: "
                "`ringfence topics create` makes what is missing"
            )
        partitions = sum(existing[name] for name in settings.calls)
        if partitions < partitions_min:
            raise TopicMissing(
                f"{', '.join(settings.calls)} have {partitions} partitions for {partitions_min} "
                "workers: start fewer workers, or delete the topic and let "
                "`ringfence topics create` make it with calls.partitions"
            )
        return TopicLimits(
            decision_bytes_max=await _value_bytes_max(admin, settings.decisions),
            rejected_bytes_max=await _value_bytes_max(admin, settings.rejected),
        )
    except KafkaError as error:
        raise down(kafka, "topics cannot be looked at", error) from error
    finally:
        await admin.close()


async def _admin(kafka: KafkaSettings, observe: Observe) -> Any:
    """Connect to a cluster that has what we need."""
    try:
        admin = await connected(
            lambda: AIOKafkaAdminClient(**kafka.options()),
            AIOKafkaAdminClient.close,
            kafka,
            observe,
        )
    except KafkaError as error:
        raise down(kafka, f"Kafka at {kafka.bootstrap_servers}", error) from error
    try:
        await check_version(kafka)
    except BaseException:
        await admin.close()
        raise
    return admin


async def _partitions(admin: Any) -> dict[str, int]:
    """Partitions of each topic that we may see."""
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics()
        # A topic whose leaders are being elected has another error, and exists.
        if topic["error_code"] != UnknownTopicOrPartitionError.errno
    }


async def _found(
    admin: Any, names: set[str], looks_s: tuple[float, ...] = _LOOKS_S
) -> dict[str, int]:
    """Return the partitions of all topics; ask again for `names`, as news takes a moment."""
    found = await _partitions(admin)
    for wait_s in looks_s:
        if names <= found.keys():
            break
        await asyncio.sleep(wait_s)
        found = await _partitions(admin)
    return found


async def _create(admin: Any, topic: WantedTopic, replicas: int) -> bool:
    """Create a topic; return False if another process was faster."""
    answer: Any = await admin.create_topics(
        [
            NewTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=replicas,
                topic_configs=dict(topic.configs),
            )
        ]
    )
    _, code, *message = answer.topic_errors[0]
    if code == 0:
        return True
    error = for_code(code)
    if error is TopicAlreadyExistsError:
        return False
    if error is TopicAuthorizationFailedError:
        raise error(topic.name)
    raise error(f"topic {topic.name}: {message[0] if message else ''}")


async def _differences(admin: Any, topic: WantedTopic, partitions: int | None) -> tuple[str, ...]:
    found = []
    if partitions is not None and partitions != topic.partitions:
        found.append(f"{partitions} partitions, {topic.partitions} wanted")
    configs = await _configs(admin, topic.name)
    for key, value in topic.configs.items():
        if key in configs and configs[key] != value:
            found.append(f"{key} is {configs[key]}, {value} wanted")
    return tuple(found)


async def _configs(admin: Any, topic: str) -> dict[str, Any]:
    """Settings of a topic as the broker has them; empty where we may not read them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    try:
        answers: list[Any] = await admin.describe_configs([resource])
    except IncompatibleBrokerVersion:  # Tansu, for one, has no such request
        return {}
    for answer in answers:
        for code, _, _, _, entries in answer.resources:
            if code == 0:
                return {entry[0]: entry[1] for entry in entries}
    return {}


async def _value_bytes_max(admin: Any, topic: str) -> int:
    configs = await _configs(admin, topic)
    limit = int(configs.get("max.message.bytes") or MESSAGE_BYTES_DEFAULT)
    return max(limit - _BATCH_OVERHEAD, 1)
