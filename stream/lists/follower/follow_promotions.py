"""`<state_dir>/trials.json`: what was promoted and demoted, for a start without the list store.

All workers of a machine share it; a newer one of another worker stays. Functions block on the disk.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from stream.core.model.errors import (
    UNREADABLE,
    ChangeConflict,
    ListStoreRefuses,
    SnapshotUnreadable,
)
from stream.core.model.on_trial import NO_TRIALS, Trials
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.put_back import BY
from stream.lists.follower.sync_state import ALLOWLIST
from stream.lists.snapshot.durable_files import named_faults, replace_unless_newer
from stream.lists.store.promotions import StoredPromotions, TrialStore, records_of, trials_of
from stream.lists.store.settings import ListStoreSettings

_FILE: Final = "trials.json"


class _Kept(msgspec.Struct, frozen=True):
    identity: str | None
    generation: int
    turned: dict[str, str]


def last_known(state_dir: Path) -> StoredPromotions:
    """Return the last saved promotions. Raises SnapshotUnreadable for a damaged file."""
    path = state_dir / _FILE
    with named_faults("trials"):
        if not path.exists():
            return StoredPromotions(None, NO_TRIALS)
        data = path.read_bytes()
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{path}: {error}") from error
    records = {name: text.encode() for name, text in kept.turned.items()}
    read = trials_of(records, kept.generation)
    if read.unread:
        raise SnapshotUnreadable(f"{path}: {', '.join(map(str, sorted(read.unread)))}: unreadable")
    return replace(read, identity=kept.identity)


def keep(state_dir: Path, identity: str | None, trials: Trials) -> None:
    """Write it, all or nothing. Raises SnapshotUnreadable if the disk does not take it."""
    turned = {name: record.decode() for name, record in records_of(trials).items()}
    data = msgspec.json.encode(_Kept(identity, trials.generation, turned))

    def is_newer() -> bool:
        before = last_known(state_dir)
        return before.identity == identity and before.trials.generation > trials.generation

    with named_faults("trials"):
        replace_unless_newer(state_dir / _FILE, data, is_newer)


LOOK_S: Final = 1.0
"""A demotion must end wrong blocks within seconds, and one look is one small answer."""
Tell = Callable[[EventKind, str, str], None]


class PromotionFollower:
    """`load` first, then `look` once, then `run` as a task."""

    def __init__(self, settings: ListStoreSettings, state_dir: Path, tell: Tell) -> None:
        self.current: Trials = NO_TRIALS
        self._settings = settings
        self._state_dir = state_dir
        self._tell = tell
        self._identity: str | None = None
        self._told = ""

    def load(self) -> None:
        """Take what this machine last knew; blocks, and needs no list store."""
        try:
            known = last_known(self._state_dir)
        except SnapshotUnreadable as error:
            self._tell(EventKind.SNAPSHOT_REFUSED, ALLOWLIST, str(error))
            return
        self.current, self._identity = known.trials, known.identity

    async def look(self) -> bool:
        """Compare with the list store, once; whether anything changed. Raises ListStoreDown."""
        async with TrialStore.open(self._settings) as store:
            return await self._look(store)

    async def run(self, changed: Callable[[Trials], None]) -> None:
        """Follow the list store, and give `changed` whatever is new. Ends with ListStoreDown."""
        async with TrialStore.open(self._settings) as store:
            while True:
                if await self._look(store):
                    changed(self.current)
                await asyncio.sleep(LOOK_S)

    async def _look(self, store: TrialStore) -> bool:
        try:
            found = await store.read()
        except SnapshotUnreadable as error:
            self._once(EventKind.SNAPSHOT_REFUSED, str(error))
            return False
        if self._settings.put_back and self._went_back(found):
            found = await self._put_back(store, found)
        if not self._is_newer(found):
            return False
        self._told = ""
        self.current, self._identity = found.over(self.current), found.identity
        turned = ", ".join(
            f"{target} {one.standing}" for target, one in sorted(self.current.turned.items())
        )
        self._tell(EventKind.TRIALS, ALLOWLIST, turned or "all is as the settings say")
        try:
            await asyncio.to_thread(keep, self._state_dir, found.identity, self.current)
        except SnapshotUnreadable as error:
            self._tell(EventKind.STATE_DIR_FAILED, ALLOWLIST, str(error))
        return True

    def _went_back(self, found: StoredPromotions) -> bool:
        ours, theirs = self.current.generation, found.trials.generation
        return found.identity == self._identity is not None and theirs < ours

    async def _put_back(self, store: TrialStore, found: StoredPromotions) -> StoredPromotions:
        """Make promotions and demotions what they were before a fail-over; return what is there."""
        ours, theirs = self.current.turned, found.trials.turned
        lost = sorted(one for one in {*ours, *theirs} if ours.get(one) != theirs.get(one))
        try:
            for target in lost:
                detail = f"{target}: put back, a fail-over lost it"
                seen = found.unread.get(target)
                await store.turn(
                    target, theirs.get(target), ours.get(target), BY, "put_back", detail, seen
                )
        except (ChangeConflict, ListStoreRefuses) as fault:
            self._once(EventKind.CHANGES_LOST, f"promotions and demotions: {fault}")
            return await store.read()
        if not lost:  # another process was first, or nothing differs but the number
            self.current = replace(self.current, generation=found.trials.generation)
            return found
        told = ", ".join(map(str, lost))
        self._tell(
            EventKind.PUT_BACK, ALLOWLIST, f"promotions and demotions are there again: {told}"
        )
        return await store.read()

    def _is_newer(self, found: StoredPromotions) -> bool:
        # Generations only rise (decision 0114): a lower one is of a Redis that was restored, and
        # taking it over would put promoted lists back on trial, or the reverse.
        ours, theirs = self.current.generation, found.trials.generation
        if not ours:
            return theirs > 0
        if found.identity == self._identity and theirs >= ours:
            return theirs > ours
        if found.identity == self._identity:
            what = (
                f"Redis has promotions and demotions up to {theirs}, here are those up to {ours}, "
                "which stay. Restore a newer Redis; or say again what is to be in force "
                "(`ringfence promote`) or on trial (`ringfence demote`)"
            )
        else:
            what = (
                f"Redis is list store {found.identity or 'none, it is empty'}, the promotions and "
                f"demotions here are of list store {self._identity} and stay. Restore Redis; or, "
                f"to start over with what it holds, stop the process and remove {self._state_dir}"
            )
        self._once(EventKind.REGISTER_LOST, what)
        return False

    def _once(self, kind: EventKind, detail: str) -> None:
        if detail != self._told:
            self._told = detail
            self._tell(kind, ALLOWLIST, detail)
