"""What becomes of answers that wait while reading goes on elsewhere."""

from collections import deque

from stream.kafka.batch import Partition
from stream.kafka.fetch.broker import Fetched
from stream.kafka.fetch.fetched_batches import _group
from stream.kafka.fetch.partition_state import Reading
from stream.kafka.record_batches import Stretch


def test_what_an_older_answer_overtook_is_asked_for_again():
    """An answer from before a seek ends amid the one after it: what lies behind still comes."""
    reading = Reading.at(Partition("calls", 0), 100)
    reading.position, reading.ask_at = 140, 200  # the old answer was read, 100 to 140
    after_the_seek = Fetched(reading, Stretch(0, 10, 100, ()), 200)
    assert _group(deque([after_the_seek])) == []
    assert reading.ask_at == 140
