"""Reading old decisions once more, after Redis lost the keys that they led to."""

from collections.abc import Mapping
from typing import Protocol

from stream.kafka.batch import Partition
from stream.ops.clock import now_ms

IDLE_TURNS = 5
"""So many waits for records without one, of a broker that answers, and the end is reached: offsets
have holes (transaction markers), so a position may never come to be the end."""
_SILENT_S = 1.0


class Timed(Protocol):
    """A source that knows times: `calls.source.KafkaSource`."""

    @property
    def silent_s(self) -> float:
        """Seconds since a broker last answered."""
        ...

    async def positions_at(self, at_ms: int) -> Mapping[Partition, int]:
        """The first offset of each partition of ours at or after that time. Raises SourceDown."""
        ...

    async def ends(self) -> Mapping[Partition, int]:
        """The end of each partition of ours. Raises SourceDown."""
        ...


class Replay:
    """What is still to be read once more: the decisions of the last `back_s` seconds.

    Those before have expired. After a rebalance it begins again, with the partitions of then.
    """

    def __init__(self, back_s: int) -> None:
        self._back_s = back_s
        self._wanted = False
        self._epoch = -1
        self._until: Mapping[Partition, int] = {}

    @property
    def done(self) -> bool:
        """Whether nothing is left to be read once more."""
        return not self._wanted

    def want(self) -> None:
        """Keys were lost: read once more."""
        self._wanted, self._epoch = True, -1

    async def turn(
        self, source: Timed, epoch: int, delivered: Mapping[Partition, int], idle: int
    ) -> Mapping[Partition, int]:
        """Where to go back to, or {}: go on. `idle`: turns since the last record."""
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
