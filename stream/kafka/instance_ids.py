"""Members with an instance id: another process with ours, and partitions that nobody was given.

The broker lets the newest of two members with one id in, and forgets the other. Each would join
again and again, and take the partitions from the other. As in Kafka's own clients (KIP-345), the
older one ends. The heartbeats of aiokafka 0.14 lack the id, so the broker answers "unknown member",
as it does after an expired session. The members of the group tell the two apart.
"""

import asyncio
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest

from stream.kafka.settings import SourceSettings

# Kafka's member id of a static member is its instance id, a dash and a UUID.
_UUID_CHARS: Final = 36
_ASK_S: Final = 5.0
"""Longest wait for the answer: the group waits for us meanwhile."""
_STABLE: Final = "Stable"
"""Kafka's name for the state of a group in which every member has its partitions."""


async def other_holder(consumer: Any, settings: SourceSettings) -> str | None:
    """Return the address of another member with our instance id; None: there is none.

    `consumer` is aiokafka's, of which no public name says which member it is.
    """
    coordinator = getattr(consumer, "_coordinator", None)
    if not settings.instance_id or coordinator is None:
        return None
    _, members = await _described(coordinator, settings)
    return next(
        (
            host.lstrip("/")
            for member, _, host, *_ in members
            if member != coordinator.member_id and _is_of(member, settings.instance_id)
        ),
        None,
    )


async def given_to_nobody(consumer: Any, settings: SourceSettings) -> frozenset[TopicPartition]:
    """Return partitions of our topics that no member of the group has; none while it rebalances.

    A member with an instance id gets its partitions back after a restart, without a rebalance. If
    it led the group, it does not learn that it still does (KIP-814 says so, in a newer request than
    aiokafka's). Then it looks for no added partitions, and they would stay unread.
    """
    coordinator = getattr(consumer, "_coordinator", None)
    if not settings.instance_id or coordinator is None:
        return frozenset()
    state, members = await _described(coordinator, settings)
    if state != _STABLE:
        return frozenset()
    given = {
        (topic, number)
        for *_, assignment in members
        if assignment
        for topic, numbers in ConsumerProtocolMemberAssignment.decode(assignment).assignment
        for number in numbers
    }
    return frozenset(
        TopicPartition(topic, number)
        for topic in settings.topics
        for number in consumer.partitions_for_topic(topic) or ()
        if (topic, number) not in given
    )


async def _described(coordinator: Any, settings: SourceSettings) -> tuple[str, list[Any]]:
    """Return the group's state and members as its coordinator has them; "": it does not answer."""
    try:
        async with asyncio.timeout(_ASK_S):
            answer = await coordinator._send_req(  # noqa: SLF001 - goes to the group's coordinator
                DescribeGroupsRequest([settings.group_id])
            )
    except (KafkaError, TimeoutError):
        return "", []  # an outage: the next round asks again
    for code, _, state, _, _, members, *_ in answer.groups:
        if code == 0:
            return state, members
    return "", []


def forgotten(consumer: Any) -> bool:
    """Return whether the group has let us go, and not we the group."""
    coordinator = getattr(consumer, "_coordinator", None)
    return coordinator is not None and not coordinator.member_id


def _is_of(member: str, instance_id: str) -> bool:
    """Return whether a broker made this member's id for `instance_id`: it appends a UUID."""
    return (
        member.startswith(f"{instance_id}-") and len(member) == len(instance_id) + 1 + _UUID_CHARS
    )


def shared(settings: SourceSettings, host: str) -> str:
    """Return the error of two processes with one id."""
    return (
        f"calls.instance_id: another process, at {host}, has joined group {settings.group_id} as "
        f"{settings.instance_id!r}: this one ends, and that one goes on. Give each process an "
        "instance_id of its own, or none"
    )
