"""The loop under faults: nothing lost, nothing committed before it is acknowledged."""

import asyncio
from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.calls.loop import AcknowledgedBatch, CallsLoop
from stream.calls.settings import LoopSettings
from stream.core.model.errors import SinkDown, SourceDown
from tests.support.fakes import P0, P1, Ack, FakeSink, FakeSource, Turn, all_decided, pass_through
from tests.support.waiting import HANGS_S

IDLE, REVOKE, LOST, DOWN = Turn.IDLE, Turn.REVOKE, Turn.LOST, Turn.DOWN
OK, SLOW, NEVER, REFUSED, ABORTED = Ack.OK, Ack.SLOW, Ack.NEVER, Ack.REFUSED, Ack.ABORTED


def batch(*offsets, partition=P0):
    """Records that come together."""
    return [(partition, offset) for offset in offsets]


async def played(source, sink, *, seconds=HANGS_S, **changes):
    """Run the loop until the script has been played, and what it said it had done."""
    done: list[AcknowledgedBatch] = []
    chosen = {"records_max": 100, "wait_ms": 5, "commit_interval_ms": 1, **changes}
    loop = CallsLoop(
        source,
        pass_through,
        all_decided,
        sink,
        LoopSettings(**chosen),
        asyncio.get_running_loop().time,
        done.append,
    )
    source.ended = loop.stop
    async with asyncio.timeout(seconds):
        await loop.run()
    return done


def texts(*records):
    """Records as their values are published."""
    return Counter(f"{partition.number}/{offset}".encode() for partition, offset in records)


TABLE = {
    "one batch": ([batch(0, 1, 2)], [], 3),
    "holes in the offsets": ([batch(0, 4, 9), batch(17)], [], 18),
    "slow acknowledgements": ([batch(0), batch(1), batch(2), batch(3)], [SLOW] * 4, 4),
    "the first is slower than the second": ([batch(0), batch(1)], [SLOW, OK], 2),
    "revoked when idle": ([batch(0), IDLE, REVOKE, batch(1)], [], 2),
    "revoked with a batch on its way": ([batch(0), REVOKE, batch(1)], [SLOW], 2),
    "revoked twice": ([batch(0), REVOKE, REVOKE, batch(1)], [SLOW], 2),
    "revoked before anything": ([REVOKE, batch(0)], [], 1),
    "lost": ([batch(0), LOST, batch(1), IDLE, IDLE, batch(2)], [], 3),
    "lost with a batch on its way": ([batch(0), LOST, IDLE, batch(1), IDLE], [OK, SLOW], 2),
}


CASES = [
    pytest.param(commits, *row, id=f"{name}, {'exactly' if commits else 'at least'} once")
    for commits in (False, True)
    for name, row in TABLE.items()
    # With transactions nobody but the publisher commits, and LOST is about the source's commits.
    if not (commits and LOST in row[0])
]


@pytest.mark.parametrize(("commits", "script", "acks", "position"), CASES)
async def test_everything_is_published_and_committed(commits, script, acks, position):
    """Every record is published, and the committed position is past the last of them."""
    source = FakeSource(list(script))
    sink = FakeSink(source, list(acks), commits)
    await played(source, sink)
    expected = texts(*(one for item in script if isinstance(item, list) for one in item))
    assert expected.keys() == Counter(sink.published).keys()
    assert source.committed[P0] == position
    if LOST not in script:
        assert expected == Counter(sink.published), "published twice without a reason"


async def test_an_aborted_transaction_is_read_again_and_seen_once():
    """Aborted records, and those after them, are published once in the end."""
    source = FakeSource([batch(0), batch(1), batch(2, partition=P1), IDLE, batch(3)])
    source.script += [IDLE] * 9  # time for the last one to end, as a stop reads nothing again
    sink = FakeSink(source, [OK, ABORTED, OK, ABORTED], commits=True)
    await played(source, sink)
    assert Counter(sink.published) == texts((P0, 0), (P0, 1), (P1, 2), (P0, 3))
    assert source.committed == {P0: 4, P1: 3}


async def test_a_stop_during_a_transaction_that_is_aborted_is_a_stop(monkeypatch):
    """Aborted records are neither published nor committed: the next reader gets them."""
    source = FakeSource([batch(0), IDLE, IDLE, batch(1)])
    sink = FakeSink(source, [OK, Ack.ABORTED_LATE], commits=True)
    send = sink.send

    async def stopping(outcomes, *rest):
        ack = await send(outcomes, *rest)
        if any(b"0/1" in outcome.values for outcome in outcomes):
            source.ended()
        return ack

    monkeypatch.setattr(sink, "send", stopping)
    await played(source, sink)
    assert Counter(sink.published) == texts((P0, 0))
    assert source.committed[P0] <= 1


async def test_a_refused_record_ends_the_worker_before_its_position_is_committed():
    """A final failure stops the loop; nothing from it on is committed."""
    source = FakeSource([batch(0), batch(1), batch(2), IDLE])
    with pytest.raises(SinkDown):
        await played(source, FakeSink(source, [OK, REFUSED, OK]))
    assert source.committed[P0] <= 1


async def test_a_source_that_is_down_ends_the_worker():
    """The supervisor starts it again, from what is committed."""
    source = FakeSource([batch(0), DOWN])
    with pytest.raises(SourceDown):
        await played(source, FakeSink(source, [NEVER]))
    assert source.committed[P0] == 0


async def test_partitions_are_handed_over_in_time_without_what_is_not_acknowledged():
    """A sink that hangs costs repeats, never the group: what is acknowledged is committed."""
    source = FakeSource([batch(0), batch(1), batch(2), REVOKE, batch(3)], hand_over_s=0.1)
    sink = FakeSink(source, [OK, NEVER, OK])
    await played(source, sink)
    assert Counter(sink.published).keys() == texts(*batch(0, 1, 2, 3)).keys()
    assert source.committed[P0] == 4


async def test_a_batch_that_a_rebalance_overtook_moves_no_position():
    """Acknowledged after its assignment ended, it is left to the partition's next reader."""
    source = FakeSource([batch(0), REVOKE], hand_over_s=0.01)
    sink = FakeSink(source, [SLOW])
    await played(source, sink)
    assert Counter(sink.published) >= texts((P0, 0))


async def test_a_worker_ends_that_left_a_transaction_open():
    """The partitions go in time. Its producer could begin no other; only a new one ends this."""
    source = FakeSource([batch(0), REVOKE, batch(1)], hand_over_s=0.01)
    sink = FakeSink(source, [NEVER], commits=True)
    with pytest.raises(SinkDown, match="transaction was open"):
        await played(source, sink, records_max=1)
    assert (source.epoch, source.committed[P0]) == (2, 0)


async def test_a_group_that_gave_us_up_is_asked_before_a_transaction():
    """Records of a worker that slept belong to another: it asks first, and publishes nothing twice.

    The group refuses the question, the epoch ends, and their holder gets the records again.
    """
    source = FakeSource([LOST, batch(0, 1), batch(2), IDLE, IDLE], confirmed_s=-100.0)
    sink = FakeSink(source, commits=True)
    await played(source, sink, hold_s_max=10.0)
    assert Counter(sink.published) == texts(*batch(0, 1, 2))
    assert source.epoch == 2


async def test_batches_on_their_way_are_bounded():
    """A slow broker makes the loop wait, not memory grow."""
    source = FakeSource([batch(offset) for offset in range(12)])
    sink = FakeSink(source, [SLOW] * 12)
    await played(source, sink, in_flight_max=3)
    assert (sink.unacknowledged_max, source.committed[P0]) == (3, 12)


@pytest.mark.parametrize(("records_max", "taken_early", "together"), [(100, 0, 2), (3, 2, 2)])
async def test_nothing_is_taken_during_a_transaction_unless_there_is_a_backlog(
    records_max, taken_early, together, monkeypatch
):
    """Records that arrive meanwhile go with the next transaction, not with the one after.

    With a backlog, all that is decided meanwhile goes with it.
    """
    source = FakeSource([batch(0, 1), batch(2, 3), batch(4, 5)])
    sink = FakeSink(source, [SLOW] * 3, commits=True)
    take, early = source.next_batch, []

    async def watched(*sizes):
        raw = await take(*sizes)
        early.append(bool(len(raw) and sink.unacknowledged))
        return raw

    monkeypatch.setattr(source, "next_batch", watched)
    await played(source, sink, records_max=records_max)
    assert (sum(early), source.committed[P0]) == (taken_early, 6)
    assert sink.together_max == together
    assert Counter(sink.published) == texts(*batch(0, 1, 2, 3, 4, 5))


async def test_answers_of_several_brokers_go_in_one_transaction():
    """They come as batches of their own. A partition that comes again begins no third one."""
    source = FakeSource([batch(0), batch(0, partition=P1), batch(1), batch(2), IDLE])
    sink = FakeSink(source, [SLOW] * 2, commits=True)
    done = await played(source, sink)
    assert (sink.together_max, source.committed) == (3, {P0: 3, P1: 1})
    assert [one.calls for one in done] == [1, 1, 1, 1]


async def test_commits_are_no_more_frequent_than_asked():
    """Many batches, one interval: one commit at its start and one at the end."""
    source = FakeSource([batch(offset) for offset in range(50)])
    await played(source, FakeSink(source), commit_interval_ms=60_000)
    assert (source.commits, source.committed[P0]) == (2, 50)


async def test_what_is_acknowledged_is_told_once_and_in_order():
    """Metrics see each batch when Kafka has it."""
    source = FakeSource([batch(0, 1), batch(2)])
    done = await played(source, FakeSink(source, [SLOW, OK]))
    assert [one.calls for one in done] == [2, 1]
    assert all(one.total_s >= one.decode_s + one.decide_s >= 0 for one in done)


@pytest.mark.parametrize(
    "change", [{"records_max": 0}, {"in_flight_max": 0}, {"wait_ms": 0}, {"commit_interval_ms": 0}]
)
def test_impossible_sizes_are_refused(change):
    """A loop of nothing, or without end, is never started."""
    with pytest.raises(ValueError, match="positive"):
        LoopSettings(**{"records_max": 1, "wait_ms": 1, "commit_interval_ms": 1, **change})


steps = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=3) | st.sampled_from([IDLE, REVOKE, LOST]),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=steps,
    acks=st.lists(st.sampled_from([OK, SLOW]), max_size=8),
    commits=st.booleans(),
    records_max=st.sampled_from([1, 2, 100]),
)
def test_no_order_of_faults_loses_a_record(steps, acks, commits, records_max):
    """All is published, nothing is committed before, and all is unless a commit was refused."""
    if commits:  # LOST is about the source's commits
        steps = [step for step in steps if step is not LOST]
    script, last = [], -1
    for step in steps:
        if isinstance(step, list):
            offsets = [last + offset for offset in accumulate(step)]
            last = offsets[-1]
            script.append(batch(*offsets))
        else:
            script.append(step)
    script += [IDLE, batch(last + 1), IDLE, IDLE]
    source = FakeSource(list(script))
    sink = FakeSink(source, list(acks), commits)
    asyncio.run(played(source, sink, records_max=records_max))
    assert not commits or sink.unacknowledged_max == 1
    expected = texts(*(one for item in script if isinstance(item, list) for one in item))
    assert expected.keys() == Counter(sink.published).keys()
    assert LOST in steps or source.committed[P0] == last + 2
