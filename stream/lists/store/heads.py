"""Values of the list store: heads and states of lists, and effects of changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from stream.core.filters.overlay import Change
from stream.core.model.entry import Entry
from stream.core.model.free_text import cleaned
from stream.core.policy.list_scope import Scope


@dataclass(frozen=True, slots=True)
class By:
    """The actor of a change and the reason, for the audit. Hidden characters are marked there."""

    actor: str
    reason: str = ""

    def __post_init__(self) -> None:
        # Callers say what is wrong with a text (`core.model.free_text`); this is the last guard.
        object.__setattr__(self, "actor", cleaned(self.actor))
        object.__setattr__(self, "reason", cleaned(self.reason))


@dataclass(frozen=True, slots=True)
class ListHead:
    """A list as the list store has it. `base` is its base's generation, 0: none yet.

    `changes` counts numbers changed since the base (shortly after a new base also some that it
    holds already); `count` the numbers on the list. `scope` is what the feed that fills it without
    numbers may list, None: none does, or it has not said so.
    """

    name: str
    generation: int
    base: int
    chain: str
    circle: str
    count: int
    created_at_s: int
    actor: str
    changes: int
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class AllowHead:
    """The position of the allowlist."""

    generation: int
    chain: str


@dataclass(frozen=True, slots=True)
class Heads:
    """All heads of one moment. `identity` is None in a list store that holds nothing yet.

    `last_id` is the last step in the change stream at that moment. `deleted`: the last generation
    of each deleted list.
    """

    identity: str | None
    last_id: str
    allow: AllowHead
    lists: Mapping[str, ListHead]
    deleted: Mapping[str, int] = field(default_factory=dict)


class Numbered(NamedTuple):
    """A change and the generation it made; `op` and `payload` as in the change stream."""

    generation: int
    op: str
    payload: bytes
    change: Change


@dataclass(frozen=True, slots=True)
class ListState:
    """One list of one moment: its head, and each number's last change since its base, in order."""

    head: ListHead
    changes: tuple[Numbered, ...]


class EditOutcome(Enum):
    """The effect of an edit: the number is new on the list, has other reports, is off the list, or
    was not on it.
    """

    ADDED = "added"
    UPDATED = "updated"
    REMOVED = "removed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class EditResult:
    """The effects of a series of adds or removes, one each, and the list's generation after it."""

    generation: int
    outcomes: tuple[EditOutcome, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """A number to take off a list; `number` is None where only the fingerprint is known."""

    fingerprint: int
    number: str | None


@dataclass(frozen=True, slots=True)
class Retraction:
    """A source's report of a number to take back; `number` is None where it is not known.

    `owns`: the reports of every source for which it is true go too, in the same step.
    """

    fingerprint: int
    number: str | None
    source: str
    owns: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Restatement:
    """All reports of a number as they were (none: it was off the list), to be so again.

    `payload` is that of the step which made them so; `number` is None where it is not known.
    """

    fingerprint: int
    number: str | None
    reports: tuple[Entry, ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """A generation for a new base, and the base that it replaces (0: none)."""

    name: str
    generation: int
    old_base: int


def unknown(name: str) -> str:
    """Return the error text for a list that the list store does not have."""
    return f"no list {name} in the list store: `ringfence lists create {name}` makes it"


Progress = Callable[[int, int], None]
"""Called with how much of how much is done."""


def no_progress(*_: object) -> None:
    """Report nothing: the default where progress, or a stage's progress, may be reported."""
