"""Records that come by another way than Kafka, as they go there: their calls' ids are the keys.

So the legs of a call stay in one partition, in their order, and the engine knows repeats.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stream.calls.batch import CallBatch
from stream.core.model.call import RejectReason
from stream.kafka.batch import Partition, RawBatch, Segment

Unreadable = tuple[int, RejectReason, str]
"""The index of a record that is no call, and why."""


def keyed(
    read: Callable[[RawBatch], CallBatch], topic: str, records: Sequence[bytes]
) -> tuple[list[bytes | None], tuple[Unreadable, ...]]:
    """The key of each record (None: it is no call), and the records that are no calls.

    `read` is the stream's decoder; it reads `records` as those of `topic`.
    """
    count = len(records)
    batch = read(
        RawBatch(
            values=records,
            offsets=np.arange(count, dtype=np.int64),
            timestamps_ms=np.zeros(count, np.int64),
            segments=(Segment(Partition(topic, 0), 0, count),),
            epoch=0,
        )
    )
    keys: list[bytes | None] = [None] * count
    for row, glance in zip(batch.rows.tolist(), batch.glances, strict=True):
        keys[row] = glance.call_id.encode() or None
    found = ((one.origin.offset, one.reason, one.detail) for one in batch.rejected)
    return keys, tuple(sorted(found))


def topics_of(topics: dict[str, str], dialect: str) -> list[str]:
    """The topics of `[calls.topics]` with records of `dialect`, with or without its switch."""
    return [
        topic for topic, spoken in topics.items() if dialect in (spoken, spoken.partition(":")[0])
    ]
