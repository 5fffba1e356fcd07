"""Short ring bursts: one number, many short calls in a while (Wangiri, robots that look for lines).

The one rule with a memory. A number breaks it with a call at whose time (Kafka's, of its record) it
has had `calls` calls of at most `call_s_max` seconds within the last `window_s`, and with every
call, attempts too, while that is so. A call counts once however many records it has, by its id.
Only ended calls with a duration are short; of an attempt nobody knows yet.

Two steps, so that innocent callers cost nothing one by one. All calls are counted by a hash of
their number, in columns: what has called fewer than `WATCHED_FROM` times lately is done. Only the
others' records are read for their duration, and remembered by the number itself. Counts that
collide only let a number be watched too early; it is never blocked for another's calls. What a
number did before it was watched is not counted: up to `WATCHED_FROM - 1` short calls more are
needed.

Bounded, for each of `PARTITIONS_MAX` partitions: `_CELLS` counters twice (2 MB) and `CALLS_MAX`
calls remembered, the quietest number's go first. A restart and a rebalance begin with nothing: the
next worker sees a burst when it has seen all of it itself. So what is forgotten lets calls pass;
nothing old ever blocks, since only calls within the window of the call at hand count. Pure.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch, Partition
from stream.core.call import Stage
from stream.core.rules import BurstSettings

WATCHED_FROM: Final = 3
"""Calls in the window, of any length, from which on a number's calls are looked at."""
CALLS_MAX: Final = 131_072
"""Of one partition: 15 MB with 30 calls a number."""
PARTITIONS_MAX: Final = 64
_CELLS: Final = 1 << 18
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT: Final = np.uint64(64 - 18)


@dataclass(slots=True, eq=False)
class _Memory:
    """One partition: how often numbers called, by hash, and the short calls of those watched.

    `recent` counts the window that began at `since_ms`, `before` the one before it. `short` has by
    number, the quietest first, its last short calls: hash of the call's id -> when.
    """

    since_ms: int
    recent: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(_CELLS, np.uint32))
    before: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(_CELLS, np.uint32))
    short: OrderedDict[bytes, dict[int, int]] = field(default_factory=OrderedDict)
    held: int = 0

    def counted(self, cells: NDArray[np.uint64], at_ms: int, window_ms: float) -> NDArray[np.bool_]:
        """Count a call in each of `cells`; which have now enough to be watched."""
        if at_ms - self.since_ms >= window_ms:
            self.before, self.recent = self.recent, self.before
            self.recent[:] = 0
            if at_ms - self.since_ms >= 2 * window_ms:
                self.before[:] = 0
            self.since_ms = at_ms
        np.add.at(self.recent, cells, np.uint32(1))
        found: NDArray[np.bool_] = self.recent[cells] + self.before[cells] >= WATCHED_FROM
        return found


class Bursts:
    """The short calls that each partition's numbers made lately. Used by one worker alone."""

    def __init__(self, settings: BurstSettings, topics: Collection[str]) -> None:
        """Calls of `topics` count; of others, as of questions about a call, nothing is said."""
        self._settings = settings
        self._topics = frozenset(topics)
        self._window_ms = settings.window_s * 1000
        self._memories: OrderedDict[Partition, _Memory] = OrderedDict()
        self.forgotten = 0
        """Numbers forgotten within the window, being too many; whoever counts them sets it to 0."""

    def look(self, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `calls` (ascending, their callers E.164) whose number is in a burst."""
        found: list[int] = []
        rows = batch.rows[calls]
        for segment in batch.raw.segments:
            first, last = np.searchsorted(rows, [segment.start, segment.stop])
            if first < last and segment.partition.topic in self._topics:
                found += self._of_partition(segment.partition, batch, calls[first:last])
        return np.array(found, np.int64)

    def _of_partition(
        self, partition: Partition, batch: CallBatch, calls: NDArray[np.int64]
    ) -> list[int]:
        times_ms = batch.raw.timestamps_ms[batch.rows[calls]]
        at_ms = int(times_ms.max())
        memory = self._memories.get(partition)
        if memory is None:
            memory = self._memories[partition] = _Memory(at_ms)
            if len(self._memories) > PARTITIONS_MAX:
                self._memories.popitem(last=False)
        self._memories.move_to_end(partition)
        callers = np.ascontiguousarray(batch.callers.e164[calls], "S16")
        halves = callers.view("<u8").reshape(-1, 2)
        cells = (((halves[:, 0] * _ODD) ^ halves[:, 1]) * _MIX) >> _SHIFT
        watched = np.flatnonzero(memory.counted(cells, at_ms, self._window_ms))
        return [
            call
            for call, number, time_ms in zip(
                calls[watched].tolist(),
                callers[watched].tolist(),
                times_ms[watched].tolist(),
                strict=True,
            )
            if self._bursts(memory, batch, call, number, time_ms)
        ]

    def _bursts(
        self, memory: _Memory, batch: CallBatch, call: int, number: bytes, at_ms: int
    ) -> bool:
        """Remember `call` of `number`; whether there are too many short ones by now."""
        whole = batch.call_of(call)
        seconds = whole.duration_s
        short = memory.short.get(number)
        if (
            whole.stage is Stage.END
            and seconds is not None
            and seconds <= self._settings.call_s_max
        ):
            if short is None:
                short = memory.short[number] = {}
            memory.short.move_to_end(number)
            memory.held += self._put(short, hash(whole.call_id), at_ms)
            self._forget(memory, at_ms)
        if short is None or len(short) < self._settings.calls:
            return False
        return all(abs(at_ms - then_ms) < self._window_ms for then_ms in short.values())

    def _put(self, short: dict[int, int], call: int, at_ms: int) -> int:
        """Remember a call as the last one; how many more are held than before."""
        size = len(short)
        before_ms = short.pop(call, at_ms)
        short[call] = max(at_ms, before_ms)
        if len(short) > self._settings.calls:
            del short[next(iter(short))]
        return len(short) - size

    def _forget(self, memory: _Memory, at_ms: int) -> None:
        """Let the quietest numbers go: those beyond the window, and beyond what may be held."""
        while len(memory.short) > 1:
            number, short = next(iter(memory.short.items()))
            is_old = at_ms - next(reversed(short.values())) >= self._window_ms
            if not is_old and memory.held <= CALLS_MAX:
                break
            self.forgotten += not is_old
            memory.held -= len(short)
            del memory.short[number]
