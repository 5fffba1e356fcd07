"""Answers that wait, and the record batches in them, read as columns a group at a time.

A group is the part of one answer that is processed together. It is large enough that a batch is
worth its fixed costs, and small enough that its bytes are still in cache at the next step.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.fetch.partition_state import PartitionState, PartitionStatus
from stream.kafka.record_batches import Fault, Records, Room, Stretch, read_records

GROUP_BYTES = 2 * 1024 * 1024
"""Thousands of calls, and still in a processor's cache."""


class FetchedPart(NamedTuple):
    """Bytes that came for a partition, and the offset that they seem to reach to."""

    state: PartitionState
    stretch: Stretch
    beyond: int


class FetchedAnswer(NamedTuple):
    """An answer that is not wholly read, in a buffer that `release` gives back to its broker."""

    data: NDArray[np.uint8]
    parts: deque[FetchedPart]
    moves: bool
    """True if it brings any partition further."""
    release: Callable[[], None]


@dataclass(slots=True)
class _Group:
    """Records that were read, of which the first `given` rows were handed out.

    `ends[i]` is the row after the last of `states[i]`.
    """

    records: Records
    states: Sequence[PartitionState]
    ends: Sequence[int]
    given: int = 0

    @property
    def left(self) -> int:
        """Number of rows that were not handed out."""
        return self.ends[-1] - self.given if self.ends else 0

    def segments(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield whose the rows from `start` until before `stop` are, counted from `start`."""
        begin = 0
        for state, end in zip(self.states, self.ends, strict=True):
            first, last = max(begin, start), min(end, stop)
            if first < last:
                yield Segment(state.partition, first - start, last - start)
            begin = end


class FetchedBatches:
    """The answers that wait, oldest first, and the group that is being handed out."""

    def __init__(
        self, on_fault: Callable[[PartitionState, Fault], None], room_bytes_max: int
    ) -> None:
        """`on_fault` gets the batch that cannot be read, and says how the partition goes on."""
        self._on_fault = on_fault
        self._room = Room(room_bytes_max)
        self._answers: deque[FetchedAnswer] = deque()
        self._group: _Group | None = None
        self._arrival: asyncio.Future[None] | None = None

    def add(
        self, data: NDArray[np.uint8], parts: list[FetchedPart], release: Callable[[], None]
    ) -> None:
        """Take an answer of a broker; its buffer is ours until it is released."""
        moves = any(one.beyond > one.stretch.offset for one in parts)
        self._answers.append(FetchedAnswer(data, deque(parts), moves, release))
        self.wake()

    async def wait(self, wait_s: float) -> None:
        """Wait for an answer, for `wake`, or for that long."""
        # A future and a timer, no `wait_for`: Python 3.11 makes a task for that, and this is once a
        # batch. A wait that is cancelled loses nothing, as answers lie in `_answers`.
        loop = asyncio.get_running_loop()
        arrival = self._arrival = loop.create_future()
        timer = loop.call_later(wait_s, self.wake)
        try:
            await arrival
        finally:
            timer.cancel()
            self._arrival = None

    def wake(self) -> None:
        """End a wait."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def next(self, records_max: int, epoch: int, now_s: float) -> RawBatch | None:
        """Return the next records, None if there are none.

        What the last batch's values lay in may be received into from now on.
        """
        while not self.begun:
            self._group = self._read_on(now_s)
            if self._group is None:
                return None
        group = self._group
        assert group is not None, "it has rows left"
        start, group.given = group.given, group.given + min(records_max, group.left)
        rows, records = slice(start, group.given), group.records
        return RawBatch(
            values=records.values[rows],
            offsets=records.offsets[rows],
            timestamps_ms=records.timestamps_ms[rows],
            segments=tuple(group.segments(start, group.given)),
            epoch=epoch,
            headers_follow=True,
        )

    @property
    def begun(self) -> bool:
        """True if records that were read have not been handed out yet."""
        return self._group is not None and self._group.left > 0

    def unread(self) -> dict[Partition, int]:
        """Return the first offset of each partition that was read and not handed out."""
        group = self._group
        if group is None:
            return {}
        offsets = group.records.offsets
        segments = group.segments(group.given, group.given + group.left)
        return {one.partition: int(offsets[group.given + one.start]) for one in segments}

    def forget(self) -> None:
        """Forget what was read and not handed out."""
        self._group = None

    def drop(self) -> None:
        """Forget all: an assignment ended, and nothing that waits counts any more."""
        self.forget()
        while self._answers:
            self._answers.popleft().release()

    def _read_on(self, now_s: float) -> _Group | None:
        while self._answers:
            answer = self._answers[0]
            if parts := _due(answer.parts):
                return self._read(answer, parts, now_s)
            self._answers.popleft()
            # Before the next answer is worked on: so the broker works meanwhile.
            answer.release()
        return None

    def _read(self, answer: FetchedAnswer, parts: list[FetchedPart], now_s: float) -> _Group:
        records = read_records(answer.data, [one.stretch for one in parts], self._room)
        for index, one in enumerate(parts):
            one.state.position = records.next_offsets[index]
            # It waited while its beginning was sought, and that was asked for again. That answer
            # counts no more, nor does its error: it would have all of this read a second time.
            one.state.ask_at = max(one.state.ask_at, one.beyond)
            fault = records.faults[index]
            if fault is not None:
                self._on_fault(one.state, fault)
            elif records.rest[index] is None:
                _settle(one)
                # An answer with nothing in it comes at once again: a broker that gives only the
                # beginning of a batch would be asked in a tight loop.
                if not answer.moves:
                    one.state.back_off(now_s)
        # Backwards, since each goes to the front: they are read next, in their old order.
        for rest, one in zip(reversed(records.rest), reversed(parts), strict=True):
            if rest is not None:
                answer.parts.appendleft(one._replace(stretch=rest))
        return _Group(records, [one.state for one in parts], np.cumsum(records.counts).tolist())


def _settle(one: FetchedPart) -> None:
    """Note that a stretch was read to its end."""
    state = one.state
    # If not, it was cut short after others' records, and its turn is before theirs next time.
    if state.position > one.stretch.offset:
        state.went_well()
    if state.position != one.beyond or state.status is PartitionStatus.UNJUDGED:
        state.move(state.position)


def _due(parts: deque[FetchedPart]) -> list[FetchedPart]:
    """Take out what is read at once, without what was sought elsewhere since it was fetched."""
    due: list[FetchedPart] = []
    size = 0
    while parts:
        state, stretch, beyond = one = parts[0]
        size += stretch.stop - stretch.start
        if due and size > GROUP_BYTES:  # the first one always: it may be larger than a group
            break
        parts.popleft()
        if state.counts and state.position == stretch.offset:
            due.append(one)
        elif state.counts and stretch.offset < state.position < beyond:
            # After a seek an answer from before it was read first and ended amid this one, which
            # goes: what comes after it has to be asked for again, or it would never come.
            state.move(state.position)
    return due
