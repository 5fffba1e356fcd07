"""Our exceptions. A fault is an outage or an unusable artefact, never bad data in a stream.

Bad data is a returned value (`Rejected`), a bug is an assert. Every message names the place and
what to do next, since an operator reads it at night.
"""

from enum import StrEnum
from typing import ClassVar, Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""Errors that decoding raises: another shape, no UTF-8 (a ValueError), nested too deep.

All three, wherever bytes come from a store or from outside: what is missing here ends a process.
"""


CLEAN: Final = 0
CRASHED: Final = 1
CONFIG_WRONG: Final = 2
UNUSABLE: Final = 3
"""Exit codes. UNUSABLE: Kafka, Redis or a port are there, and a person has to set them up first.

A supervisor and systemd restart a process that crashed; after 2 and 3 a restart does not help."""


class Fault(Exception):
    """Anything that Ringfence itself reports as gone wrong; a process ends with its `exit_code`."""

    exit_code: ClassVar[int] = CRASHED


class ConfigInvalid(Fault):
    """The configuration cannot be used; `errors` holds every reason found, each with its place."""

    exit_code = CONFIG_WRONG

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class SourceDown(Fault):
    """Call records cannot be read or their positions not be committed."""


class SinkDown(Fault):
    """Decisions cannot be published."""


class KafkaRefuses(Fault):
    """Kafka answers and does not let us in, or shows a certificate that we do not trust."""

    exit_code = UNUSABLE


class KafkaTooOld(KafkaRefuses):
    """Kafka's brokers lack requests that we need."""


class KafkaAway(Fault):
    """Kafka does not answer within the time that the caller waits."""

    exit_code = UNUSABLE


class TopicMissing(Fault):
    """A topic that the configuration names does not exist or has too few partitions."""

    exit_code = UNUSABLE


class ListStoreDown(Fault):
    """The list store (Redis) does not answer."""

    exit_code = UNUSABLE


class ListStoreRefuses(ListStoreDown):
    """The list store answers and does not let us in: name or password do not fit, or its rights."""


class ChangeUnsafe(ListStoreDown):
    """The list store made a change, and too few replicas have it: a fail-over may lose it."""


class ListStoreUnsafe(Fault):
    """The list store answers, but is set up in a way that could lose entries."""

    exit_code = UNUSABLE


class FormatNewer(ListStoreUnsafe):
    """A newer Ringfence wrote a list store, a state directory or a position; it is left alone."""


class ListStoreLost(Fault):
    """The list store lost data: it is another one than before, or a generation went back."""


class ListUnknown(Fault):
    """No list of that name is in the list store."""


class NameRefused(Fault):
    """A list may not be called so, or another one differs from it by its capitals alone."""


class VersionGone(Fault):
    """A generation of a list is not kept any more, or never was."""


class ChangeConflict(Fault):
    """Another writer changed the list in between; nothing was written."""


class AppealUnknown(Fault):
    """No appeal of that id is kept."""


class AppealRefused(Fault):
    """An appeal cannot be taken, or cannot go on as asked; nothing was changed."""


class TracebackRefused(Fault):
    """A traceback asks for more than can be held at once."""


class FeedFault(StrEnum):
    """Why a feed's bytes did not come: a closed list, so that each is a label of a metric."""

    DOWN = "down"
    TIMEOUT = "timeout"
    REFUSED_BY_SERVER = "refused_by_server"
    UNAUTHORISED = "unauthorised"
    REDIRECTED = "redirected"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    TRUNCATED = "truncated"
    WRONG_LENGTH = "wrong_length"
    NOT_COMPRESSED_RIGHT = "not_compressed_right"
    BOMB = "bomb"
    CERTIFICATE = "certificate"
    CHECKSUM = "checksum"
    NOT_A_FEED = "not_a_feed"
    MISSING = "missing"
    UNSTABLE = "unstable"
    KAFKA_DOWN = "kafka_down"
    PROTOCOL = "protocol"
    # Of a signed repository (TUF); feeds/tuf/tuf_errors.py says of each what to do.
    ROLLBACK = "rollback"
    EXPIRED = "expired"
    MIXED = "mixed"
    WRONG_SIGNATURE = "wrong_signature"
    THRESHOLD = "threshold"
    UNKNOWN_KEY = "unknown_key"
    BAD_NAME = "bad_name"
    NOT_THEIRS = "not_theirs"
    CLOCK = "clock"
    MALFORMED = "malformed"
    DISK = "disk"
    # Of this machine: files of the feed's state that another user made.
    STATE_FOREIGN = "state_foreign"


class FeedDown(Fault):
    """A feed's new version is not available now; the last good one stays.

    `detail` names the place and what to do, and never a secret. `retry_after_s`: not sooner than in
    so many seconds, as the server asks; None: it names no time.
    """

    def __init__(self, reason: FeedFault, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["FeedDown"], tuple[FeedFault, str, float | None]]:
        """Pickle it whole: by itself an exception is made again from its text alone."""
        return FeedDown, (self.reason, self.detail, self.retry_after_s)


class FilterUnreadable(Fault):
    """The bytes are not a pybloom-live 4 filter that can be trusted."""


class FilterTooCoarse(FilterUnreadable):
    """A filter claims, or its bits show, that it matches more numbers than any filter may."""


class SnapshotUnreadable(Fault):
    """A snapshot, its manifest or one of its parts is damaged or not what it says."""


class StateDirRefuses(SnapshotUnreadable):
    """The disk of the state directory does not take or give a file: full, read-only, another's."""


class ExchangeFault(Fault):
    """A repository cannot be made, signed, carried or bundled as asked; nothing was changed."""


class SecretUnsafe(Fault):
    """A file with a secret can be read by others, cannot be read, or would be overwritten."""


class DocumentUnreadable(Fault):
    """A partner's report of enforcement is malformed, or not his to make; it is not kept."""


class DocumentNotYet(DocumentUnreadable):
    """A partner's report of enforcement is refused for a reason that may pass: it is read again."""


class ListStoreBehind(Fault):
    """The list store does not hold what was published from it: an older copy, or another."""


class BackupUnreadable(Fault):
    """A backup, or the key for it, cannot be read; nothing was restored."""

    exit_code = CONFIG_WRONG


class RestoreRefused(Fault):
    """The list store is not empty, or lost what was put back into it; nothing was changed."""
