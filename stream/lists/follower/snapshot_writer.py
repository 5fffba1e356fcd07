"""Writes to the disk what this machine should know without the list store; never waited for."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower import local_state, snapshot_directory
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.sync_state import ALLOWLIST
from stream.lists.store.heads import AllowHead, ListState
from stream.lists.store.store_codec import Step

Tell = Callable[[EventKind, str, str], None]


class Keeper:
    """Takes what there is to keep, and writes it in order from a thread while `run` runs."""

    def __init__(self, state_dir: Path, tell: Tell) -> None:
        self._state_dir = state_dir
        self._tell = tell
        self._work = asyncio.Event()
        self._states: dict[str, ListState] = {}
        self._steps: dict[str, list[Step]] = {}
        self._known: tuple[str | None, AllowHead, Sequence[AllowEntry]] | None = None
        self._agreed = False
        self._gone: set[str] = set()

    def steps(self, name: str, steps: Sequence[Step]) -> None:
        """Steps of a list went live."""
        self._steps.setdefault(name, []).extend(steps)
        self._work.set()

    def anew(self, state: ListState) -> None:
        """A list was read again: its change log begins again from this."""
        self._states[state.head.name] = state
        self._steps.pop(state.head.name, None)
        self._work.set()

    def gone(self, name: str) -> None:
        """A list is no more."""
        self._states.pop(name, None)
        self._steps.pop(name, None)
        self._gone.add(name)
        self._work.set()

    def allowlist(
        self, identity: str | None, head: AllowHead, entries: Sequence[AllowEntry]
    ) -> None:
        """The allowlist was read, from this list store."""
        self._known = (identity, head, entries)
        self._work.set()

    def agreed(self) -> None:
        """All lists here were just compared with the list store's."""
        self._agreed = True
        self._work.set()

    async def run(self) -> None:
        """Write until cancelled. A snapshot that cannot be written is reported once and not tried
        again.
        """
        while True:
            await self._work.wait()
            self._work.clear()
            states, self._states = self._states, {}
            steps, self._steps = self._steps, {}
            known, self._known = self._known, None
            agreed, self._agreed = self._agreed, False
            gone, self._gone = self._gone, set()
            try:
                await asyncio.to_thread(self._write, states, steps, known, agreed, gone)
            except SnapshotUnreadable as error:
                self._tell(EventKind.STATE_DIR_FAILED, ALLOWLIST, str(error))

    def _write(
        self,
        states: dict[str, ListState],
        steps: dict[str, list[Step]],
        known: tuple[str | None, AllowHead, Sequence[AllowEntry]] | None,
        agreed: bool,
        gone: set[str],
    ) -> None:
        for name in gone:
            snapshot_directory.remove_list(self._state_dir, name)
        if known is not None:
            local_state.remember(self._state_dir, *known)
        for state in states.values():
            local_state.record_anew(self._state_dir, state)
        for name, new in steps.items():
            local_state.record(self._state_dir, name, new)
        if agreed:
            local_state.touch(self._state_dir)
