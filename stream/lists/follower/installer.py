"""Makes the next `Blocklists` in a thread, and brings it up to the moment before it goes live."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from stream.core.filters.blocklists import Blocklists, LiveList, Table
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import Snapshot
from stream.core.model.allowlist import NOBODY, Allowlist
from stream.core.policy.list_scope import Scope
from stream.lists.follower import table_cache

_Names = tuple[tuple[str, str], ...]


class Installer:
    """Builds whole `Blocklists`; holds the tables of the last one, which most swaps need again."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._tables: dict[_Names, Table] = {}
        self._arrived: list[tuple[str, Sequence[Change], int, int, Scope | None]] | None = None

    def whole(self, lives: Iterable[LiveList], allow: Allowlist) -> Blocklists:
        """Return the value that enforces `lives`; blocks where a table is new.

        Raises SnapshotUnreadable if the disk does not take a table.
        """
        used: dict[_Names, Table] = {}

        def table_of(snapshots: Sequence[Snapshot]) -> Table:
            names = tuple((s.manifest.list_name, s.manifest.sha256) for s in snapshots)
            if names not in self._tables:
                self._tables[names] = table_cache.table_for(self._state_dir, snapshots)
            used[names] = self._tables[names]
            return used[names]

        made = Blocklists.of(lives, allow, table_of)
        self._tables = used
        return made

    async def build(self, lives: Sequence[LiveList], replaced: set[str]) -> Blocklists:
        """`whole` in a thread, with the changes that arrived meanwhile for lists not `replaced`.

        The allowlist is left out. Raises SnapshotUnreadable.
        """
        self._arrived = []
        try:
            made = await asyncio.to_thread(self.whole, lives, NOBODY)
            for name, changes, generation, now_s, scope in self._arrived:
                if name not in replaced:
                    made = made.with_changes(name, changes, generation, now_s, scope)
        finally:
            self._arrived = None
        return made

    async def without(self, current: Blocklists, name: str) -> Blocklists:
        """Return the value that enforces the other lists alone. The allowlist is left out.

        Raises SnapshotUnreadable.
        """
        lives = [live for live in current.lists if live.name != name]
        return await self.build(lives, {name})

    def arrived(
        self, name: str, changes: Sequence[Change], generation: int, now_s: int, scope: Scope | None
    ) -> None:
        """Changes went live; if a build is under way, it will hold them too."""
        if self._arrived is not None:
            self._arrived.append((name, changes, generation, now_s, scope))
