"""Small fakes of the loop's ports: in memory, scripted, and asserting what a caller owes them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from stream.calls.call_batch import Outcome
from stream.calls.publish import TransactionAborted
from stream.core.model.byte_strings import Texts
from stream.core.model.errors import SinkDown, SourceDown
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.consumer import PartitionsLost
from tests.support.waiting import HANGS_S

P0, P1 = Partition("calls", 0), Partition("calls", 1)


class Turn(Enum):
    """Items in a source's script besides records."""

    IDLE = "nothing comes for a while"
    REVOKE = "the group takes the partitions and gives them back"
    LOST = "the group has given the partitions away already; the next commit is refused"
    DOWN = "Kafka refuses"


class Ack(Enum):
    """The fate of one outcome that is sent."""

    OK = "acknowledged at once"
    SLOW = "acknowledged a while later"
    NEVER = "not acknowledged, ever"
    REFUSED = "the broker says no, for good"
    ABORTED = "its transaction is aborted"
    ABORTED_LATE = "its transaction is aborted a while later"


Record = tuple[Partition, int]
"""A record: its partition and offset; its value is that, as text."""


def _value(record: Record) -> bytes:
    partition, offset = record
    return f"{partition.number}/{offset}".encode()


def outcome_of(values: Texts) -> Outcome:
    """An outcome that stands for the records it came from."""
    none = np.zeros(0, "S16")
    return Outcome(none, none, values)


def pass_through(raw: RawBatch) -> Any:
    """Decoding that leaves the records as they are."""
    return raw


def all_decided(raw: Any) -> Outcome:
    """Deciding that decides something about every record."""
    return outcome_of(Texts.of(raw.values))


@dataclass
class FakeSource:
    """Kafka as one member sees it: a log, a script of when records come, committed positions.

    Each item of `script` is a list of records that come as one batch, or a `Turn`. What was not
    committed comes again after REVOKE and LOST, as from Kafka.
    """

    script: list[list[Record] | Turn]
    hand_over_s: float = HANGS_S
    """A test in which it ends says so: on a busy machine any short time may pass."""
    committed: dict[Partition, int] = field(default_factory=lambda: {P0: 0, P1: 0})
    epoch: int = 1
    revoking: bool = False
    commits: int = 0
    confirmed_s: float = 0.0
    ended: Callable[[], None] = lambda: None
    published: list[bytes] = field(default_factory=list)
    _position: dict[Partition, int] = field(default_factory=lambda: {P0: 0, P1: 0})
    _lost: bool = False
    _log: list[Record] = field(default_factory=list)
    _again: list[Record] = field(default_factory=list)
    _unshown: dict[Partition, int] = field(default_factory=dict)

    @property
    def starts(self) -> Mapping[Partition, int]:
        """The committed positions."""
        return self._starts

    def __post_init__(self) -> None:
        self._starts = dict(self.committed)

    def released(self) -> None:
        """The partitions go, and come back in a new epoch."""
        assert self.revoking, "nobody asked for the partitions"
        self.revoking = False
        self._reassign()

    def rewind(self, positions: Mapping[Partition, int]) -> None:
        """Read again what is past `positions`."""
        self._again = [one for one in self._log if one[1] >= positions[one[0]]]

    async def next_batch(self, records_max: int, wait_ms: int) -> RawBatch:
        """The next item of the script."""
        assert not self.revoking, "settle first"
        await asyncio.sleep(0)
        if self._again:
            records, self._again = self._again[:records_max], self._again[records_max:]
            return self._batch(records)
        if not self.script:
            self.ended()
            return self._batch([])
        match self.script.pop(0):
            case Turn.IDLE:
                await asyncio.sleep(wait_ms / 1000)
                return self._batch([])
            case Turn.REVOKE:
                self.revoking = True
                return self._batch([])
            case Turn.LOST:
                self._lost = True
                return self._batch([])
            case Turn.DOWN:
                raise SourceDown("scripted")
            case records:
                self._log += records
                return self._batch(records)

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Take the positions, unless the partitions are lost."""
        assert positions, "an empty commit"
        await asyncio.sleep(0)
        self.commits += 1
        if self._lost:
            self._lost = False
            self._reassign()
            raise PartitionsLost("scripted")
        for partition, offset in positions.items():
            assert offset >= self.committed[partition], "a commit went back"
            before = {_value(one) for one in self._log if one[0] == partition and one[1] < offset}
            assert before <= set(self.published), "committed before it was acknowledged"
            self.committed[partition] = offset
        self.confirmed_s = asyncio.get_running_loop().time()

    async def commit_in_transaction(self, positions: Mapping[Partition, int]) -> None:
        """Take the positions of a sink that commits; a reader sees them only a while later."""
        await self.await_shown({})  # no transaction begins before the last one is shown
        self._unshown = dict(positions)

    async def await_shown(self, positions: Mapping[Partition, int]) -> None:
        """From here on a reader sees what was committed in a transaction."""
        unshown, self._unshown = self._unshown, {}
        if unshown:
            await self.commit(unshown)
        assert all(self.committed[one] >= offset for one, offset in positions.items())

    def _reassign(self) -> None:
        self.epoch += 1
        self.confirmed_s = asyncio.get_running_loop().time()
        self._starts = dict(self.committed)
        self.rewind(self.committed)

    def _batch(self, records: Sequence[Record]) -> RawBatch:
        ordered = sorted(records)
        segments, start = [], 0
        for partition in sorted({one[0] for one in ordered}):
            stop = start + sum(one[0] == partition for one in ordered)
            segments.append(Segment(partition, start, stop))
            start = stop
        return RawBatch(
            values=[_value(one) for one in ordered],
            offsets=np.array([offset for _, offset in ordered], np.int64),
            timestamps_ms=np.zeros(len(ordered), np.int64),
            segments=tuple(segments),
            epoch=self.epoch,
        )


@dataclass
class FakeSink:
    """A topic of decisions. `acks` says what becomes of each `send` in turn; then all are OK.

    It tells `source` what is published, so that a commit of anything else is noticed.
    """

    source: FakeSource
    acks: list[Ack] = field(default_factory=list)
    commits: bool = False
    published: list[bytes] = field(default_factory=list)
    unacknowledged: int = 0
    unacknowledged_max: int = 0
    together_max: int = 0
    left_open: bool = False

    def __post_init__(self) -> None:
        self.source.published = self.published

    async def send(
        self,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> Awaitable[None]:
        """Take outcomes; their end follows the script."""
        assert all(outcome.values for outcome in outcomes), "an empty outcome"
        assert outcomes
        assert not (self.commits and self.left_open), "a transaction is still open"
        ack = self.acks.pop(0) if self.acks else Ack.OK
        self.unacknowledged += 1
        self.unacknowledged_max = max(self.unacknowledged_max, self.unacknowledged)
        self.together_max = max(self.together_max, len(outcomes))
        return asyncio.ensure_future(self._end(ack, outcomes, positions, holds))

    async def _end(
        self,
        ack: Ack,
        outcomes: Sequence[Outcome],
        positions: Mapping[Partition, int],
        holds: Callable[[], bool],
    ) -> None:
        try:
            match ack:
                case Ack.SLOW:
                    await asyncio.sleep(0.03)
                case Ack.NEVER:
                    await asyncio.Event().wait()
                case Ack.REFUSED:
                    raise SinkDown("scripted")
                case Ack.ABORTED_LATE:
                    await asyncio.sleep(0.03)
                    raise TransactionAborted("scripted")
                case Ack.ABORTED:
                    raise TransactionAborted("scripted")
            if self.commits and not holds():
                raise TransactionAborted("the hold is too old")
            for outcome in outcomes:
                self.published += filter(None, outcome.values)
            if self.commits:
                await self.source.commit_in_transaction(positions)
        except asyncio.CancelledError:
            self.left_open = True
            raise
        finally:
            self.unacknowledged -= 1
