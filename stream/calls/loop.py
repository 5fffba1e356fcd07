"""The loop of a call's way: take, decode, decide, send, commit. It holds no rule about calls.

One batch is decided while the ones before it are being acknowledged; `in_flight_max` bounds how
many, and so memory under a slow broker. Positions advance only when everything before them is
acknowledged. They are committed beside the loop, at most once an interval, and before the
partitions of an assignment go.

Everything happens in one task. A rebalance only raises the source's `revoking`. The loop sees it
between two steps, settles, and lets the partitions go. So nothing is half done when they go.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import FEW, CallBatch, Outcome
from stream.calls.publish import TransactionAborted
from stream.calls.settings import LoopSettings
from stream.core.model.errors import SinkDown
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.consumer import PartitionsLost
from stream.kafka.offsets import CommitProgress

log = logging.getLogger(__name__)

_LEFT_OPEN = (
    "the partitions went while their transaction was open. The worker starts again with a new "
    "producer, which ends it"
)
"""The producer can begin no other transaction, and the partitions' next reader waits for this one's
end. The broker would end it too, but in its own time: `transaction_timeout_ms`."""

_LOOK_S = 0.05
"""A loop that waits for the broker looks so often for a stop or a revocation."""
_COMMITTED_OR_DECIDED_MAX = 8
"""Batches of a backlog that are being committed together, or decided meanwhile. Each of the five
answers of a transaction waits for the batch that is being decided when it comes. So it lasts as
long as four or five of them take."""
_WAITED_S = 0.0005
"""A source that took so long has waited for records, and meanwhile the event loop has turned."""


class RecordSource(Protocol):
    """The source of records: `KafkaSource` keeps these promises."""

    @property
    def epoch(self) -> int:
        """Number of the assignment that we are in."""

    @property
    def confirmed_s(self) -> float:
        """Monotonic seconds at which the group last confirmed that we are its member."""

    @property
    def revoking(self) -> bool:
        """True while the group waits for us to settle and call `released`."""

    @property
    def hand_over_s(self) -> float:
        """Longest time that settling may take then."""

    @property
    def starts(self) -> Mapping[Partition, int]:
        """The offsets from which the partitions of this assignment are read."""

    def released(self) -> None:
        """Let the partitions go: all that was begun is settled."""

    def rewind(self, positions: Mapping[Partition, int]) -> None:
        """Read on from `positions`."""

    async def next_batch(self, records_max: int, wait_ms: int) -> RawBatch:
        """Return what is there; perhaps nothing. Raises SourceDown."""

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit. Raises PartitionsLost, SourceDown."""

    async def await_shown(self, positions: Mapping[Partition, int]) -> None:
        """Wait until `positions`, committed by the sink, are what a next reader would get."""


class Sink(Protocol):
    """The way out: `Publisher` and `TransactionalPublisher` keep these promises."""

    @property
    def commits(self) -> bool:
        """True if an acknowledged outcome's positions are committed with it."""

    async def send(
        self,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> Awaitable[None]:
        """Hand over in order; await the result for the acknowledgement of all.

        Both raise SinkDown, which is final, or TransactionAborted: read again.
        """


@dataclass(frozen=True, slots=True)
class AcknowledgedBatch:
    """One batch that is published and acknowledged, for metrics and traces.

    `timestamps_ms` are those of all its records in Kafka. Times are seconds; the last runs from
    when the batch was taken to its acknowledgement.
    """

    outcome: Outcome
    calls: int
    timestamps_ms: NDArray[np.int64]
    decode_s: float
    decide_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class _Decided:
    """A batch that is decided: `done` and `positions` are what its acknowledgement means."""

    outcome: Outcome
    done: Callable[[float], AcknowledgedBatch]
    positions: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class _InFlight:
    """Batches on their way together, until `ack` has ended well."""

    batches: Sequence[_Decided]
    positions: Mapping[Partition, int]
    ack: "asyncio.Future[None]"


class CallsLoop:
    """One worker's loop. `run` it once."""

    def __init__(
        self,
        source: RecordSource,
        decode: Callable[[RawBatch], CallBatch],
        decide: Callable[[CallBatch], Outcome],
        sink: Sink,
        settings: LoopSettings,
        clock: Callable[[], float],
        on_done: Callable[[AcknowledgedBatch], None],
        before: Callable[[RawBatch], Awaitable[None]] | None = None,
    ) -> None:
        """`clock` gives monotonic seconds; `on_done` is called for each acknowledged batch.

        `before` is awaited with each batch, before it is decoded.
        """
        self._source = source
        self._decode = decode
        self._decide = decide
        self._sink = sink
        self._settings = settings
        self._clock = clock
        self._on_done = on_done
        self._before = before
        self._stopping = False
        self._epoch = -1
        self._progress = CommitProgress({})
        self._committed_last: Mapping[Partition, int] = {}
        self._in_flight: deque[_InFlight] = deque()
        # Of a sink that commits: they wait for the next transaction to begin.
        self._decided: list[_Decided] = []
        self._commit: asyncio.Task[None] | None = None
        self._commit_due_s = 0.0
        self._behind = False
        self._waited = False

    def stop(self) -> None:
        """Take no more; `run` settles what was begun and returns."""
        self._stopping = True

    async def run(self) -> None:
        """Run until `stop`, or until a fault that needs a restart: SourceDown, SinkDown.

        Whatever was acknowledged by then is committed, or is repeated with the same ids.
        """
        try:
            while not self._stopping:
                await self._turn()
            await self._settle()
        except TransactionAborted:
            log.warning("stopped with a transaction aborted: the next reader repeats it")
        finally:
            self._abandon()

    async def _turn(self) -> None:
        if self._source.revoking:
            await self._hand_over()
            return
        if self._source.epoch != self._epoch:
            self._begin()
        try:
            self._reap()
            self._commit_if_due()
            if self._decided and not self._in_flight and not self._gathers:
                await self._send()
            if len(self._in_flight) + len(self._decided) >= self._in_flight_max:
                await self._await_acknowledgement()
                return
            settings, asked_s = self._settings, self._clock()
            # Decided batches wait for an acknowledgement, and not for records.
            wait_ms = 0 if self._decided else settings.wait_ms
            raw = await self._source.next_batch(settings.records_max, wait_ms)
            self._waited = self._clock() - asked_s >= _WAITED_S
            if not len(raw) and self._decided:
                await (self._await_acknowledgement() if self._in_flight else self._send())
            elif len(raw) and raw.epoch == self._epoch:
                # A reader may give less than the most at once, for the sake of its buffers.
                self._behind = len(raw) > settings.records_max // 4
                await self._process(raw)
        except TransactionAborted:
            await self._read_again()

    @property
    def _in_flight_max(self) -> int:
        """Most batches that may be on their way when the next is taken.

        Transactions follow one another. So a batch taken during one waits for its end, and later
        calls wait for the end of the next. So nothing is taken then, unless there is a backlog.
        (Measured at 20,000 calls a second: half the latency, three quarters of its 99th
        percentile.) With a backlog, batches are decided while one is committed, and go together
        into the next transaction. Without a backlog that was tried too. The many small batches
        probably keep the transaction itself waiting for the event loop (p99 223 and 184 instead of
        91 and 44 ms).
        """
        if not self._sink.commits:
            return self._settings.in_flight_max
        return _COMMITTED_OR_DECIDED_MAX if self._behind or self._gathers else 1

    @property
    def _gathers(self) -> bool:
        """True where a transaction is about to begin, and takes in all that is there already.

        A batch is one broker's answer. While a transaction lasts all brokers answer, and without
        this each answer would wait for the transactions of the others (seed 130002956). A partition
        that comes again was not there, its broker is just faster than we decide. In a backlog
        batches gather while the transaction before lasts.
        """
        if not self._sink.commits or self._in_flight or self._behind:
            return False
        taken = [partition for one in self._decided for partition in one.positions]
        return len(self._decided) < _COMMITTED_OR_DECIDED_MAX and len(set(taken)) == len(taken)

    def _begin(self) -> None:
        """Begin an assignment: what is on its way belongs to an old one and moves nothing."""
        left_open = self._abandon()
        self._epoch = self._source.epoch
        self._progress = CommitProgress({})
        self._committed_last = {}
        if left_open:
            raise SinkDown(_LEFT_OPEN)

    async def _process(self, raw: RawBatch) -> None:
        if not self._progress.next_offsets:
            self._progress = CommitProgress(dict(self._source.starts))
        if self._before is not None:
            await self._before(raw)
            if raw.epoch != self._source.epoch or self._source.revoking or self._stopping:
                return  # nothing of it is committed: the partitions' next reader has it
        taken_s = self._clock()
        batch = self._decode(raw)
        decoded_s = self._clock()
        outcome = self._decide(batch)
        decided_s = self._clock()
        positions = {
            segment.partition: int(raw.offsets[segment.stop - 1]) + 1 for segment in raw.segments
        }
        # Taken out of the batch, so that what is in flight holds no records in memory.
        timestamps_ms, calls = raw.timestamps_ms, len(batch)

        def done(now_s: float) -> AcknowledgedBatch:
            return AcknowledgedBatch(
                outcome,
                calls,
                timestamps_ms,
                decoded_s - taken_s,
                decided_s - decoded_s,
                now_s - taken_s,
            )

        self._decided.append(_Decided(outcome, done, positions))
        # A transaction follows the one before, and is not even begun if that one failed.
        self._reap()
        if not self._sink.commits or not (self._in_flight or self._gathers):
            await self._send()
        # A source with a backlog and a sink with room never wait: sockets are read here. Where the
        # source has just waited they were: a turn of nothing costs a tenth of a batch of one call.
        # To read many records takes as long as a short wait, so a full batch always gives a turn.
        if not self._waited or len(batch) > FEW:
            await asyncio.sleep(0)

    async def _send(self) -> None:
        """Hand all that is decided to the sink."""
        epoch = self._epoch

        # Asked by the sink at the last moment before it commits: much may happen until then.
        def holds() -> bool:
            return self._source.epoch == epoch and self._held_s() < self._settings.hold_s_max

        if self._sink.commits and not await self._is_member():
            self._decided.clear()
            return
        batches, self._decided = self._decided, []
        positions: dict[Partition, int] = {}
        for batch in batches:
            positions.update(batch.positions)
        outcomes = [batch.outcome for batch in batches]
        ack = asyncio.ensure_future(await self._sink.send(outcomes, positions, holds))
        self._in_flight.append(_InFlight(batches, positions, ack))

    async def _await_acknowledgement(self) -> None:
        """Wait for the oldest of all that is on its way, and look around in between."""
        # `wait` leaves the acknowledgement running; `wait_for` would cancel it.
        await asyncio.wait([self._in_flight[0].ack], timeout=_LOOK_S)

    def _held_s(self) -> float:
        """Return how long ago the group said that the partitions are ours."""
        return self._clock() - self._source.confirmed_s

    async def _is_member(self) -> bool:
        """Ask the group, where its last word grows old, whether the partitions are still ours.

        The question is a commit of what is committed already, since the group refuses a commit of
        a member that it has given up. Raises SourceDown.
        """
        if self._held_s() > self._settings.hold_s_max / 2:
            try:
                await self._source.commit(self._progress.next_offsets)
            except PartitionsLost:
                return False
        return True

    def _reap(self) -> None:
        """Move on past what is acknowledged, in order. Raises what an acknowledgement raised."""
        while self._in_flight and self._in_flight[0].ack.done():
            first = self._in_flight.popleft()
            first.ack.result()  # raises before any position moves
            for partition, offset in first.positions.items():
                self._progress.advance(partition, offset - 1)
            if self._sink.commits:
                self._progress.committed(first.positions)
                self._committed_last = first.positions
            for batch in first.batches:
                self._on_done(batch.done(self._clock()))

    def _commit_if_due(self) -> None:
        """Start a commit beside the loop, if it is time and the last one has ended."""
        if self._commit is not None:
            if not self._commit.done():
                return
            ended, self._commit = self._commit, None
            try:
                ended.result()
            except PartitionsLost:
                return
        now_s = self._clock()
        if now_s >= self._commit_due_s and (due := self._progress.due()):
            self._commit_due_s = now_s + self._settings.commit_interval_ms / 1000
            self._commit = asyncio.create_task(self._commit_now(self._progress, due))

    async def _commit_now(self, progress: CommitProgress, due: Mapping[Partition, int]) -> None:
        await self._source.commit(due)
        progress.committed(due)

    async def _drain(self) -> None:
        """Wait for all that is decided or on its way. Raises what an acknowledgement raised."""
        while self._in_flight or self._decided:
            if not self._in_flight:
                await self._send()
                continue
            await asyncio.wait([self._in_flight[0].ack])
            self._reap()

    async def _settle(self) -> None:
        """Wait for all that is on its way, and commit it."""
        await self._drain()
        if self._sink.commits:
            # Or the next reader, which may be we, begins before what is already decided. The last
            # transaction is enough: it could not begin before those before it were shown.
            await self._source.await_shown(self._committed_last)
            return
        try:
            # The commit beside us first: two at once could end in the other order.
            if self._commit is not None:
                ended, self._commit = self._commit, None
                await ended
            if due := self._progress.due():
                await self._commit_now(self._progress, due)
        except PartitionsLost:
            # Said by the source; their next reader repeats what was not committed.
            return

    async def _hand_over(self) -> None:
        """Settle within the time that the group gives, and let the partitions go.

        Raises SinkDown where that leaves a transaction open.
        """
        try:
            async with asyncio.timeout(self._source.hand_over_s):
                await self._settle()
        except TimeoutError:
            log.warning("partitions go with %d batches unsettled", len(self._in_flight))
        except TransactionAborted:
            log.warning("partitions go with a transaction aborted: their next reader repeats it")
        finally:
            left_open = self._abandon()
            self._source.released()
        if left_open:
            raise SinkDown(_LEFT_OPEN)

    async def _read_again(self) -> None:
        """Read again what lies past the committed positions, after an aborted transaction."""
        # All of it ends first: nothing may still commit positions beyond those that are read again.
        if self._in_flight:
            await asyncio.wait([one.ack for one in self._in_flight])
        self._abandon()
        if self._source.epoch == self._epoch and not self._source.revoking:
            self._source.rewind(self._progress.next_offsets)

    def _abandon(self) -> bool:
        """Forget what is on its way and the commit beside it; nothing of either moves positions.

        Returns whether a transaction was open.
        """
        left_open = self._sink.commits and not all(one.ack.done() for one in self._in_flight)
        for one in self._in_flight:
            one.ack.cancel()
        self._in_flight.clear()
        self._decided.clear()
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None
        return left_open
