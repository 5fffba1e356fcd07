"""Our exceptions. A fault is an outage or an unusable artefact, never bad data in a stream.

Bad data is a returned value (`Rejected`), a bug is an assert. Every message names the place and
what to do next, since an operator reads it at night.
"""


class Fault(Exception):
    """Anything that Ringfence itself reports as gone wrong."""


class ConfigInvalid(Fault):
    """The configuration can not be used; `errors` holds every reason found, each with its place."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class SourceDown(Fault):
    """Call records can not be read or their positions not be committed."""


class SinkDown(Fault):
    """Decisions can not be published."""


class KafkaRefuses(Fault):
    """Kafka answers and does not let us in, or shows a certificate that we do not trust."""


class TopicMissing(Fault):
    """A topic that the configuration names does not exist or has too few partitions."""


class RegisterDown(Fault):
    """The register (Redis) does not answer."""


class RegisterUnsafe(Fault):
    """The register answers, but is set up in a way that could lose entries."""


class RegisterLost(Fault):
    """The register lost data: it is another one than before, or a generation went back."""


class ListUnknown(Fault):
    """No list of that name is in the register."""


class ChangeConflict(Fault):
    """Somebody else changed the list in between; nothing was written."""


class FilterUnreadable(Fault):
    """The bytes are not a pybloom-live 4 filter that can be trusted."""


class SnapshotUnreadable(Fault):
    """A snapshot, its manifest or one of its parts is damaged or not what it says."""
