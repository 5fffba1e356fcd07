"""A call, and what is left of a record that is none."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Moment in a call's life at which its record was written."""

    ATTEMPT = "attempt"
    END = "end"


class Ingress(StrEnum):
    """Side of the border on which the call entered the carrier's network."""

    INTERNATIONAL = "international"
    DOMESTIC = "domestic"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Origin:
    """Place of a record in Kafka: written `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Call:
    """One CDR or call-attempt event, decoded whole.

    `caller` and `callee` are as the switch wrote them (None: withheld); `core.numbers.number` reads
    them. `started_at_s` is seconds since the epoch, `duration_s` seconds. Both are None if the
    record has none or nonsense: a bad date must not let a listed caller through.
    """

    call_id: str
    caller: str | None
    callee: str | None
    started_at_s: float | None
    stage: Stage
    ingress: Ingress
    trunk: str | None
    carrier: str | None
    duration_s: float | None


class RejectReason(StrEnum):
    """Reason for which a record is no call: a metric label and a header of `calls.rejected`.

    Records of `OTHER_EVENT` are whole, so `calls.rejected` does not have them.
    """

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_CSV = "not_csv"
    NOT_XML = "not_xml"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    WRONG_ENCODING = "wrong_encoding"
    """Not in the binary encoding of its topic's dialect, or damaged."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """The schema registry does not know its schema, or the schema cannot be used."""
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OTHER_EVENT = "other_event"
    """A valid record of something else: a BYE, a line of names, what a mapping leaves out.

    A record that only may be one is no such: what is damaged has to stay where somebody looks."""
    STOPPED_WORKER = "stopped_worker"
    """Workers stopped while they worked on it alone: a bug of ours; see `calls.crash_notes`."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no call: its original bytes (None: a tombstone), why, and where it lay."""

    value: bytes | None
    reason: RejectReason
    detail: str
    origin: Origin

    @property
    def is_kept(self) -> bool:
        """True but for a valid record of another event: that is counted alone."""
        return self.reason is not RejectReason.OTHER_EVENT
