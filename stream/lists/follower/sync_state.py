"""Sync state: how far each list is known, and what a step or a head changes in it. Pure.

A list is in one of these states: trusted (each step must follow the last), stale (to be read
again), being read, failed (to be read again at the next comparison), or lost. Lost means that the
list store knows less than we do: the list is kept as it is until the list store passes it again.
The allowlist is one of them, named "".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream.lists.follower.list_events import EventKind
from stream.lists.store.store_codec import Op, Step

ALLOWLIST = ""
"""Its name among the lists."""


@dataclass(frozen=True, slots=True)
class ListPosition:
    """The position in a list: its generation and the chain there, "" where that is unknown."""

    generation: int
    chain: str


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of a step or a head for one list. `fresh` are the new steps."""

    fresh: Sequence[Step] = ()
    kinds: tuple[tuple[EventKind, str], ...] = ()


@dataclass(slots=True)
class SyncState:
    """The positions of all lists and their states. While `foreign`, the list store is another one.

    `unread` are lists that could not be read when it was tried last, until one try succeeds.
    """

    foreign: bool = False
    stale: set[str] = field(default_factory=set)
    reading: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    _positions: dict[str, ListPosition] = field(default_factory=dict)

    def get(self, name: str) -> ListPosition | None:
        """Return the position in a list; None: the list is unknown."""
        return self._positions.get(name)

    def known(self, name: str, mark: ListPosition) -> None:
        """Trust a list that was read, from its position on."""
        self._positions[name] = mark
        self.reading.discard(name)
        self.unread.discard(name)

    def forget(self, name: str) -> None:
        """Forget a list that is no more."""
        self._positions.pop(name, None)
        for names in (self.stale, self.reading, self.failed, self.lost):
            names.discard(name)

    def copy(self) -> dict[str, ListPosition]:
        """Return a copy of all positions."""
        return dict(self._positions)

    def begin(self) -> set[str]:
        """Return the lists to read again now."""
        names = set() if self.foreign else self.stale - self.reading
        self.stale -= names
        self.reading |= names
        return names

    def fail(self, name: str) -> None:
        """Note that reading a list failed; the next comparison has it tried again."""
        self.reading.discard(name)
        self.failed.add(name)
        self.unread.add(name)

    def again(self, name: str) -> None:
        """Mark a list as stale that was not there when it was read, and is now."""
        self.reading.discard(name)
        self.stale.add(name)

    def break_off(self) -> None:
        """Mark what was being read as stale: the connection broke."""
        self.stale |= self.reading
        self.reading.clear()

    def take(self, name: str, steps: Sequence[Step]) -> SyncResult:
        """Go on by steps of one list, in the order of the stream; older ones are passed over.

        Every newer step is fresh and counts at once; the mark moves only along an unbroken chain.
        """
        mark = self._positions.get(name)
        if self.foreign:
            return SyncResult()
        if mark is None:
            self.stale.add(name)
            return SyncResult()
        fresh, kinds = [], []
        for step in steps:
            if step.generation <= mark.generation:
                continue
            fresh.append(step)
            if name in self.lost:
                self.lost.discard(name)
                self.stale.add(name)
            if name in self.stale or name in self.reading or name in self.failed:
                continue
            wrong = _break(mark, step)
            if wrong is not None:
                kinds.append(wrong)
                self.stale.add(name)
                continue
            if step.op == Op.BASE:
                # Until it is read we are where we were. A fail-over may lose it before that: a list
                # at a position that it never was at would be kept as one that we know more of.
                self.stale.add(name)
                continue
            mark = self._positions[name] = ListPosition(step.generation, step.chain)
            if step.op == Op.DELETE or name == ALLOWLIST:
                self.stale.add(name)
        return SyncResult(fresh, tuple(kinds))

    def compare(
        self,
        standing: Mapping[str, ListPosition],
        before: Mapping[str, ListPosition],
        deleted: Mapping[str, int] | None = None,
        *,
        all_stale: bool,
    ) -> dict[str, SyncResult]:
        """Compare the list store's heads with our positions.

        `standing` was read after `before` was copied, and all steps up to it were taken since.
        `deleted`: the last generation of each deleted list. Those are read again too, and are not
        found. `all_stale`: trust nothing, read all lists again.
        """
        found: dict[str, SyncResult] = {}
        self.unread &= standing.keys()  # one that could never be read may be gone since
        for name, mark in before.items():
            head = standing.get(name)
            if head is None and (deleted or {}).get(name, -1) >= mark.generation:
                self.lost.discard(name)
                self.stale.add(name)
                continue
            if (head is None or head.generation < mark.generation) and name not in self.lost:
                self.lost.add(name)
                self.stale.discard(name)
                has = f"generation {head.generation}" if head else "no such list"
                text = f"the list store has {has}, here is {mark.generation}: {by_hand(name)}"
                found[name] = SyncResult(kinds=((EventKind.REGISTER_LOST, text),))
        for name, head in standing.items():
            wrong = self._differs(name, head, stale=all_stale or name in self.failed)
            if wrong is not None:
                self.stale.add(name)
                self.failed.discard(name)
                found[name] = SyncResult(kinds=wrong)
        return found

    def went_back(
        self,
        standing: Mapping[str, ListPosition],
        before: Mapping[str, ListPosition],
        deleted: Mapping[str, int],
    ) -> bool:
        """Return whether the list store knows less of a list that is not lost yet."""
        return any(
            name not in self.lost
            and (standing.get(name) or ListPosition(deleted.get(name, -1), "")).generation
            < mark.generation
            for name, mark in before.items()
        )

    def _differs(
        self, name: str, head: ListPosition, *, stale: bool
    ) -> tuple[tuple[EventKind, str], ...] | None:
        """Return the events of a list that is to be read again; None: it is not."""
        mark = self._positions.get(name)
        if name in self.lost:
            if mark is not None and head.generation > mark.generation:
                self.lost.discard(name)
                return ()
            if mark == head:
                self.lost.discard(name)  # the lost steps were put back, just as they were
            return None
        if mark is None or stale:
            return ()
        if name in self.stale or name in self.reading:
            return None
        if mark.generation < head.generation:
            return ((EventKind.GAP, f"here {mark.generation}, list store {head.generation}"),)
        if mark.generation == head.generation and mark.chain != head.chain:
            return ((EventKind.CHECKSUM, f"generation {mark.generation} has another chain"),)
        return None


def by_hand(name: str) -> str:
    """Return the command that shows what a list lost ("": the allowlist), for people."""
    return f"`ringfence {f'lists repair {name}' if name else 'allow repair'}` says what to do"


def _break(mark: ListPosition, step: Step) -> tuple[EventKind, str] | None:
    if step.generation != mark.generation + 1:
        return EventKind.GAP, f"generation {step.generation} came after {mark.generation}"
    if not step.follows(mark.chain):
        return EventKind.CHECKSUM, f"generation {step.generation} does not follow the one before"
    return None
