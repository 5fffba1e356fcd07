"""Where partitions begin: in a new assignment by the group's positions, else where it stood."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from stream.kafka.batch import Partition


class FirstPositions:
    """The first positions of one member's assignments; `start_at` is for those without any."""

    def __init__(self, start_at: str) -> None:
        self._start_at = start_at
        self._seen: dict[str, set[int]] = {}

    async def of(self, consumer: Any, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the group's positions, and pin them down where they are the end.

        A group may start at the end, without a committed position. After a crash before its first
        commit it would start at the end again, and skip what came between. A partition that was
        added to a topic since is read from its beginning: calls lay in it before we knew of it.
        """
        # aiokafka learns them in the background; each of these waits ends once it has.
        positions = {tp: await consumer.position(tp) for tp in tps}
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


async def same_positions(
    consumer: Any,
    tps: Sequence[TopicPartition],
    starts: Mapping[Partition, int],
    back: Mapping[Partition, int],
) -> dict[TopicPartition, int]:
    """Return where the same assignment begins again, after the partitions in `back` went there.

    Their committed positions count no more: they lie beyond the end. The consumer is moved too.
    """
    committed = await asyncio.gather(*(consumer.committed(tp) for tp in tps))
    positions = {}
    for tp, known in zip(tps, committed, strict=True):
        partition = Partition(*tp)
        kept = starts[partition] if known is None else known
        positions[tp] = back.get(partition, kept)
        consumer.seek(tp, positions[tp])
    return positions
