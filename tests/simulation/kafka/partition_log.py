"""One partition's log: batches, what idempotence needs to know, and transactions in it.

After Kafka's `UnifiedLog` and `ProducerStateManager`, as far as clients can tell them apart.
"""

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from crc32c import crc32c

from tests.simulation.kafka.errors import Code
from tests.support.record_batches import COMMIT, TRANSACTIONAL, marker, sealed

# Base offset, length, leader epoch, magic, crc, attributes, last delta, first and last time,
# producer id, producer epoch, base sequence, count.
_HEAD = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM = 21
_SEQUENCES = 2**31
_KEPT = 5
"""Batches of a producer that a broker remembers: as many as a client may have on their way."""


class Batch(NamedTuple):
    """One batch of a log, with its offsets."""

    first: int
    last: int
    content: bytes
    time_ms: int
    producer: int
    control: bool


@dataclass
class _Producer:
    epoch: int
    recent: "deque[tuple[int, int, int]]" = field(default_factory=lambda: deque(maxlen=_KEPT))
    """First sequence, last sequence and first offset of its last batches."""


@dataclass
class PartitionLog:
    """The log of one partition. All replicas have the same: what one lacks is not acknowledged."""

    start: int = 0
    batches: list[Batch] = field(default_factory=list)
    producers: dict[int, _Producer] = field(default_factory=dict)
    open: dict[int, int] = field(default_factory=dict)
    """First offset of each transaction that has not ended, by producer id."""
    aborted: list[tuple[int, int, int]] = field(default_factory=list)
    """Producer id, first offset and marker's offset of transactions that were aborted."""

    @property
    def end(self) -> int:
        """The offset after the last record; the high water mark too."""
        return self.batches[-1].last + 1 if self.batches else self.start

    @property
    def stable(self) -> int:
        """The last stable offset: what lies from there on is not decided."""
        return min((self.end, *self.open.values())) if self.open else self.end

    def append(self, content: bytes) -> tuple[Code, int]:
        """Append what a producer sent, once; return its first offset."""
        if len(content) < _HEAD.size:
            return Code.CORRUPT_MESSAGE, -1
        head = _HEAD.unpack_from(content)
        _, length, _, magic, crc, attributes, delta, _, last_ms, producer, epoch, sequence, _ = head
        whole = length == len(content) - 12 and magic == 2
        if not whole or crc != crc32c(content[_CRC_FROM:]):
            return Code.CORRUPT_MESSAGE, -1
        if producer >= 0:
            code, known = self._judge(producer, epoch, sequence, delta)
            if code or known >= 0:
                return code, known
        first = self._add(content, delta, last_ms, producer, control=False)
        if producer >= 0:
            last = (sequence + delta) % _SEQUENCES
            self.producers[producer].recent.append((sequence, last, first))
        if attributes & TRANSACTIONAL:
            self.open.setdefault(producer, first)
        return Code.NONE, first

    def is_fenced(self, producer: int, epoch: int) -> bool:
        """Return whether a later epoch of the producer is known."""
        state = self.producers.get(producer)
        return state is not None and epoch < state.epoch

    def _judge(self, producer: int, epoch: int, sequence: int, delta: int) -> tuple[Code, int]:
        """Return what is wrong with a batch of an idempotent producer, or where it lies already."""
        state = self.producers.get(producer)
        if state is None or epoch > state.epoch:
            if state is not None and sequence != 0:
                return Code.OUT_OF_ORDER_SEQUENCE, -1
            self.producers[producer] = _Producer(epoch)
            return Code.NONE, -1
        if epoch < state.epoch:
            return Code.INVALID_PRODUCER_EPOCH, -1
        last = (sequence + delta) % _SEQUENCES
        for known_first, known_last, offset in state.recent:
            if (known_first, known_last) == (sequence, last):
                return Code.NONE, offset
        due = (state.recent[-1][1] + 1) % _SEQUENCES if state.recent else 0
        return (Code.NONE if sequence == due else Code.OUT_OF_ORDER_SEQUENCE), -1

    def mark(self, producer: int, epoch: int, kind: int) -> None:
        """End a producer's transaction here with a control record; later epochs may go on."""
        content = marker(0, producer, kind)
        offset = self._add(content, 0, 0, producer, control=True)
        first = self.open.pop(producer, None)
        if kind != COMMIT and first is not None:
            self.aborted.append((producer, first, offset))
        state = self.producers.get(producer)
        if state is None or epoch > state.epoch:
            self.producers[producer] = _Producer(epoch)

    def _add(
        self, content: bytes, delta: int, time_ms: int, producer: int, *, control: bool
    ) -> int:
        first = self.end
        content = struct.pack(">q", first) + content[8:] if not control else sealed(content, first)
        self.batches.append(Batch(first, first + delta, content, time_ms, producer, control))
        return first

    def read(self, offset: int, room: int, *, committed: bool, whole_first: bool) -> bytes:
        """Return batches from the one with `offset` on, at most `room` bytes of them."""
        limit = self.stable if committed else self.end
        found: list[bytes] = []
        for batch in self._from(offset):
            if batch.first >= limit:
                break
            if len(batch.content) > room and (found or not whole_first):
                break
            found.append(batch.content)
            room -= len(batch.content)
        return b"".join(found)

    def _from(self, offset: int) -> list[Batch]:
        low, high = 0, len(self.batches)
        while low < high:
            middle = (low + high) // 2
            if self.batches[middle].last < offset:
                low = middle + 1
            else:
                high = middle
        return self.batches[low:]

    def aborted_in(self, first: int, beyond: int) -> list[tuple[int, int]]:
        """Return the aborted transactions that reach into a stretch: producer and first offset."""
        return [
            (producer, begun)
            for producer, begun, ended in self.aborted
            if begun < beyond and ended >= first
        ]

    def at_time(self, time_ms: int) -> tuple[int, int]:
        """Return offset and time of the first batch that is not older; (-1, -1): there is none."""
        for batch in self.batches:
            if not batch.control and batch.time_ms >= time_ms:
                return batch.first, batch.time_ms
        return -1, -1

    def truncate(self, offset: int) -> None:
        """Lose what lies from `offset` on: a replica leads that never had it."""
        self.batches = [batch for batch in self.batches if batch.last < offset]
        self.open = {producer: first for producer, first in self.open.items() if first < offset}
        self.aborted = [one for one in self.aborted if one[2] < offset]
        self.producers.clear()

    def forget_before(self, offset: int) -> None:
        """Delete what lies before `offset`, as retention does."""
        self.batches = [batch for batch in self.batches if batch.first >= offset]
        self.start = min(max(self.start, offset), self.end) if self.batches else offset
