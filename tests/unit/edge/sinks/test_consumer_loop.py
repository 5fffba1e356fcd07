"""The loop of a sink: what is committed, and when it is not."""

import asyncio
from collections.abc import Mapping
from typing import get_type_hints
from unittest.mock import patch

import pytest

from stream.config.settings import load
from stream.core.model.errors import SourceDown
from stream.edge.sinks.consumer_loop import DecisionReplay, SinkLoop
from stream.edge.sinks.settings import EndpointSection
from stream.kafka.batch import Partition, RawBatch
from tests.support.fakes import P0, P1, FakeSource, Turn


class _End:
    """Delivers into a list; `fails` makes it wait instead, for ever."""

    def __init__(self, source: FakeSource) -> None:
        self.got: list[bytes] = source.published
        self.fails = False

    async def __call__(self, raw: RawBatch) -> None:
        if self.fails:
            await asyncio.Event().wait()
        self.got += [value for value in raw.values if value is not None]


def _pump(source: FakeSource, end: _End, **more) -> SinkLoop:
    pump = SinkLoop(source, end, 100, wait_ms=1, commit_interval_s=0.0, **more)
    source.ended = pump.stop
    return pump


async def test_what_was_delivered_is_committed_and_nothing_else() -> None:
    """Positions follow deliveries; the fake refuses a commit of anything undelivered."""
    source = FakeSource([[(P0, 0), (P1, 0)], Turn.IDLE, [(P0, 5)]])
    await _pump(source, _End(source)).run()
    assert source.committed == {P0: 6, P1: 1}


async def test_partitions_that_go_are_not_waited_for() -> None:
    """A delivery that does not end is broken off when the group wants the partitions, and what it
    held comes again.
    """
    source = FakeSource([[(P0, 0)], [(P0, 1)]])
    end = _End(source)
    pump = _pump(source, end)
    end.fails = True
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(0.02)
    source.revoking = True
    end.fails = False
    await running
    assert end.got == [b"0/0", b"0/1"]
    assert source.committed[P0] == 2


async def test_lost_partitions_begin_again() -> None:
    """A commit that is refused ends the assignment; the records come again."""
    source = FakeSource([[(P0, 0)], Turn.LOST, [(P0, 1)], Turn.IDLE])
    await _pump(source, _End(source)).run()
    assert source.committed[P0] == 2


async def test_a_broken_kafka_ends_the_loop() -> None:
    """A fault that only a restart fixes is not swallowed."""
    source = FakeSource([Turn.DOWN])
    with pytest.raises(SourceDown):
        await _pump(source, _End(source)).run()


class _Past:
    """A topic of two partitions whose old records begin at offset 0 and end where it is said."""

    partitions = 2

    def __init__(self, end: int) -> None:
        self.end = end
        self.handed_out: dict[Partition, int] = {}

    async def positions_at(self, at_ms: int) -> Mapping[Partition, int]:
        assert at_ms > 0
        return {P0: 0, P1: 0}

    async def ends(self) -> Mapping[Partition, int]:
        return {P0: self.end, P1: self.end}

    async def read_to(self, partition: Partition) -> int:
        return self.handed_out.get(partition, -1)


async def test_old_decisions_are_read_once_more() -> None:
    """Back to the time asked for, done at the end of then, and again for a new assignment."""
    replay, past = DecisionReplay(60), _Past(end=9)
    assert await replay.turn(past, 1, {P0: 7, P1: 7}, 0) == {}, "not before Redis answers"
    replay.begin(frozenset())
    assert await replay.turn(past, 1, {}, 0) == {}, "not before there are partitions"
    assert await replay.turn(past, 1, {P0: 7, P1: 7}, 0) == {P0: 0, P1: 0}
    assert await replay.turn(past, 1, {P0: 3, P1: 9}, 0) == {}
    assert await replay.turn(past, 2, {P0: 7, P1: 9}, 0) == {P0: 0}, "the other one was read"
    await replay.turn(past, 2, {P0: 9, P1: 9}, 0)
    assert replay.done
    assert replay.read == {0, 1}


async def test_partitions_of_other_sinks_are_theirs_to_read() -> None:
    """All is done once Redis has every partition, ours or not; one that comes to us counts."""
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset())
    await replay.turn(past, 1, {P0: 7}, 0)
    await replay.turn(past, 1, {P0: 9}, 0)
    assert (replay.done, replay.read) == (False, {0})
    replay.told(frozenset({0, 1}))
    assert (replay.done, replay.read) == (True, {0})
    assert await replay.turn(past, 2, {P0: 9, P1: 7}, 0) == {}
    assert replay.read == {0, 1}


async def test_a_redis_that_was_filled_before_there_were_notes_has_all() -> None:
    """Nothing is read again, now or at a later assignment."""
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset(), all_held=True)
    assert await replay.turn(past, 1, {P0: 7}, 0) == {}
    assert await replay.turn(past, 2, {P0: 7, P1: 7}, 0) == {}
    assert replay.done


async def test_redis_may_go_while_ends_are_asked_for() -> None:
    """Then it is asked for again, by what the next one has."""
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset())

    async def gone() -> Mapping[Partition, int]:
        replay.begin(frozenset({0}))
        return {P0: 9}

    with patch.object(past, "ends", gone):
        assert await replay.turn(past, 1, {P0: 7}, 0) == {}
    assert await replay.turn(past, 1, {P0: 7}, 0) == {}
    assert replay.read == {0}


async def test_a_partition_may_leave_between_two_questions() -> None:
    """Its new reader reads it again. The sink ended with a KeyError (seed 110014714)."""
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset())

    async def without_the_other(at_ms: int) -> Mapping[Partition, int]:
        del at_ms
        return {P0: 0}

    with patch.object(past, "positions_at", without_the_other):
        assert await replay.turn(past, 1, {P0: 7, P1: 7}, 0) == {P0: 0}


async def test_an_end_behind_the_last_record_is_reached_too() -> None:
    """Transactions leave markers at the end, which no record's position passes."""
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset({1}))
    await replay.turn(past, 1, {P0: 7}, 0)
    past.handed_out[P0] = 9
    await replay.turn(past, 1, {P0: 8}, 0)
    before = replay.done
    await replay.turn(past, 1, {P0: 8}, 1)
    assert (before, replay.done) == (False, True)


async def test_a_partition_whose_broker_is_silent_is_not_read_yet() -> None:
    """However long nothing comes: other brokers answer, and proxies would miss its keys.

    Seed 20011026: `bl:meta` said that all keys are there.
    """
    replay, past = DecisionReplay(60), _Past(end=9)
    replay.begin(frozenset())
    assert await replay.turn(past, 1, {P0: 7, P1: 7}, 0) == {P0: 0, P1: 0}
    past.handed_out |= {P0: 9, P1: 0}
    for idle in range(1, 100):
        await replay.turn(past, 1, {P0: 8, P1: 0}, idle)
    assert (replay.read, replay.done) == ({0}, False)
    past.handed_out[P1] = 9
    await replay.turn(past, 1, {P0: 8, P1: 8}, 1)
    assert replay.done


async def test_going_back_moves_the_positions_that_are_committed() -> None:
    """A position that is read once more is committed on the way, so a crash continues there."""
    source = FakeSource([[(P0, 0), (P0, 1)], [(P0, 2)]])
    end = _End(source)
    asked: list[Mapping[Partition, int]] = []

    async def back(
        epoch: int, delivered: Mapping[Partition, int], idle: int
    ) -> Mapping[Partition, int]:
        del epoch, idle
        asked.append(dict(delivered))
        return {P0: 1} if delivered.get(P0) == 2 and len(end.got) == 2 else {}

    source.commit = _noted(source)  # type: ignore[method-assign]
    await _pump(source, end, back=back).run()
    assert end.got == [b"0/0", b"0/1", b"0/1", b"0/2"]


def _noted(source: FakeSource):
    async def commit(positions: Mapping[Partition, int]) -> None:
        source.committed.update(positions)

    return commit


def test_a_long_delivery_does_not_lose_its_partitions() -> None:
    """Kafka's default takes them after 5 minutes without a question for records: an endpoint that
    is down would be tried from the beginning for ever. An event is given up well before.
    """
    settings = load([], {})
    longest_s = settings.calls.decisions_source("crm", "latest").poll_interval_ms / 1000
    hints = get_type_hints(EndpointSection, include_extras=True)
    assert hints["give_up_s"].__metadata__[0].most < longest_s < 2**31 / 1000
