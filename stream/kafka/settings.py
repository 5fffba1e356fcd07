"""Settings of readers and topics, apart from the clients, which take long to import."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What is read and as whom. Times are milliseconds.

    `instance_id` names this worker for static membership: with the same name after a restart it
    gets its partitions back without a rebalance; "" is dynamic membership. `fetch`: "lane" reads
    whole record batches, "ordinary" leaves it to aiokafka. `corrupt_batches`: whether a batch that
    cannot be right stops its partition or is passed over ("skip"); of the lane alone. Who asks for
    no records for longer than `poll_interval_ms` leaves the group.
    """

    topics: Sequence[str]
    group_id: str
    instance_id: str
    start_at: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    fetch: str = "lane"
    corrupt_batches: str = "stop"
    fetch_max_wait_ms: int = 50
    poll_interval_ms: int = 300_000

    def __post_init__(self) -> None:
        if self.start_at not in ("earliest", "latest"):
            raise ValueError(f"calls.start_at is earliest or latest, not {self.start_at!r}")
        if self.fetch not in ("lane", "ordinary"):
            raise ValueError(f"calls.fetch is lane or ordinary, not {self.fetch!r}")
        if self.corrupt_batches not in ("stop", "skip"):
            raise ValueError(f"calls.corrupt_batches is stop or skip, not {self.corrupt_batches!r}")
        if not 0 < self.fetch_max_wait_ms < self.session_timeout_ms:
            raise ValueError("calls.session_timeout_ms must be above the longest wait for records")
        if self.rebalance_timeout_ms < 4 * self.heartbeat_interval_ms:
            raise ValueError(
                f"calls.rebalance_timeout_ms must be at least {4 * self.heartbeat_interval_ms}, "
                "four heartbeats, or no time is left to finish a batch"
            )

    @property
    def heartbeat_interval_ms(self) -> int:
        """How soon a rebalance is noticed; never more than Kafka's default of 3 s."""
        return min(3000, self.session_timeout_ms // 3)

    @property
    def hand_over_s(self) -> float:
        """How long the loop has to finish its batch and commit when partitions are revoked.

        The broker counts the rebalance timeout from when another member asked for it; we learn of
        that one heartbeat later, and need another interval to say that we join again.
        """
        return (self.rebalance_timeout_ms - 2 * self.heartbeat_interval_ms) / 1000


@dataclass(frozen=True, slots=True)
class TopicsSettings:
    """Names of our topics, and how those that we make are made; `more`: of sinks."""

    calls: Sequence[str]
    decisions: str
    rejected: str
    partitions: int
    replication_factor: int
    more: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.calls:
            raise ValueError("calls.topics must name at least one topic")
        if self.partitions < 1 or self.replication_factor < 1:
            raise ValueError("calls.partitions and kafka.replication_factor must be positive")
        names = [*self.calls, self.decisions, self.rejected, *self.more]
        if len(set(names)) < len(names):
            raise ValueError(f"each topic needs a name of its own, not {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class TopicLimits:
    """What a worker must know of its topics: bytes of the largest value each takes."""

    decision_bytes_max: int
    rejected_bytes_max: int
