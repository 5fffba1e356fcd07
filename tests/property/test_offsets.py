"""Progress against the simplest model: a set of acknowledged offsets."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stream.kafka.batch import Partition
from stream.kafka.offsets import CommitProgress

PARTITIONS = [Partition("calls", number) for number in range(3)]


class Reading(RuleBasedStateMachine):
    """Partitions with holes (markers, compaction) are read, acknowledged and committed."""

    @initialize(starts=st.lists(st.integers(0, 50), min_size=3, max_size=3))
    def assigned(self, starts):
        """An assignment begins at any positions."""
        self.starts = dict(zip(PARTITIONS, starts, strict=True))
        self.progress = CommitProgress(dict(self.starts))
        self.acknowledged: dict[Partition, set[int]] = {
            partition: set() for partition in PARTITIONS
        }
        self.committed = dict(self.starts)
        self.asked = []

    @rule(partition=st.sampled_from(PARTITIONS), steps=st.lists(st.integers(1, 4), min_size=1))
    def acknowledge(self, partition, steps):
        """A batch of records, each 1 to 4 offsets after the one before, is acknowledged."""
        offset = self.progress.next_offsets[partition] - 1
        for step in steps:
            offset += step
            self.acknowledged[partition].add(offset)
        self.progress.advance(partition, offset)

    @rule()
    def ask_what_is_due(self):
        """A commit begins; it may end much later."""
        self.asked.append(self.progress.due())

    @rule()
    def commit_ends(self):
        """The oldest commit ends well."""
        if self.asked:
            due = self.asked.pop(0)
            self.progress.committed(due)
            self.committed.update(due)

    @invariant()
    def positions_say_what_was_acknowledged(self):
        """A position is one past the last acknowledged offset, or where reading began."""
        for partition, offsets in self.acknowledged.items():
            expected = max(offsets) + 1 if offsets else self.starts[partition]
            assert expected == self.progress.next_offsets[partition]

    @invariant()
    def due_is_what_is_not_committed(self):
        """Due is exactly what moved since the last commit that ended."""
        due = {
            partition: offset
            for partition, offset in self.progress.next_offsets.items()
            if offset != self.committed[partition]
        }
        assert due == self.progress.due()


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
