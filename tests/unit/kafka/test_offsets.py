"""Positions that cannot be; tests/property/test_offsets.py has every other promise of progress."""

import pytest

from stream.kafka.batch import Partition
from stream.kafka.offsets import CommitProgress

P0, P1 = Partition("calls", 0), Partition("calls", 1)


@pytest.mark.parametrize(
    ("partition", "last_offset"), [(P1, 3), (P0, 4)], ids=["not ours", "went back"]
)
def test_a_position_that_can_not_be_is_a_bug(partition, last_offset):
    """Neither a partition of somebody else nor an offset before the position is taken."""
    with pytest.raises(AssertionError):
        CommitProgress({P0: 5}).advance(partition, last_offset)


def test_what_was_never_due_is_not_committed():
    """A commit beyond what is acknowledged would lose calls: it is a bug."""
    with pytest.raises(AssertionError):
        CommitProgress({P0: 5}).committed({P0: 6})
