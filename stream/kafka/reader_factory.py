"""What is read and how: the source's settings, and the reader that they ask for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stream.core import kernels
from stream.kafka.aiokafka_reader import OrdinaryReader
from stream.kafka.call_events import Observe
from stream.kafka.connection_settings import KafkaSettings
from stream.kafka.fetch.broker import LinkSettings
from stream.kafka.fetch.fetcher import LaneReader, LaneSettings
from stream.kafka.fetch.messages import FetchSizes
from stream.kafka.reader import Reader

log = logging.getLogger(__name__)

ANSWER_BYTES, PARTITION_BYTES = 16 * 1024 * 1024, 1024 * 1024
"""Most that a broker answers with, in all and of a partition; one larger batch comes alone."""
_LANE_ANSWER_BYTES = 8 * 1024 * 1024
"""The same for the lane, which has two answers of each broker in memory: about 10 ms of work."""
_BATCH_BYTES_MAX = 64 * 1024 * 1024
"""Most that one batch may have, packed or unpacked: as the longest record that may be allowed."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What is read and as whom. Times are milliseconds.

    `instance_id` names this worker for static membership: with the same name after a restart it
    gets its partitions back without a rebalance; "" is dynamic membership. `fetch`: "lane" reads
    whole record batches, "ordinary" leaves it to aiokafka. `corrupt_batches`: whether a batch that
    can not be right stops its partition or is passed over ("skip"); of the lane alone. Who asks for
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


def reader_for(
    consumer: Any, kafka: KafkaSettings, settings: SourceSettings, observe: Observe
) -> Reader:
    """The lane; or aiokafka's own fetcher, where that is set or the kernels can not be used."""
    if settings.fetch == "ordinary" or not kernels.compiled():
        why = "calls.fetch says so" if settings.fetch == "ordinary" else "there are no kernels"
        log.info("records are fetched in the ordinary, slower way: %s", why)
        return OrdinaryReader(consumer)
    sizes = FetchSizes(_LANE_ANSWER_BYTES, PARTITION_BYTES, settings.fetch_max_wait_ms)
    link = LinkSettings(kafka, sizes, _LANE_ANSWER_BYTES + _BATCH_BYTES_MAX, observe)
    skip = settings.corrupt_batches == "skip"
    return LaneReader(consumer, LaneSettings(link, settings.start_at, skip, _BATCH_BYTES_MAX))
