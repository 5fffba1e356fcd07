"""The loop of a sink: take a batch of decisions, deliver it, commit what was delivered.

A batch is delivered for as long as it takes: an outage delays this group and loses nothing. If the
group rebalances meanwhile, the loop breaks off the delivery and commits nothing of the batch. The
partitions' next reader repeats it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from stream.calls.loop import RecordSource
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.consumer import PartitionsLost
from stream.kafka.offsets import CommitProgress
from stream.ops.clock import monotonic_s, now_ms
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

_LOOK_S = 0.05
"""Interval of the check whether to break a delivery off: Kafka waits for revoked partitions."""
STOP_S = 3.0
"""Time that a delivery under way gets after `stop`; a longer one is repeated after the restart."""

Rewind = Callable[[int, Mapping[Partition, int], int], Awaitable[Mapping[Partition, int]]]
"""(epoch, next offset of each partition, turns without a record) -> offsets to go back to."""


class SinkLoop:
    """One sink's loop. `run` it once."""

    def __init__(
        self,
        source: RecordSource,
        deliver: Callable[[RawBatch], Awaitable[None]],
        records_max: int,
        back: Rewind | None = None,
        *,
        wait_ms: int = 200,
        commit_interval_s: float = 0.5,
    ) -> None:
        """`records_max` bounds a batch. `back` is called before each. {}: read on from here."""
        self._source = source
        self._deliver = deliver
        self._records_max, self._wait_ms = records_max, wait_ms
        self._commit_interval_s = commit_interval_s
        self._back = back
        self._idle = 0
        self._stopping = False
        self._epoch = -1
        self._progress = CommitProgress({})
        self._due_s = 0.0

    def stop(self) -> None:
        """Take no more; `run` commits what was delivered and returns."""
        self._stopping = True

    async def run(self) -> None:
        """Deliver until `stop`. Raises SourceDown, after which only a restart helps."""
        while not self._stopping:
            await self._turn()
        await self._commit()

    async def _turn(self) -> None:
        if self._source.revoking:
            await self._commit()
            self._source.released()
            return
        if self._source.epoch != self._epoch:
            # Another assignment: offsets of partitions that left us must not be committed.
            self._epoch = self._source.epoch
            self._progress = CommitProgress({})
        await self._go_back()
        raw = await self._source.next_batch(self._records_max, self._wait_ms)
        self._idle = 0 if len(raw) else self._idle + 1
        if len(raw) and raw.epoch == self._epoch:
            if not self._progress.next_offsets:
                self._progress = CommitProgress(dict(self._source.starts))
            if not await self._delivered(raw):
                return
            for partition, _, stop in raw.segments:
                self._progress.advance(partition, int(raw.offsets[stop - 1]))
        elif not self._progress.next_offsets and self._source.epoch == self._epoch:
            self._progress = CommitProgress(dict(self._source.starts))
        if monotonic_s() >= self._due_s:
            self._due_s = monotonic_s() + self._commit_interval_s
            await self._commit()

    async def _go_back(self) -> None:
        if self._back is None:
            return
        back = await self._back(self._epoch, self._progress.next_offsets, self._idle)
        if back and self._source.epoch == self._epoch and not self._source.revoking:
            self._source.rewind(back)
            self._progress = CommitProgress({**self._progress.next_offsets, **back})
            self._idle = 0

    async def _delivered(self, raw: RawBatch) -> bool:
        """Return whether the batch was delivered, and not broken off."""
        # No TaskGroup: after a rebalance nobody waits for the batch. Polled, since the
        # source announces a rebalance by a flag.
        task = asyncio.ensure_future(self._deliver(raw))
        stop_at_s = float("inf")
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
                if self._stopping:
                    stop_at_s = min(stop_at_s, monotonic_s() + STOP_S)
                gone = self._source.revoking or self._source.epoch != self._epoch
                if not task.done() and (gone or monotonic_s() > stop_at_s):
                    log.warning("%d decisions are left to the next reader", len(raw))
                    return False
        finally:
            await cancelled(task)
        task.result()
        return True

    async def _commit(self) -> None:
        due = self._progress.due()
        if not due or self._source.epoch != self._epoch:
            return
        try:
            await self._source.commit(due)
        except PartitionsLost:
            return  # the source has logged it; their new reader repeats the batch
        self._progress.committed(due)


class TimedSource(Protocol):
    """A source that finds offsets by time: `kafka.consumer.KafkaSource`."""

    @property
    def partitions(self) -> int:
        """The number of partitions that there are, ours and those of others."""
        ...

    async def positions_at(self, at_ms: int) -> Mapping[Partition, int]:
        """Return each partition's first offset at or after that time. Raises SourceDown."""
        ...

    async def ends(self) -> Mapping[Partition, int]:
        """Return the end of each partition of ours. Raises SourceDown."""
        ...

    async def read_to(self, partition: Partition) -> int:
        """Return the offset up to which it was handed out; -1: it is not ours any more."""
        ...


class DecisionReplay:
    """Decisions of the last `back_s` seconds, to read again where Redis lacks their keys.

    Each sink of a group reads its own partitions again, and Redis holds for all of them which
    partitions were. After a rebalance it looks again, with the partitions of then. Older decisions
    have expired.
    """

    def __init__(self, back_s: int) -> None:
        self._back_s = back_s
        self._held: AbstractSet[int] | None = None
        """The partitions whose decisions Redis has; None: not known yet."""
        self._all_held = False
        self._left: dict[Partition, int] = {}
        """Where each partition ended that is being read again."""
        self._partitions = 0
        self._epoch = -1
        self.ours: AbstractSet[int] = frozenset()

    @property
    def done(self) -> bool:
        """Return whether Redis has the decisions of all partitions, ours and those of others."""
        return self._held is not None and 0 < self._partitions <= len(self._held)

    @property
    def read(self) -> AbstractSet[int]:
        """Our partitions whose decisions Redis has."""
        return self.ours & (self._held or frozenset())

    def begin(self, held: AbstractSet[int], *, all_held: bool = False) -> None:
        """Read all again but the partitions `held`: Redis answers, for the first time or again."""
        self._held, self._all_held, self._left, self._epoch = held, all_held, {}, -1
        self.ours = frozenset()

    def told(self, held: AbstractSet[int]) -> None:
        """Take in which partitions Redis has by now, ours and those of others."""
        self._held = self.read | held

    async def turn(
        self, source: TimedSource, epoch: int, delivered: Mapping[Partition, int], idle: int
    ) -> Mapping[Partition, int]:
        """Return offsets to go back to; {}: go on. `idle`: turns since the last record."""
        if self._held is None or not delivered:
            return {}
        if epoch != self._epoch:
            return await self._begun(source, epoch, delivered)
        for partition, end in list(self._left.items()):
            # Offsets have holes (transaction markers), so what was delivered may never come to the
            # end. After a wait without a record all that was handed out is delivered.
            handed_out = await source.read_to(partition) if idle else 0
            if self._epoch != epoch:  # Redis went and came meanwhile
                return {}
            if max(handed_out, delivered.get(partition, 0)) >= end:
                del self._left[partition]
                self._held |= {partition.number}
        return {}

    async def _begun(
        self, source: TimedSource, epoch: int, delivered: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        self._epoch, self._left, self._partitions = epoch, {}, source.partitions
        self.ours = frozenset(partition.number for partition in delivered)
        self._held = (self._held or frozenset()) | (self.ours if self._all_held else frozenset())
        missing = [partition for partition in delivered if partition.number not in self._held]
        if not missing:
            return {}
        ends = await source.ends()
        back = await source.positions_at(now_ms() - self._back_s * 1000)
        if self._epoch != epoch:  # Redis went and came meanwhile
            return {}
        # Each answer has the partitions that were ours when it was asked for: one may have left
        # us between the two.
        known = ends.keys() & back.keys()
        self._left = {partition: ends[partition] for partition in missing if partition in known}
        return {partition: back[partition] for partition in self._left}
