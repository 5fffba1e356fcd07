"""The state of one partition, and the meaning of the errors of its broker. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from stream.kafka.batch import Partition

BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.1, 1.0
"""A leader that moves is found within the first; longer than the last nobody waits for calls."""
_DOUBLINGS_MAX = 10
"""Beyond these a wait is at its longest, and the power would only grow."""


def back_off_s(failures: int) -> float:
    """Return the wait after so many failures in a row."""
    return min(BACK_OFF_S_MIN * 2.0 ** min(failures, _DOUBLINGS_MAX), BACK_OFF_S_MAX)


class PartitionStatus(Enum):
    """The reader of a partition now."""

    FETCHED = auto()
    RESETTING = auto()
    """Its position is gone; where to go on is being asked."""
    UNJUDGED = auto()
    """Its answer has no whole batch at the beginning: nothing more is asked until that is read."""
    STOPPED = auto()
    """A batch of it cannot be right, and an operator has to look."""
    AIOKAFKA = auto()
    """aiokafka does."""
    GONE = auto()
    """Its assignment ended."""


@dataclass(slots=True, eq=False)
class PartitionState:
    """The state of one partition of one assignment.

    `position` is the first offset that was not taken out of an answer. `ask_at` is the next one to
    fetch, beyond the answers that wait to be read. Whatever arrives or waits counts only while its
    offset is the one that is due: so a seek needs nothing but to set both. `damages` counts the
    batches in a row that could not be right.
    """

    partition: Partition
    position: int
    ask_at: int
    status: PartitionStatus = PartitionStatus.FETCHED
    high_water: int | None = None
    not_before_s: float = 0.0
    failures: int = 0
    damages: int = 0

    @classmethod
    def at(cls, partition: Partition, position: int) -> "PartitionState":
        """Begin at `position`."""
        return cls(partition, position, position)

    def __str__(self) -> str:
        return f"{self.partition.topic}/{self.partition.number}"

    @property
    def counts(self) -> bool:
        """True if what was fetched of it may still be handed out."""
        return self.status in (PartitionStatus.FETCHED, PartitionStatus.UNJUDGED)

    def move(self, offset: int) -> None:
        """Read on from `offset`; what was fetched from elsewhere counts no more."""
        self.position = self.ask_at = offset
        # All others read on, a stopped one too: it finds the same batch, and stops again.
        if self.status not in (PartitionStatus.AIOKAFKA, PartitionStatus.GONE):
            self.status = PartitionStatus.FETCHED

    def is_due(self, now_s: float) -> bool:
        """Return whether it is to be fetched now."""
        return self.status is PartitionStatus.FETCHED and self.not_before_s <= now_s

    def back_off(self, now_s: float) -> None:
        """Fetch it again later, after each failure in a row later still."""
        self.not_before_s = now_s + back_off_s(self.failures)
        self.failures += 1

    def went_well(self) -> None:
        """Forget failures: records of it were read."""
        self.failures = self.damages = 0


class ErrorMeaning(Enum):
    """The meaning of an error code in an answer."""

    ELSEWHERE = "its leader is elsewhere: ask where, and there"
    LATER = "ask again a little later"
    GONE = "what is asked for is not there: go where the settings say"
    FORBIDDEN = "only an operator can change it: end the worker"
    DAMAGED = "the broker finds its own records damaged"


MEANINGS = {
    1: ErrorMeaning.GONE,  # OFFSET_OUT_OF_RANGE
    2: ErrorMeaning.DAMAGED,  # CORRUPT_MESSAGE
    3: ErrorMeaning.ELSEWHERE,  # UNKNOWN_TOPIC_OR_PARTITION: perhaps not known there yet
    5: ErrorMeaning.ELSEWHERE,  # LEADER_NOT_AVAILABLE
    6: ErrorMeaning.ELSEWHERE,  # NOT_LEADER_OR_FOLLOWER
    8: ErrorMeaning.ELSEWHERE,  # BROKER_NOT_AVAILABLE
    9: ErrorMeaning.ELSEWHERE,  # REPLICA_NOT_AVAILABLE
    13: ErrorMeaning.ELSEWHERE,  # NETWORK_EXCEPTION
    29: ErrorMeaning.FORBIDDEN,  # TOPIC_AUTHORIZATION_FAILED
    56: ErrorMeaning.ELSEWHERE,  # KAFKA_STORAGE_ERROR: its disk failed, another replica will lead
    72: ErrorMeaning.ELSEWHERE,  # LISTENER_NOT_FOUND
    74: ErrorMeaning.ELSEWHERE,  # FENCED_LEADER_EPOCH
    75: ErrorMeaning.LATER,  # UNKNOWN_LEADER_EPOCH
    78: ErrorMeaning.LATER,  # OFFSET_NOT_AVAILABLE: a new leader does not know its high water mark
    100: ErrorMeaning.ELSEWHERE,  # UNKNOWN_TOPIC_ID
    103: ErrorMeaning.ELSEWHERE,  # INCONSISTENT_TOPIC_ID
}
"""By error code (Kafka protocol guide, "Error Codes"); any other is named in the log and LATER."""
