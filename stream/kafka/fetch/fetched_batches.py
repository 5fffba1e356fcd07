"""Answers become batches of records, piece by piece; what cannot be read is judged here.

A piece is as much of one answer as is worked on at once: large enough that a batch is worth its
fixed costs, small enough that its bytes are still near when the next step looks at them.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.call_events import Event
from stream.kafka.fetch.broker import Broker, Fetched
from stream.kafka.fetch.connection import Buffer
from stream.kafka.fetch.partition_state import Reading, State
from stream.kafka.record_batches import Corrupt, OldFormat, Records, Room, TooLarge, read_records

log = logging.getLogger(__name__)

PIECE_BYTES = 2 * 1024 * 1024
DAMAGES_MAX = 3
"""How often a damaged batch is fetched again: perhaps it was damaged on its way alone."""


class Judge(Protocol):
    """Who can do what a piece cannot."""

    def to_ordinary(self, reading: Reading, why: str) -> None:
        """From now on aiokafka reads the partition."""
        ...


@dataclass(slots=True)
class _Waiting:
    """An answer that is not wholly read. `moves`: whether it brought any partition further."""

    broker: Broker
    buffer: Buffer
    parts: deque[Fetched]
    moves: bool


@dataclass(slots=True)
class _Piece:
    """Records that were read, of which the first `given` rows were handed out.

    `ends[i]` is the row after the last of `readings[i]`.
    """

    records: Records
    readings: list[Reading]
    ends: list[int]
    given: int = 0

    @property
    def rows(self) -> int:
        """How many there are in all."""
        return self.ends[-1] if self.ends else 0


class FetchedBatches:
    """The answers that wait, and the piece that is being handed out."""

    def __init__(
        self, judge: Judge, room_bytes_max: int, skip: bool, observe: Callable[[Event], None]
    ) -> None:
        """`skip`: a batch that cannot be right is passed over, else its partition is stopped."""
        self._judge = judge
        self._skip = skip
        self._observe = observe
        self._room = Room(room_bytes_max)
        self._waiting: deque[_Waiting] = deque()
        self._piece: _Piece | None = None

    def add(self, broker: Broker, buffer: Buffer, parts: list[Fetched]) -> None:
        """An answer came."""
        moves = any(one.beyond > one.stretch.offset for one in parts)
        self._waiting.append(_Waiting(broker, buffer, deque(parts), moves))

    def next(self, records_max: int, epoch: int, now_s: float) -> RawBatch | None:
        """The next records, None if there are none.

        What the last batch's values lay in may be received into from now on.
        """
        while True:
            piece = self._piece
            if piece is None or piece.given == piece.rows:
                piece = self._piece = self._read_on(now_s)
                if piece is None:
                    return None
            batch = _rows(piece, records_max, epoch)
            if len(batch):
                return batch

    @property
    def begun(self) -> bool:
        """Whether records that were read have not been handed out yet."""
        return self._piece is not None and self._piece.given < self._piece.rows

    def unread(self) -> dict[Partition, int]:
        """Forget what was read and not handed out: where each of its partitions would go on."""
        piece, self._piece = self._piece, None
        positions: dict[Partition, int] = {}
        start = 0
        for reading, end in zip(*(piece.readings, piece.ends) if piece else ((), ()), strict=True):
            first = max(start, piece.given if piece else 0)
            if piece and first < end:
                positions[reading.partition] = int(piece.records.offsets[first])
            start = end
        return positions

    def first_unread(self, partition: Partition) -> int | None:
        """The first offset of a partition that was read and not handed out; None: there is none."""
        piece, start = self._piece, 0
        for reading, end in zip(*(piece.readings, piece.ends) if piece else ((), ()), strict=True):
            first = max(start, piece.given if piece else 0)
            if piece and first < end and reading.partition == partition:
                return int(piece.records.offsets[first])
            start = end
        return None

    def drop(self) -> None:
        """An assignment ended: nothing that waits counts any more."""
        self._piece = None
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.broker.let_go(waiting.buffer)

    def _read_on(self, now_s: float) -> _Piece | None:
        while self._waiting:
            waiting = self._waiting[0]
            group = _group(waiting.parts)
            if group:
                return self._read(waiting, group, now_s)
            self._waiting.popleft()
            # Before the next answer is worked on: so the broker works meanwhile.
            waiting.broker.let_go(waiting.buffer)
        return None

    def _read(self, waiting: _Waiting, group: list[Fetched], now_s: float) -> _Piece:
        stretches = [one.stretch for one in group]
        records = read_records(waiting.buffer.data, stretches, self._room)
        ends, rows = [], 0
        for index, one in enumerate(group):
            rows += records.counts[index]
            ends.append(rows)
            one.reading.position = records.next_offsets[index]
            fault = records.faults[index]
            if fault is not None:
                self._judge_fault(one.reading, fault, now_s)
            elif records.rest[index] is None:
                _settle(one)
                if not waiting.moves:
                    one.reading.back_off(now_s)
        for rest, one in zip(reversed(records.rest), reversed(group), strict=True):
            if rest is not None:
                waiting.parts.appendleft(one._replace(stretch=rest))
        return _Piece(records, [one.reading for one in group], ends)

    def _judge_fault(
        self, reading: Reading, fault: Corrupt | OldFormat | TooLarge, now_s: float
    ) -> None:
        if isinstance(fault, OldFormat):
            why = f"offset {fault.offset} has message format {fault.magic}"
            self._judge.to_ordinary(reading, why)
        elif isinstance(fault, TooLarge):
            self.refuse(reading, fault.offset, f"it unpacks to {fault.bytes} bytes", fault.beyond)
        else:
            self._damaged(reading, fault, now_s)

    def damaged(self, reading: Reading, what: str, now_s: float) -> None:
        """The broker itself says so."""
        position = reading.position
        self._damaged(reading, Corrupt(position, what, position + 1), now_s)

    def _damaged(self, reading: Reading, fault: Corrupt, now_s: float) -> None:
        reading.move(reading.position)
        reading.damages += 1
        if reading.damages > DAMAGES_MAX:
            self.refuse(reading, fault.offset, fault.what, fault.beyond)
            return
        text = "%s: the batch at offset %d is damaged (%s); it is fetched again"
        log.warning(text, reading, fault.offset, fault.what)
        reading.back_off(now_s)

    def refuse(self, reading: Reading, offset: int, what: str, beyond: int) -> None:
        """A batch cannot be read, now or later: pass over it or stop, as the settings say."""
        if self._skip:
            log.error("%s: the batch at offset %d is skipped: %s", reading, offset, what)
            self._observe(Event.BATCH_SKIPPED)
            reading.move(beyond)
            return
        log.error(
            "%s: reading stopped at offset %d: %s. Its calls are not decided until the worker is "
            'restarted; calls.corrupt_batches = "skip" passes over such batches',
            reading,
            offset,
            what,
        )
        self._observe(Event.PARTITION_STOPPED)
        reading.state = State.STOPPED


def _settle(one: Fetched) -> None:
    """A stretch was read to its end."""
    reading = one.reading
    # If not, it was cut short behind others' records, and its turn is before theirs next time.
    if reading.position > one.stretch.offset:
        reading.went_well()
    if reading.position != one.beyond or reading.state is State.UNJUDGED:
        reading.move(reading.position)


def _group(parts: deque[Fetched]) -> list[Fetched]:
    """What is read at once, without what was sought elsewhere since it was fetched."""
    group: list[Fetched] = []
    size = 0
    while parts:
        reading, stretch, _ = one = parts[0]
        size += stretch.stop - stretch.start
        if group and size > PIECE_BYTES:
            break
        parts.popleft()
        counts = reading.state in (State.READ, State.UNJUDGED)
        if counts and reading.position == stretch.offset:
            group.append(one)
        elif counts and stretch.offset < reading.position < one.beyond:
            # After a seek an answer from before it was read first and ended amid this one, which
            # goes: what lies behind has to be asked for again, or it would never come.
            reading.move(reading.position)
    return group


def _rows(piece: _Piece, records_max: int, epoch: int) -> RawBatch:
    """The next rows of a piece, as a batch."""
    start, stop = piece.given, min(piece.given + records_max, piece.rows)
    piece.given = stop
    segments = []
    begin = 0
    for reading, end in zip(piece.readings, piece.ends, strict=True):
        first, last = max(begin, start), min(end, stop)
        if first < last:
            segments.append(Segment(reading.partition, first - start, last - start))
        begin = end
    records = piece.records
    return RawBatch(
        values=records.values[start:stop],
        offsets=records.offsets[start:stop],
        timestamps_ms=records.timestamps_ms[start:stop],
        segments=tuple(segments),
        epoch=epoch,
        headers_follow=True,
    )
