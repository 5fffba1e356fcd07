"""What the register says of its lists, and what a change to one did: values only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from stream.core.filters.overlay import Change
from stream.core.model.free_text import cleaned
from stream.core.policy.list_scope import Scope


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something, and why: for the audit. What is not to be seen is marked there."""

    actor: str
    reason: str = ""

    def __post_init__(self) -> None:
        # Whoever asks says what is wrong with a text (`core.said.line_of`); nothing gets past here.
        object.__setattr__(self, "actor", cleaned(self.actor))
        object.__setattr__(self, "reason", cleaned(self.reason))


@dataclass(frozen=True, slots=True)
class ListHead:
    """A list as the register has it. `base` is its base's generation, 0: none yet.

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
    """Where the allowlist stands."""

    generation: int
    chain: str


@dataclass(frozen=True, slots=True)
class Heads:
    """All heads of one moment. `identity` is None in a register that holds nothing yet.

    `last_id` is the last step in the change stream at that moment. `deleted`: the last generation
    of each list that somebody deleted.
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


class Outcome(Enum):
    """What one edit did to its number: it is new on the list, has other reports, is off the list,
    or there was nothing to take off.
    """

    ADDED = "added"
    UPDATED = "updated"
    REMOVED = "removed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a series of adds or removes did, one outcome each; the list's generation after it."""

    generation: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """A number to take off a list; `number` is None where only the fingerprint is known."""

    fingerprint: int
    number: str | None


@dataclass(frozen=True, slots=True)
class Retraction:
    """A source's report of a number to take back; `number` is None where it is not known."""

    fingerprint: int
    number: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A generation for a new base, and the base that it replaces (0: none)."""

    name: str
    generation: int
    old_base: int


def unknown(name: str) -> str:
    """What is said of a list that the register does not have."""
    return f"no list {name} in the register: `ringfence lists create {name}` makes it"


Progress = Callable[[int, int], None]
"""Called with how much of how much is done."""


def no_progress(_done: int, _whole: int) -> None:
    """Tell nobody."""
