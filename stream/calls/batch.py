"""The two values that stand between the steps: raw records, and the calls that were in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.call import Call, Origin, Rejected
from stream.core.number import Numbers


class Partition(NamedTuple):
    """A topic and one of its partitions: our own word, so no aiokafka type goes further."""

    topic: str
    number: int


class Segment(NamedTuple):
    """Rows `start` to `stop` of a batch came from `partition`, in the order of their offsets."""

    partition: Partition
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records as they lay in Kafka, from one or more partitions, in columns.

    `values` holds the record values (None: a tombstone). A source may keep all of them in one
    buffer and give a sequence of views: nothing behind it may assume separate objects, and whoever
    keeps a value beyond the batch copies it. `offsets` int64; `timestamps_ms` int64, milliseconds
    since the epoch as Kafka has them; both one per value. `epoch` names the assignment under which
    the records were fetched: after a rebalance an older batch may be neither published nor
    committed.
    """

    values: Sequence[bytes | memoryview | None]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    segments: tuple[Segment, ...]
    epoch: int

    def __len__(self) -> int:
        return len(self.values)

    def origin(self, row: int) -> Origin:
        """Where the record in `row` lies in Kafka."""
        for segment in self.segments:
            if segment.start <= row < segment.stop:
                topic, partition = segment.partition
                return Origin(topic, partition, int(self.offsets[row]))
        raise AssertionError(f"row {row} is in no segment of the batch")


class Glance(msgspec.Struct, gc=False):
    """The few fields that a decision about an innocent call needs; the rest is not even decoded."""

    call_id: str
    caller: str | None
    callee: str | None
    trunk: str | None = None
    ingress: str | None = None


@dataclass(frozen=True, slots=True)
class CallBatch:
    """The calls of a `RawBatch`, and the records that were none.

    `glances`, `callers`, `callees` and `rows` have one item per call; `rows` int64 says which row
    of `raw` a call came from. `callees` is None where called numbers are not checked. `call_of(i)`
    decodes call i whole: only worth its price where a decision is published.
    """

    raw: RawBatch
    glances: Sequence[Glance]
    rows: NDArray[np.int64]
    callers: Numbers
    callees: Numbers | None
    rejected: Sequence[Rejected]
    call_of: Callable[[int], Call]

    def __len__(self) -> int:
        return len(self.glances)
