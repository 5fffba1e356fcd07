"""Settings of the steps of a call.

They are apart from the steps, because the configuration checks them. A command that only reads the
configuration does not load Kafka's clients for that.
"""

from dataclasses import dataclass

BATCH_BYTES_MAX = 1_000_000
"""Bytes of one record batch, if the topics take as much, which Kafka's default just does. aiokafka
sends one batch of a partition at a time. In four parts, a batch of calls with a decision each waits
four times for the broker."""
ABORT_CHECK_MS = 10_000
"""Time between a broker's looks for transactions that are open for too long; its default."""


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """`record_bytes_max` bounds one record; `check_callee` asks for called numbers too.

    `attestation` asks for the fields of STIR/SHAKEN, which cost nothing where no rule needs them.
    """

    record_bytes_max: int
    check_callee: bool
    attestation: bool = False

    def __post_init__(self) -> None:
        if self.record_bytes_max < 1:
            raise ValueError("calls.record_bytes_max must be positive")


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Sizes and times of the loop.

    `hold_s_max`: how long the group's confirmation of our membership counts, when positions are
    committed where the group cannot refuse them. It is infinite for at-least-once delivery.
    """

    records_max: int
    wait_ms: int
    commit_interval_ms: int
    in_flight_max: int = 4
    hold_s_max: float = float("inf")

    def __post_init__(self) -> None:
        if self.records_max < 1 or self.in_flight_max < 1:
            raise ValueError("calls.batch_records_max must be positive")
        if self.wait_ms < 1 or self.commit_interval_ms < 1:
            raise ValueError("calls.batch_wait_ms and calls.commit_interval_ms must be positive")


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """Topics of outcomes, and their form there.

    `cloudevents_source` is the `ce_source` of decisions: who decided, as a URI reference.
    `rejected_bytes_max` is the largest value that the rejected topic takes; what is longer is cut.
    `idempotent` is false only for brokers that cannot do it (Tansu). `compression` is None, zstd,
    snappy, lz4 or gzip. `batch_bytes_max` bounds a record batch before compression: not more than
    either topic's `max.message.bytes`.
    """

    decisions_topic: str
    rejected_topic: str
    cloudevents_source: str
    rejected_bytes_max: int
    idempotent: bool = True
    compression: str | None = None
    batch_bytes_max: int = BATCH_BYTES_MAX

    def __post_init__(self) -> None:
        if self.compression not in (None, "zstd", "snappy", "lz4", "gzip"):
            raise ValueError(f"compression {self.compression!r} is none that Kafka knows")
        if self.rejected_bytes_max < 1 or self.batch_bytes_max < 1024:
            raise ValueError("rejected_bytes_max must be positive, batch_bytes_max at least 1024")


@dataclass(frozen=True, slots=True)
class TransactSettings:
    """Settings of transactions. `transactional_id` is one worker's, the same after a restart.

    `retry_backoff_ms` is the wait for the broker's markers, besides any other retry.
    """

    group_id: str
    transactional_id: str
    session_timeout_ms: int
    retry_backoff_ms: int = 2

    def __post_init__(self) -> None:
        if self.transaction_timeout_ms < 1000:
            raise ValueError(
                "delivery = exactly_once needs calls.session_timeout_ms of at least 13000: "
                "a broker takes up to 10 s to abort what a dead worker left open"
            )

    @property
    def transaction_timeout_ms(self) -> int:
        """Longest time that one transaction may stay open."""
        return min(10_000, self.session_timeout_ms - ABORT_CHECK_MS - 2000)

    @property
    def end_s_max(self) -> float:
        """Time after which a transaction is given up: by then the broker has aborted it.

        aiokafka asks on without an end and without a word.
        """
        return (self.transaction_timeout_ms + ABORT_CHECK_MS) / 1000

    @property
    def hold_s_max(self) -> float:
        """Oldest word of the group with which a transaction begins, and is committed."""
        return self.session_timeout_ms / 2000
