"""Promises of `stream.kafka.offsets`."""

import pytest

from stream.kafka.batch import Partition
from stream.kafka.offsets import CommitProgress

P0, P1 = Partition("calls", 0), Partition("calls", 1)


def test_nothing_is_due_at_first():
    """An assignment in which nothing was acknowledged commits nothing."""
    assert CommitProgress({P0: 5, P1: 0}).due() == {}


def test_what_was_acknowledged_is_due_until_it_is_committed():
    """The position is the offset after the last acknowledged record, and is committed once."""
    progress = CommitProgress({P0: 5, P1: 0})
    progress.advance(P0, 9)
    due = progress.due()
    assert due == {P0: 10}
    progress.advance(P0, 12)
    progress.committed(due)
    assert progress.due() == {P0: 13}


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
