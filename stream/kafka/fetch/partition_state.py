"""One partition as the lane reads it, and what an error of its broker means for it. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from stream.kafka.batch import Partition

BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.1, 1.0


class State(Enum):
    """Who reads a partition now."""

    READ = auto()
    RESETTING = auto()
    """Its position is gone; where to go on is being asked."""
    UNJUDGED = auto()
    """What arrived has no whole batch at its beginning: nothing more is asked until it is read."""
    STOPPED = auto()
    """A batch of it cannot be right, and an operator has to look."""
    ORDINARY = auto()
    """aiokafka does."""
    GONE = auto()
    """Its assignment ended."""


@dataclass(slots=True, eq=False)
class Reading:
    """Where one partition of one assignment stands.

    `position` is the first offset that was not taken out of an answer; `ask_at` is what is fetched
    next, beyond the answers that wait to be read. Whatever arrives or waits counts only while its
    offset is the one that is due: so a seek needs nothing but to set both.
    """

    partition: Partition
    position: int
    ask_at: int
    state: State = State.READ
    high_water: int | None = None
    not_before_s: float = 0.0
    failures: int = 0
    damages: int = 0
    """How often in a row what was fetched could not be right."""

    @classmethod
    def at(cls, partition: Partition, position: int) -> "Reading":
        """Begun at `position`."""
        return cls(partition, position, position)

    def __str__(self) -> str:
        return f"{self.partition.topic}/{self.partition.number}"

    def move(self, offset: int) -> None:
        """Read on from `offset`; what was fetched from elsewhere counts no more."""
        self.position = self.ask_at = offset
        if self.state in (State.UNJUDGED, State.RESETTING, State.STOPPED):
            self.state = State.READ

    def is_due(self, now_s: float) -> bool:
        """Whether it is to be fetched now."""
        return self.state is State.READ and self.not_before_s <= now_s

    def back_off(self, now_s: float) -> None:
        """It failed: not again at once, and later each time."""
        wait_s = min(BACK_OFF_S_MIN * 2**self.failures, BACK_OFF_S_MAX)
        self.not_before_s = now_s + wait_s
        self.failures = min(self.failures + 1, 10)

    def went_well(self) -> None:
        """It was read."""
        self.failures = self.damages = 0


class Meaning(Enum):
    """What to do about an error code in an answer."""

    ELSEWHERE = "its leader is elsewhere: ask where, and there"
    LATER = "ask again a little later"
    GONE = "what is asked for is not there: go where the settings say"
    FORBIDDEN = "only an operator can change it: end the worker"
    DAMAGED = "the broker finds its own records damaged"


MEANINGS = {
    1: Meaning.GONE,  # OFFSET_OUT_OF_RANGE
    2: Meaning.DAMAGED,  # CORRUPT_MESSAGE
    3: Meaning.ELSEWHERE,  # UNKNOWN_TOPIC_OR_PARTITION: perhaps not known there yet
    5: Meaning.ELSEWHERE,  # LEADER_NOT_AVAILABLE
    6: Meaning.ELSEWHERE,  # NOT_LEADER_OR_FOLLOWER
    8: Meaning.ELSEWHERE,  # BROKER_NOT_AVAILABLE
    9: Meaning.ELSEWHERE,  # REPLICA_NOT_AVAILABLE
    13: Meaning.ELSEWHERE,  # NETWORK_EXCEPTION
    29: Meaning.FORBIDDEN,  # TOPIC_AUTHORIZATION_FAILED
    56: Meaning.ELSEWHERE,  # KAFKA_STORAGE_ERROR: its disk failed, another replica will lead
    72: Meaning.ELSEWHERE,  # LISTENER_NOT_FOUND
    74: Meaning.ELSEWHERE,  # FENCED_LEADER_EPOCH
    75: Meaning.LATER,  # UNKNOWN_LEADER_EPOCH
    78: Meaning.LATER,  # OFFSET_NOT_AVAILABLE: a new leader does not know its high water mark yet
    100: Meaning.ELSEWHERE,  # UNKNOWN_TOPIC_ID
    103: Meaning.ELSEWHERE,  # INCONSISTENT_TOPIC_ID
}
"""By error code (Kafka protocol guide, "Error Codes"); any other is named in the log and LATER."""
