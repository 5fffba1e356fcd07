"""The coordinator of transactions: producer ids, epochs, and what a transaction holds.

After Kafka's `TransactionCoordinator` for clients of its first protocol (aiokafka's). The answer
that a transaction is committed comes before its markers are written, as in Kafka.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.simulation.kafka.errors import Code

ABORT_CHECK_S = 10.0
"""Between two looks for transactions that are open for too long: Kafka's default."""


class Phase(Enum):
    """Where a producer's transaction stands."""

    EMPTY = auto()
    ONGOING = auto()
    ENDING = auto()
    ENDED = auto()


@dataclass(eq=False)
class Transaction:
    """A producer with a transactional id, and the transaction that it has."""

    name: str
    producer: int
    epoch: int
    timeout_s: float
    phase: Phase = Phase.EMPTY
    commits: bool = False
    begun_s: float = 0.0
    partitions: dict[tuple[str, int], None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)


class Transactions:
    """All producers. `write_markers` begins to end one's transaction where it wrote."""

    def __init__(
        self, now_s: Callable[[], float], write_markers: Callable[[Transaction], None]
    ) -> None:
        self._now_s, self._write_markers = now_s, write_markers
        self._producers = iter(range(1000, 10**9))
        self.known: dict[str, Transaction] = {}

    def init(self, name: str | None, timeout_ms: int) -> tuple[Code, int, int]:
        """Return a producer's id and epoch. A transactional id fences off who had it before."""
        if not name:
            return Code.NONE, next(self._producers), 0
        found = self.known.get(name)
        if found is None:
            found = Transaction(name, next(self._producers), -1, timeout_ms / 1000)
            self.known[name] = found
        elif found.phase is Phase.ONGOING:
            self._fence(found)
            return Code.CONCURRENT_TRANSACTIONS, -1, -1
        elif found.phase is Phase.ENDING:
            return Code.CONCURRENT_TRANSACTIONS, -1, -1
        found.epoch += 1
        found.timeout_s = timeout_ms / 1000
        found.phase = Phase.EMPTY
        return Code.NONE, found.producer, found.epoch

    def add(self, asked: Any, partitions: Iterable[tuple[str, int]] = (), group: str = "") -> Code:
        """Add partitions or a group to a producer's transaction; begin it with the first."""
        if code := self._check(asked):
            return code
        found = self.known[asked.transactional_id]
        if found.phase is Phase.ENDING:
            return Code.CONCURRENT_TRANSACTIONS
        if found.phase is not Phase.ONGOING:
            found.phase, found.begun_s = Phase.ONGOING, self._now_s()
            found.partitions, found.groups = {}, {}
        found.partitions |= dict.fromkeys(partitions)
        if group:
            found.groups[group] = None
        return Code.NONE

    def end(self, asked: Any) -> Code:
        """Commit or abort. An answer that was lost may be asked for again."""
        if code := self._check(asked):
            return code
        found, commits = self.known[asked.transactional_id], bool(asked.transaction_result)
        match found.phase:
            case Phase.ONGOING:
                self._end(found, commits=commits)
                return Code.NONE
            case Phase.ENDING if found.commits == commits:
                return Code.CONCURRENT_TRANSACTIONS
            case Phase.ENDED if found.commits == commits:
                return Code.NONE
        return Code.INVALID_TXN_STATE

    def holds(self, name: str | None, producer: int, partition: tuple[str, int]) -> bool:
        """Return whether the producer has an open transaction with this partition in it."""
        found = self.known.get(name or "")
        if found is None or found.producer != producer or found.phase is not Phase.ONGOING:
            return False
        return partition in found.partitions

    def check_member(self, asked: Any) -> Code:
        """Return what is wrong with positions that a transaction commits."""
        return self._check(asked)

    def abort_late(self) -> None:
        """Abort what is open for too long, and fence off its producer."""
        for found in list(self.known.values()):
            late = self._now_s() - found.begun_s > found.timeout_s
            if found.phase is Phase.ONGOING and late:
                self._fence(found)

    def _check(self, asked: Any) -> Code:
        found = self.known.get(asked.transactional_id)
        if found is None or found.producer != asked.producer_id:
            return Code.INVALID_PRODUCER_ID_MAPPING
        same = found.epoch == asked.producer_epoch
        return Code.NONE if same else Code.INVALID_PRODUCER_EPOCH

    def _fence(self, found: Transaction) -> None:
        found.epoch += 1
        self._end(found, commits=False)

    def _end(self, found: Transaction, *, commits: bool) -> None:
        found.phase, found.commits = Phase.ENDING, commits
        self._write_markers(found)
