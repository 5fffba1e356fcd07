"""Topic ids: they tell a topic that was deleted and made again under its name (KIP-516).

Positions in it mean nothing in the new one. If the new one has more records already, no fetch is
refused. And Kafka takes positions by the topic's name: a worker that was cut off may commit one of
the former topic after the new one was made. So each position of ours says of which topic it is, in
the text that Kafka keeps beside it (seed 180000489).

The metadata requests of aiokafka 0.14 have versions up to 5, without ids. So this is version 10 of
the same request (Kafka protocol guide, "Metadata API", key 3; Kafka 2.8), for its connections.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_NONE = UUID(int=0)
"""Asks for a topic by its name; in answers, of a topic that has no id."""


class TopicId(NamedTuple):
    """A topic's id and its cluster's: a mirror's copy is no topic that was made again."""

    cluster: str
    topic: UUID

    def __str__(self) -> str:
        """Return what a position says of its topic."""
        return f"{self.cluster}/{self.topic}"

    def has_former(self, told: str) -> bool:
        """Return whether a position that says `told` is of a former topic of the same name.

        One that says nothing, or what others write there, counts as a position of this one.
        """
        cluster, slash, topic = told.rpartition("/")
        # A broker may have no id of its cluster: without the slash, "" would be of that cluster.
        return bool(slash) and cluster == self.cluster and topic != str(self.topic)

    def is_copied(self, told: str) -> bool:
        """Return whether a position that says `told` came from another cluster, by a mirror."""
        cluster, slash, _ = told.rpartition("/")
        return bool(slash) and cluster != self.cluster


class _Uuid(AbstractType[UUID]):
    """Sixteen bytes; the protocol's type that aiokafka lacks."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest10(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequest10]):
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[UUID, str, dict[int, bytes]]] = [
            (_NONE, topic, {}) for topic in topics
        ]

    def build(self, request_struct_class: type[_MetadataRequest10]) -> _MetadataRequest10:
        return request_struct_class(self._topics, False, False, False, {})


async def topic_ids(client: Any, topics: Iterable[str]) -> dict[str, TopicId]:
    """Return the ids of those of `topics` that exist now; none from a broker older than Kafka 2.8.

    `client` is an aiokafka client that is connected. Raises KafkaError where no broker answers.
    """
    answer = await _answer(client, _MetadataRequest(topics))
    return {
        name: TopicId(answer.cluster_id or "", topic_id)
        for code, name, topic_id, *_ in (answer.topics if answer is not None else ())
        if code == 0 and topic_id != _NONE
    }


async def begins_of_others(
    consumer: Any,
    tps: Iterable[TopicPartition],
    ids: Mapping[str, TopicId],
    known: Mapping[str, TopicId],
) -> dict[TopicPartition, int]:
    """Return where those of `tps` begin whose topic is another than the known one.

    Raises KafkaError.
    """
    others = [
        tp for tp in tps if tp.topic in ids and ids[tp.topic] != known.get(tp.topic, ids[tp.topic])
    ]
    return await consumer.beginning_offsets(others) if others else {}


async def begins_of_former(
    consumer: Any, positions: Mapping[TopicPartition, int], ids: Mapping[str, TopicId]
) -> dict[TopicPartition, int]:
    """Return where those of `positions` begin whose committed position is of a former topic.

    `ids` are those of the topics now. A mirror copies what positions say, too. Its copies say from
    now on what is here: copied back into a topic made again there, they would be of a former one.
    Raises KafkaError.
    """
    # `committed` of aiokafka leaves out what a position says.
    known = await consumer._coordinator.fetch_committed_offsets(list(positions))  # noqa: SLF001
    said = {tp: at.metadata for tp, at in known.items() if tp.topic in ids}
    copied = {
        tp: (known[tp].offset, str(ids[tp.topic]))
        for tp, told in said.items()
        if ids[tp.topic].is_copied(told) and known[tp].offset == positions[tp]
    }
    if copied:
        await consumer.commit(copied)
    former = [tp for tp, told in said.items() if ids[tp.topic].has_former(told)]
    return await consumer.beginning_offsets(former) if former else {}


async def _answer(client: Any, request: _MetadataRequest) -> Any:
    error: KafkaError = NodeNotReadyError("no broker is known")
    for broker in client.cluster.brokers():
        try:
            return await client.send(broker.nodeId, request)
        except NotImplementedError:  # aiokafka's: the broker has no such version
            return None
        except KafkaError as one:  # perhaps another is there
            error = one
    raise error
