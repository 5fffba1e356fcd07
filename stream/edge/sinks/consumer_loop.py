"""The loop of a sink: take a batch of decisions, deliver it, commit what was delivered.

A batch is delivered for as long as it takes: what stands in the way delays this group and loses
nothing. If the partitions are wanted back meanwhile, delivering is broken off, nothing of the batch
is committed, and their next reader repeats it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from stream.calls.loop import RecordSource
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.consumer import PartitionsLost
from stream.kafka.offsets import CommitProgress
from stream.ops.clock import monotonic_s
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

_LOOK_S = 0.05
"""How often a batch that is being delivered is looked at: hand over, or stop?"""
STOP_S = 3.0
"""How long a batch that is being delivered may take once we are told to stop."""

Back = Callable[[int, Mapping[Partition, int], int], Awaitable[Mapping[Partition, int]]]
"""(epoch, up to where each partition was delivered, turns without a record) -> where to go back."""


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """Sizes and times of the loop."""

    records_max: int
    wait_ms: int = 200
    commit_interval_s: float = 0.5


class Pump:
    """One sink's loop. `run` it once."""

    def __init__(
        self,
        source: RecordSource,
        deliver: Callable[[RawBatch], Awaitable[None]],
        settings: PumpSettings,
        back: Back | None = None,
    ) -> None:
        """`back` is asked before each batch: from where to read on, {}: from where we are."""
        self._source = source
        self._deliver = deliver
        self._settings = settings
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
        """Until `stop`, or a fault that only a restart mends: SourceDown."""
        while not self._stopping:
            await self._turn()
        await self._commit()

    async def _turn(self) -> None:
        if self._source.revoking:
            await self._commit()
            self._source.released()
            return
        if self._source.epoch != self._epoch:
            self._epoch = self._source.epoch
            self._progress = CommitProgress({})
        await self._go_back()
        raw = await self._source.next_batch(self._settings.records_max, self._settings.wait_ms)
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
            self._due_s = monotonic_s() + self._settings.commit_interval_s
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
        """Whether the batch was delivered, and not broken off."""
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
            return  # said by the source; whoever has them now repeats it
        self._progress.committed(due)
