"""Events of following the lists, for metrics and logs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """A closed list: each is a metric label and a line of the runbook."""

    LOADED = "loaded"
    """A list was loaded, from the snapshot directory or from the list store."""
    SWAPPED = "swapped"
    """New lists are enforced from now on."""
    DELETED = "deleted"
    """A person deleted the list: it is not enforced any more."""
    GAP = "gap"
    """Steps of a list were missed: it is read again."""
    CHECKSUM = "checksum"
    """A list's chain of changes differs from the list store's: it is read again."""
    REGISTER_UP = "register_up"
    REGISTER_DOWN = "register_down"
    """Redis does not answer: the lists in memory stay enforced, and it is tried again."""
    REGISTER_UNSAFE = "register_unsafe"
    """Redis was set up again so that it may lose entries: the lists in memory stay enforced."""
    REGISTER_LOST = "register_lost"
    """The list store lost data: the last good lists stay enforced until an operator acts."""
    PUT_BACK = "put_back"
    """A fail-over lost changes that were known here: the list store has them again."""
    CHANGES_LOST = "changes_lost"
    """A fail-over lost changes, and they are not in force: the event names them."""
    SNAPSHOT_REFUSED = "snapshot_refused"
    """A snapshot, a change or the allowlist could not be used: what was live stays."""
    TRIALS = "trials"
    """Something was promoted into force or put back on trial: it counts here from now on."""
    CLOCK_DIFFERS = "clock_differs"
    """The list store's clock and ours differ: entries begin and expire at another time."""
    STATE_DIR_FAILED = "shelf_failed"
    """The state directory took no change: a restart without Redis would not know it."""


@dataclass(frozen=True, slots=True)
class ListEvent:
    """`list_name` is "" where it concerns the allowlist or all lists."""

    kind: EventKind
    list_name: str
    detail: str


OnEvent = Callable[[ListEvent], None]
