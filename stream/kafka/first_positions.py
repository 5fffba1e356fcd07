"""Where partitions begin: in a new assignment by the group's positions, else where it stood."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from stream.kafka.batch import Partition
from stream.ops.tasks import cancelled

KNOWN_S = 5.0
"""So long all wait for a position that does not come: nobody leads a partition that has none."""


class FirstPositions:
    """The first positions of one member's assignments; `start_at` is for those without any."""

    def __init__(self, start_at: str) -> None:
        self._start_at = start_at
        self._seen: dict[str, set[int]] = {}

    async def of(self, consumer: Any, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the group's positions that are known, and pin them down where they are the end.

        Those that do not come within `KNOWN_S` are left out; at least one is waited for.

        A group may start at the end, without a committed position. After a crash before its first
        commit it would start at the end again, and skip what came between. A partition that was
        added to a topic since is read from its beginning: calls lay in it before we knew of it.
        """
        positions = await _known(consumer, tps)
        tps = list(positions)
        if self._start_at == "latest":
            committed = await asyncio.gather(*(consumer.committed(tp) for tp in tps))
            fresh = [tp for tp, known in zip(tps, committed, strict=True) if known is None]
            if added := [tp for tp in fresh if self._is_added(consumer, tp)]:
                await consumer.seek_to_beginning(*added)
                positions |= {tp: await consumer.position(tp) for tp in added}
            if fresh:
                await consumer.commit({tp: positions[tp] for tp in fresh})
        return positions

    def _is_added(self, consumer: Any, fresh: TopicPartition) -> bool:
        """True if the topic has got this partition since our first assignment.

        Positions that others of the group have committed do not show it. At its very first start
        the whole group has no position, and the fastest worker has committed before the last one
        looks.
        """
        numbers = set(consumer.partitions_for_topic(fresh.topic) or ())
        return fresh.partition not in self._seen.setdefault(fresh.topic, numbers)


async def _known(consumer: Any, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the positions that come in time. Raises what asking for them raises."""
    # aiokafka learns them in the background; each of these waits ends once it has.
    asking = {tp: asyncio.create_task(consumer.position(tp)) for tp in tps}
    try:
        while asking and not any(one.done() for one in asking.values()):
            await asyncio.wait(asking.values(), timeout=KNOWN_S)
        return {tp: one.result() for tp, one in asking.items() if one.done()}
    finally:
        await cancelled(*asking.values())


async def same_positions(
    consumer: Any,
    tps: Sequence[TopicPartition],
    starts: Mapping[Partition, int],
    back: Mapping[Partition, int],
) -> dict[TopicPartition, int]:
    """Return where the same assignment begins again, after the partitions in `back` went there.

    Their committed positions count no more: they lie beyond the end. The consumer is moved too. One
    that had no position, and has none now, is left out.
    """
    committed = await asyncio.gather(*(consumer.committed(tp) for tp in tps))
    positions = {}
    for tp, known in zip(tps, committed, strict=True):
        partition = Partition(*tp)
        kept = starts.get(partition) if known is None else known
        offset = back.get(partition, kept)
        if offset is not None:
            positions[tp] = offset
            consumer.seek(tp, offset)
    return positions
