"""Answers that wait while reading goes on elsewhere."""

from collections import deque

from stream.kafka.batch import Partition
from stream.kafka.fetch.fetched_batches import FetchedPart, _due
from stream.kafka.fetch.partition_state import PartitionState
from stream.kafka.record_batches import Stretch


def test_what_an_older_answer_overtook_is_asked_for_again():
    """An answer from before a seek ends amid the one after it: what lies behind still comes."""
    state = PartitionState.at(Partition("calls", 0), 100)
    state.position, state.ask_at = 140, 200  # the old answer was read, 100 to 140
    after_the_seek = FetchedPart(state, Stretch(0, 10, 100, ()), 200)
    assert _due(deque([after_the_seek])) == []
    assert state.ask_at == 140
