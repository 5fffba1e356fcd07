"""Another process with our instance id: found, and named by its address.

The broker lets the newest of two members with one id in, and forgets the other. Each would join
again and again, and take the partitions from the other. As in Kafka's own clients (KIP-345) the
older one ends. aiokafka 0.14 sends heartbeats without the id, so the broker answers "unknown
member", as it does after a session that ran out: the members of the group tell the two apart.
"""

import asyncio
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest

from stream.kafka.settings import SourceSettings

_UUID_CHARS: Final = 36
_ASK_S: Final = 5.0
"""Longest wait for the answer: the group waits for us meanwhile."""


async def other_holder(consumer: Any, settings: SourceSettings) -> str | None:
    """Return the address of another member with our instance id; None: there is none.

    `consumer` is aiokafka's, of which no public name says which member it is.
    """
    coordinator = getattr(consumer, "_coordinator", None)
    if not settings.instance_id or coordinator is None:
        return None
    try:
        async with asyncio.timeout(_ASK_S):
            answer = await coordinator._send_req(  # noqa: SLF001 - goes to the group's coordinator
                DescribeGroupsRequest([settings.group_id])
            )
    except (KafkaError, TimeoutError):
        return None  # an outage: if there is another, the next round finds it
    return next(
        (
            host.lstrip("/")
            for _, _, _, _, _, members, *_ in answer.groups
            for member, _, host, *_ in members
            if member != coordinator.member_id and _is_of(member, settings.instance_id)
        ),
        None,
    )


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
