"""Positions that may be committed. Pure: the loop moves them, the source commits them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.kafka.batch import Partition


@dataclass(slots=True)
class CommitProgress:
    """Positions of ONE assignment that may be committed; a rebalance starts another.

    `next_offsets` holds, for each partition of the assignment, the offset after the last record
    whose outcome is acknowledged. At first it is the position from which reading began. Offsets
    have holes (transaction markers, compaction), so nothing here counts records.
    """

    next_offsets: dict[Partition, int]
    _committed: dict[Partition, int] = field(init=False)

    def __post_init__(self) -> None:
        assert all(offset >= 0 for offset in self.next_offsets.values())
        self._committed = dict(self.next_offsets)

    def advance(self, partition: Partition, last_offset: int) -> None:
        """Move on: all of `partition` up to and including `last_offset` is acknowledged."""
        assert partition in self.next_offsets, f"{partition} is not ours"
        assert last_offset >= self.next_offsets[partition], (
            f"{partition} went back to {last_offset}"
        )
        self.next_offsets[partition] = last_offset + 1

    def due(self) -> dict[Partition, int]:
        """Return the positions that moved since they were last committed."""
        return {
            partition: offset
            for partition, offset in self.next_offsets.items()
            if offset > self._committed[partition]
        }

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Note that Kafka has `positions`; they came from `due`, perhaps a while ago."""
        for partition, offset in positions.items():
            assert self._committed[partition] <= offset <= self.next_offsets[partition], (
                f"{partition} was committed at {offset}, which was never due"
            )
            self._committed[partition] = offset
