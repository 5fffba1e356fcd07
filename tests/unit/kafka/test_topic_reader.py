"""The loop that reads topics in no group: all of a span, nothing behind it, never for ever."""

from collections import defaultdict
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from stream.core.model.errors import SourceDown
from stream.kafka import topic_reader
from stream.kafka.topic_reader import newest, records_in

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


class Record(NamedTuple):
    """A record as aiokafka gives it, as far as it is looked at."""

    offset: int


class Consumer:
    """Gives `at_once` records of each partition; positions pass holes, as aiokafka's do."""

    def __init__(self, held: dict[TopicPartition, list[int]], ends: dict[TopicPartition, int]):
        self.held, self.ends, self.at_once = held, ends, 2
        self.at: dict[TopicPartition, int] = defaultdict(int)
        self.held_up: set[TopicPartition] = set()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from there."""
        self.at[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        """Give no more of them."""
        self.held_up.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Give more of them."""
        self.held_up.difference_update(partitions)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        """Records of the partitions, or of all that are not paused."""
        assert timeout_ms
        assert max_records
        found = {}
        for one in partitions or self.held:
            assert one not in self.held_up or not partitions, "a paused partition is asked"
            left = [offset for offset in self.held[one] if offset >= self.at[one]]
            if one not in self.held_up and self.at[one] < self.ends[one]:
                found[one] = [Record(offset) for offset in left[: self.at_once]]
                more = left[self.at_once :]
                self.at[one] = more[0] if more else self.ends[one]
        return found

    async def position(self, partition: TopicPartition) -> int:
        """Where it goes on."""
        return self.at[partition]

    def assignment(self) -> set[TopicPartition]:
        """All partitions."""
        return set(self.held)

    async def end_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets behind the last records."""
        return {one: self.ends[one] for one in partitions}

    async def beginning_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        """First offsets."""
        return {one: min(self.held[one], default=self.ends[one]) for one in partitions}


async def read(consumer: Consumer, spans: Any, **how: Any) -> dict[TopicPartition, list[int]]:
    """Offsets that `records_in` gives, by partition."""
    found: dict[TopicPartition, list[int]] = defaultdict(list)
    async for fetched in records_in(consumer, spans, **how):
        for one, records in fetched.items():
            found[one] += [record.offset for record in records]
    return dict(found)


async def test_all_of_each_span_is_read_once_and_nothing_behind_it() -> None:
    """Holes at the end, such as transaction markers, do not keep it waiting."""
    consumer = Consumer({ONE: [*range(9)], TWO: [3, 4, 7]}, {ONE: 9, TWO: 12})
    told: list[tuple[int, int]] = []
    spans = {ONE: (2, 7), TWO: (3, 12)}
    found = await read(consumer, spans, progress=lambda done, whole: told.append((done, whole)))
    assert found == {ONE: [2, 3, 4, 5, 6], TWO: [3, 4, 7]}
    assert told[-1] == (14, 14)


async def test_who_follows_afterwards_misses_no_record() -> None:
    """Records behind the end that came with the last ones are given again to who reads on."""
    consumer = Consumer({ONE: [*range(9)], TWO: []}, {ONE: 5, TWO: 4})
    consumer.at_once = 8
    spans = await newest(consumer, 3)
    assert spans == {ONE: (2, 5), TWO: (4, 4)}
    consumer.ends[ONE] = 9  # more came while the span was read
    assert await read(consumer, spans) == {ONE: [2, 3, 4]}
    assert (consumer.at[ONE], consumer.at[TWO]) == (5, 4)
    assert not consumer.held_up
    after = await consumer.getmany(timeout_ms=1, max_records=1)
    assert [record.offset for record in after[ONE]] == [5, 6, 7, 8]


async def test_an_empty_span_asks_nothing() -> None:
    """Nothing is there to wait for."""
    consumer = Consumer({ONE: []}, {ONE: 4})
    assert await read(consumer, {ONE: (4, 4)}) == {}


async def test_it_gives_up_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that gives nothing for too long ends it, but not one that is merely slow."""
    moment = [0.0]
    monkeypatch.setattr(topic_reader, "monotonic_s", lambda: moment[0])

    class Silent(Consumer):
        async def getmany(self, *partitions: TopicPartition, **how: Any) -> Any:
            moment[0] += 25.0
            if self.at[ONE] < 3:
                self.at[ONE] += 1
                return {ONE: [Record(self.at[ONE] - 1)]}
            return {}

    found = []

    async def collect() -> None:
        async for fetched in records_in(Silent({ONE: []}, {ONE: 9}), {ONE: (0, 9)}, stalled_s=60.0):
            found.extend(fetched.get(ONE, []))

    with pytest.raises(SourceDown, match="no more records for 60 s"):
        await collect()
    assert [record.offset for record in found] == [0, 1, 2]
    assert moment[0] == 150.0
