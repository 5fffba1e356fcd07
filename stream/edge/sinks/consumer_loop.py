"""The loop of a sink: take a batch of decisions, deliver it, commit what was delivered.

A batch is delivered for as long as it takes: an outage delays this group and loses nothing. If the
group rebalances meanwhile, the loop breaks off the delivery and commits nothing of the batch. The
partitions' next reader repeats it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
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
        # source tells of a rebalance by a flag.
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


IDLE_TURNS = 5
"""After so many empty waits at a broker that answers, the end is reached. Offsets have holes
(transaction markers), so a position may never equal the end."""
_SILENT_S = 1.0


class TimedSource(Protocol):
    """A source that finds offsets by time: `kafka.consumer.KafkaSource`."""

    @property
    def silent_s(self) -> float:
        """Seconds since a broker last answered."""
        ...

    async def positions_at(self, at_ms: int) -> Mapping[Partition, int]:
        """Return each partition's first offset at or after that time. Raises SourceDown."""
        ...

    async def ends(self) -> Mapping[Partition, int]:
        """Return the end of each partition of ours. Raises SourceDown."""
        ...


class DecisionReplay:
    """Decisions of the last `back_s` seconds, to read again after Redis lost their keys.

    Older ones have expired. After a rebalance it begins again, with the partitions of then.
    """

    def __init__(self, back_s: int) -> None:
        self._back_s = back_s
        self._wanted = False
        self._epoch = -1
        self._until: Mapping[Partition, int] = {}

    @property
    def done(self) -> bool:
        """Return whether nothing is left to be read again."""
        return not self._wanted

    def want(self) -> None:
        """Read again: keys were lost."""
        self._wanted, self._epoch = True, -1

    async def turn(
        self, source: TimedSource, epoch: int, delivered: Mapping[Partition, int], idle: int
    ) -> Mapping[Partition, int]:
        """Return offsets to go back to; {}: go on. `idle`: turns since the last record."""
        if not self._wanted or not delivered:
            return {}
        if epoch != self._epoch:
            self._epoch = epoch
            self._until = await source.ends()
            return await source.positions_at(now_ms() - self._back_s * 1000)
        at_end = all(delivered.get(partition, 0) >= end for partition, end in self._until.items())
        if at_end or (idle >= IDLE_TURNS and source.silent_s < _SILENT_S):
            self._wanted = False
        return {}
