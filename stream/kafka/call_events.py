"""Events on a call's way besides calls: a closed list, counted by the worker's metrics."""

from collections.abc import Callable
from enum import StrEnum


class CallEvent(StrEnum):
    """One thing worth a counter; each is a metric label. The log line has the details."""

    KAFKA_AWAITED = "kafka_awaited"
    """Kafka does not answer; it is tried again."""
    SINK_AWAITED = "sink_awaited"
    """Kafka takes no decisions at the moment; they are kept and offered again."""
    ASSIGNED = "assigned"
    REVOKED = "revoked"
    COMMITTED = "committed"
    COMMIT_REFUSED = "commit_refused"
    """The group gave our partitions away before we committed; others repeat what we did since."""
    BATCH_DROPPED = "batch_dropped"
    """Records of an assignment that has ended were left to the partition's new reader."""
    TRANSACTION_ABORTED = "transaction_aborted"
    """A transaction was given up; its records are read again."""
    LEFT_TO_AIOKAFKA = "lane_left"
    """A partition is read by aiokafka: an old message format, or an old broker. The label is older
    than the fetcher's name, and a contract."""
    THROTTLED = "throttled"
    """A broker wants to be asked less: a quota of this client is used up."""
    POSITION_RESET = "position_reset"
    """A position was gone (retention, a topic created again): calls were lost before reading."""
    PARTITION_STOPPED = "partition_stopped"
    """A batch cannot be right: its partition is not read on until a person acts."""
    BATCH_SKIPPED = "batch_skipped"
    """A batch that cannot be right was passed over, as the settings say."""


Observe = Callable[[CallEvent], None]
