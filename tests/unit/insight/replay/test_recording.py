"""A batch of recorded calls is cut where the time that is asked for ends."""

from collections.abc import Sequence

import numpy as np
import pytest

from stream.calls.trace_context import headers_of
from stream.core.model.byte_strings import Texts
from stream.insight.replay.recording import cut
from stream.kafka.batch import Partition, RawBatch, Segment

ONE, TWO = Partition("calls", 0), Partition("calls", 1)
VALUES = [b"a", b"b", None, b"d", b"e"]
SPANS = {ONE: (0, 9), TWO: (0, 5)}


def batch(values: Sequence[bytes | None], times_ms: Sequence[int]) -> RawBatch:
    """Three records of one partition and two of another, each with a header but the tombstone."""
    return RawBatch(
        values=values,
        offsets=np.array([0, 1, 2, 4, 5]),
        timestamps_ms=np.array(times_ms),
        segments=(Segment(ONE, 0, 3), Segment(TWO, 3, 5)),
        epoch=7,
        headers=[[("id", b"%d" % row)] for row in range(5)],
    )


@pytest.mark.parametrize("values", [VALUES, Texts.of(VALUES)], ids=["objects", "columns"])
def test_records_that_are_too_new_or_behind_the_end_are_left_out(
    values: Sequence[bytes | None],
) -> None:
    """A record of a switch whose clock is ahead goes, those behind it stay, with their headers."""
    held = cut(batch(values, [900, 5, 6, 7, 8]), SPANS, 100)
    assert list(held.values) == [b"b", None, b"d"]
    assert held.offsets.tolist() == [1, 2, 4]
    assert held.timestamps_ms.tolist() == [5, 6, 7]
    assert held.segments == (Segment(ONE, 0, 2), Segment(TWO, 2, 3))
    assert [list(headers_of(held, row)) for row in range(3)] == [
        [("id", b"%d" % row)] for row in (1, 2, 3)
    ]
    assert held.epoch == 7


def test_a_partition_of_which_nothing_is_left_has_no_segment() -> None:
    """A batch that lies within is handed on as it is."""
    whole = batch(VALUES, [1, 1, 1, 1, 1])
    assert cut(whole, {**SPANS, TWO: (0, 9)}, 100) is whole
    assert cut(batch(VALUES, [900, 900, 900, 1, 1]), SPANS, 100).segments == (Segment(TWO, 0, 1),)
