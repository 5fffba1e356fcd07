"""Short ring bursts: one number, many short calls in a while (Wangiri, robots that look for lines).

The one rule with a memory. A number breaks it once it has had `calls` calls of at most `call_s_max`
seconds within the last `window_s`. While that is so, every call breaks it, attempts too. Only ended
calls with a duration are short; of an attempt nobody knows yet.

Times are Kafka's, of the records, as a switch's clock may be wrong. But files bring the calls of an
hour at once: where records themselves say that the calls began further apart, they are no burst.

A call counts once, however many records it has: they share its id. But a SIP caller chooses the id
(Call-ID, RFC 3261, 8.1.1.4) and may give one to all its calls. So an id from the caller stands for
one call only while its records can be legs of one: at most `LEGS_MAX`, which overlap in time. What
is more is another call. A switch's own ids are trusted. A call that waits in a queue has hundreds
of short legs, and its caller must not be stopped for them.

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

from stream.calls.call_batch import CallBatch
from stream.core.model.call import Stage
from stream.core.policy.rules import BurstSettings
from stream.kafka.batch import Partition

WATCHED_FROM: Final = 3
"""Calls in the window, of any length, from which on a number's calls are looked at."""
CALLS_MAX: Final = 131_072
"""Of one partition: 15 MB with 30 calls a number."""
PARTITIONS_MAX: Final = 64
"""That were read last, of one worker."""
LEGS_MAX: Final = 4
"""Ended records of one call whose id came from its caller: the legs of a fork, a CDR sent twice. A
call to a group of 40 telephones counts as ten. With more a flood under one id would count too few:
200 calls must reach the default of 30."""
OVERLAP_MS: Final = 1000
"""Legs may be so far apart: most switches write whole seconds."""
_CELLS: Final = 1 << 18
"""Counters of a partition and a window, 1 MB: few callers of a window share one."""
# Multiplicative hashing (Knuth's golden ratio, then MurmurHash3's finaliser); the highest bits are
# the best mixed ones, so they are the cell. Callers choose their numbers, but a collision is
# harmless: it only lets a number be watched.
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT: Final = np.uint64(64 - 18)


@dataclass(slots=True, eq=False)
class _Short:
    """A short call: the hash of its id, and Kafka's time of its last record.

    `from_ms` to `to_ms` its first leg lasted; `told`: its record says when. `records` are the
    offsets of its ended ones, of which a batch that is read again after an aborted transaction has
    the same.
    """

    call: int
    at_ms: int
    from_ms: int
    to_ms: int
    told: bool
    records: list[int]

    def takes(self, leg: "_Short") -> bool:
        """Return whether `leg` can belong to this call, whose id came from the caller.

        Compared with the first leg alone: else calls that follow each other closely would be a
        chain without an end.
        """
        return (
            len(self.records) < LEGS_MAX
            and leg.from_ms < self.to_ms + OVERLAP_MS
            and self.from_ms < leg.to_ms + OVERLAP_MS
        )

    def add(self, leg: "_Short") -> None:
        """Count `leg` in."""
        self.at_ms = max(self.at_ms, leg.at_ms)
        if len(self.records) < LEGS_MAX:  # the ids of a switch need no more
            self.records += leg.records


@dataclass(slots=True, eq=False)
class _Memory:
    """One partition: how often numbers called, by hash, and the short calls of those watched.

    `recent` counts the window that began at `since_ms`, `before` the one before it. `short` has by
    number, the quietest first, its last short calls, the newest last.
    """

    since_ms: int
    recent: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(_CELLS, np.uint32))
    before: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(_CELLS, np.uint32))
    short: OrderedDict[bytes, list[_Short]] = field(default_factory=OrderedDict)
    held: int = 0

    def counted(self, cells: NDArray[np.uint64], at_ms: int, window_ms: float) -> NDArray[np.bool_]:
        """Count a call in each of `cells`; return which have now enough to be watched."""
        # Two windows, so that a burst over the change of one is counted whole. Swapped and not made
        # again: 1 MB a partition would be asked of the system each minute.
        # Both ways: behind a record from the future all numbers would be watched until then.
        moved_ms = abs(at_ms - self.since_ms)
        if moved_ms >= window_ms:
            self.before, self.recent = self.recent, self.before
            self.recent[:] = 0
            if moved_ms >= 2 * window_ms:
                self.before[:] = 0
            self.since_ms = at_ms
        np.add.at(self.recent, cells, np.uint32(1))
        found: NDArray[np.bool_] = self.recent[cells] + self.before[cells] >= WATCHED_FROM
        return found


class Bursts:
    """The short calls that each partition's numbers made lately. Used by one worker alone."""

    def __init__(
        self, settings: BurstSettings, topics: Collection[str], switch_ids: Collection[str] = ()
    ) -> None:
        """Calls of `topics` count; of others, as of questions about a call, nothing is said.

        In `switch_ids` are those whose call ids the switch makes itself.
        """
        self._settings = settings
        self._topics = frozenset(topics)
        self._switch_ids = frozenset(switch_ids)
        self._window_ms = settings.window_s * 1000
        self._memories: OrderedDict[Partition, _Memory] = OrderedDict()
        self.forgotten = 0
        """Numbers forgotten within the window, being too many; `decide` counts them, and sets 0."""

    def look(self, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of `calls` (ascending, their callers E.164) whose number is in a burst."""
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
        believed = partition.topic in self._switch_ids
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
            if self._bursts(memory, number, self._short(batch, call, time_ms), time_ms, believed)
        ]

    def _bursts(
        self, memory: _Memory, number: bytes, leg: _Short | None, at_ms: int, believed: bool
    ) -> bool:
        """Remember a short call of `number`; return whether there are too many by now.

        `believed`: its id is the switch's own.
        """
        short = memory.short.get(number)
        if leg is not None:
            if short is None:
                short = memory.short[number] = []
            memory.short.move_to_end(number)
            memory.held += self._put(short, leg, believed)
            self._forget(memory, at_ms)
        if short is None or len(short) < self._settings.calls:
            return False
        if not all(abs(at_ms - one.at_ms) < self._window_ms for one in short):
            return False
        began_ms = [one.from_ms for one in short if one.told]
        return not began_ms or max(began_ms) - min(began_ms) < self._window_ms

    def _put(self, short: list[_Short], leg: _Short, believed: bool) -> int:
        """Remember a call as the last one; return how many more are held than before."""
        same = [one for one in short if one.call == leg.call]
        if any(leg.records[0] in one.records for one in same):
            return 0
        if same and (believed or same[-1].takes(leg)):
            same[-1].add(leg)
            short.remove(same[-1])
            short.append(same[-1])
            return 0
        short.append(leg)
        if len(short) > self._settings.calls:
            del short[0]
            return 0
        return 1

    def _short(self, batch: CallBatch, call: int, at_ms: int) -> _Short | None:
        """Read a call that has ended and was short; None: it is none, or its length is unknown."""
        whole = batch.call_of(call)
        seconds = whole.duration_s
        if whole.stage is not Stage.END or seconds is None or seconds > self._settings.call_s_max:
            return None
        lasted_ms = round(seconds * 1000)
        # Where the record does not say when the call began, it was written at its end.
        began_s = whole.started_at_s
        from_ms = at_ms - lasted_ms if began_s is None else round(began_s * 1000)
        offset = int(batch.raw.offsets[batch.rows[call]])
        call_id, to_ms = hash(whole.call_id), from_ms + lasted_ms
        return _Short(call_id, at_ms, from_ms, to_ms, began_s is not None, [offset])

    def _forget(self, memory: _Memory, at_ms: int) -> None:
        """Let the quietest numbers go: those beyond the window, and beyond what may be held."""
        while len(memory.short) > 1:
            number, short = next(iter(memory.short.items()))
            is_old = at_ms - short[-1].at_ms >= self._window_ms
            if not is_old and memory.held <= CALLS_MAX:
                break
            self.forgotten += not is_old
            memory.held -= len(short)
            del memory.short[number]
