"""Records as they were fetched from Kafka, in columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.core.model.call import Origin


class Partition(NamedTuple):
    """A topic and one of its partitions: our own word, so no aiokafka type goes further."""

    topic: str
    number: int


Headers = Sequence[tuple[str, bytes]]
"""Headers of a record: names and values."""


class Segment(NamedTuple):
    """Rows `start` to `stop` of a batch came from `partition`, in the order of their offsets."""

    partition: Partition
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records as they lay in Kafka, from one or more partitions, in columns.

    `values` holds the record values (None: a tombstone): objects, or `Texts` in a buffer that the
    source fills again for the next batch. `offsets` int64; `timestamps_ms` int64, milliseconds
    since the epoch as Kafka has them; both one per value. `epoch` names the assignment under which
    the records were fetched: after a rebalance an older batch may be neither published nor
    committed. Headers of records: `headers_follow` says that they lie right after the values, as on
    the wire and checked. Else `headers` has them, one item per value, or nothing.
    """

    values: Sequence[bytes | None]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    segments: tuple[Segment, ...]
    epoch: int
    headers: Sequence[Headers] = ()
    headers_follow: bool = False

    @classmethod
    def of(
        cls, values: Sequence[bytes | None], partition: Partition, first: int = 0, at_ms: int = 0
    ) -> Self:
        """Make a batch of one partition, with offsets from `first` on, all written at `at_ms`."""
        count = len(values)
        return cls(
            values=values,
            offsets=np.arange(first, first + count, dtype=np.int64),
            timestamps_ms=np.full(count, at_ms, np.int64),
            segments=(Segment(partition, 0, count),),
            epoch=0,
        )

    def __len__(self) -> int:
        return len(self.values)

    def texts(self) -> Texts:
        """Return the values as columns; where they are objects they are copied."""
        return self.values if isinstance(self.values, Texts) else Texts.of(self.values)

    def origin(self, row: int) -> Origin:
        """Return where the record in `row` lies in Kafka."""
        # Only rejects and decisions ask, and a batch has few segments: no index is worth its price.
        for segment in self.segments:
            if segment.start <= row < segment.stop:
                topic, partition = segment.partition
                return Origin(topic, partition, int(self.offsets[row]))
        raise AssertionError(f"row {row} is in no segment of the batch")
