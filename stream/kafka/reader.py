"""What the source wants of whoever fetches for it: `AiokafkaReader` and `Fetcher` give it.

Membership, positions to begin at and commits are the source's; a reader only brings records, in
the order of their offsets, from where it is told to begin.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from stream.kafka.batch import Partition, RawBatch


def no_records(epoch: int) -> RawBatch:
    """A batch of nothing."""
    return RawBatch([], np.empty(0, np.int64), np.empty(0, np.int64), (), epoch)


class Reader(Protocol):
    """Fetches for one member of the group; used by the source alone."""

    async def start(self) -> None:
        """Begin, with nothing to read yet."""
        ...

    async def stop(self) -> None:
        """Close what is the reader's own."""
        ...

    def hold(self, assigned: Iterable[Partition]) -> None:
        """The group gave us `assigned`; where each is read from is being asked."""
        ...

    def begin(self, epoch: int, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, under the assignment `epoch`."""
        ...

    def end(self) -> None:
        """The assignment ended: nothing is ours to read."""
        ...

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from `positions`, which are of partitions begun."""
        ...

    def release(self, partitions: Iterable[Partition]) -> None:
        """These of the partitions begun are not read on; the others go on."""
        ...

    async def position(self, partition: Partition) -> int:
        """The first offset of a partition begun that was not handed out yet; holes are passed."""
        ...

    async def take(self, records_max: int, wait_ms: int) -> RawBatch:
        """What is there; waits `wait_ms` for the first, and may be cancelled while it waits.

        The batch has the epoch under which it was fetched. Raises SourceDown, or what aiokafka
        raises.
        """
        ...

    def high_water(self, partition: Partition) -> int | None:
        """The offset after the partition's last record, as the last answer told it."""
        ...

    @property
    def silent_s(self) -> float:
        """Seconds since a broker last answered a fetch; 0 while none was asked."""
        ...

    @property
    def stopped(self) -> int:
        """How many partitions are not read on, since a batch of theirs cannot be right."""
        ...

    @property
    def ordinary(self) -> int:
        """How many partitions aiokafka fetches."""
        ...
