"""Read a list again from the list store, and make the next `Blocklists` of all lists.

Both take seconds, so both run in threads. What is live stays live until the new value is whole and
checked. Changes that arrive meanwhile are applied to the new value before it goes live.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from stream.core.filters.blocklists import Blocklists, LiveList, Table
from stream.core.filters.overlay import EMPTY
from stream.core.filters.snapshot import (
    MANIFEST_PART,
    Snapshot,
    decode_manifest,
    open_snapshot,
    read_snapshot,
)
from stream.core.model.allowlist import NOBODY, Allowlist
from stream.core.model.errors import ListUnknown, SnapshotUnreadable, StateDirRefuses
from stream.lists.follower import local_state, snapshot_directory, table_cache
from stream.lists.follower.local_state import UnwrittenBase
from stream.lists.snapshot.durable_files import locked
from stream.lists.store.heads import ListHead, ListState
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import together

log = logging.getLogger(__name__)

_TURN = ".reading"
_TURN_POLL_S = 0.2  # reading a list takes seconds
TURN_S_MAX = 120.0
"""A worker that holds the turn may have been paused: after so long the others read by themselves.
Ten million entries take seconds."""
_Names = tuple[tuple[str, str], ...]
"""The parts of a table: each list's name, and the SHA-256 of its filter."""
AT_ONCE = 6
"""Lists that are read at the same time: the disk syncs what several write together. A list takes a
connection of the eight that a client has."""
LARGE = 100_000
"""Entries of a list that no other is read beside: 33 bytes each, several times over."""
TRIES = 3
"""A list that gets a new base while it is read is read again. After three times it waits for the
next step of the list, which has it read again too."""


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """Settings for following the list store.

    `keys` maps circles to their keys, b"" for `plain`. Times: `changes_block_ms` is the longest
    wait for a change, `reconcile_s` how often heads are compared.
    """

    list_store: ListStoreSettings
    state_dir: Path
    keys: Mapping[str, bytes]
    changes_block_ms: int = 1000
    reconcile_s: float = 10.0
    generations_kept: int = 2


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A list as the list store has it, and the state it was made from.

    `unwritten` is its base where the disk did not take it: it is enforced from memory.
    """

    live: LiveList
    state: ListState
    unwritten: UnwrittenBase | None = None


async def reload_lists(
    store: ListStore, held: Mapping[str, Snapshot | None], settings: RefreshSettings, now_s: int
) -> Mapping[str, Reloaded | ListUnknown | SnapshotUnreadable]:
    """Return lists as they are in the list store, or why one is not there or cannot be used.

    `held` has the snapshot of each that is live now; at most `AT_ONCE`. Raises ListStoreDown.
    """
    found: dict[str, Reloaded | ListUnknown | SnapshotUnreadable] = {}
    alone = asyncio.Lock()

    async def read(name: str) -> None:
        try:
            found[name] = await _reload(store, name, held[name], settings, now_s, alone)
        except (ListUnknown, SnapshotUnreadable) as error:
            found[name] = error

    await together(*map(read, held))
    return {name: found[name] for name in held}


async def _reload(
    store: ListStore,
    name: str,
    held: Snapshot | None,
    settings: RefreshSettings,
    now_s: int,
    alone: asyncio.Lock,
) -> Reloaded:
    for last_try in (*[False] * (TRIES - 1), True):
        state = await store.state(name)
        head = state.head
        key = settings.keys.get(head.circle)
        if key is None:
            raise SnapshotUnreadable(
                f"{name}: no key for circle {head.circle}: it needs a [circles.{head.circle}]"
            )
        try:
            # A large list is read and checked alone.
            async with alone if head.count > LARGE else nullcontext():
                held, unwritten = await _base(store, head, held, key, settings)
        except SnapshotUnreadable:
            # While it was read, newer bases may have taken its place and its keys be gone.
            if last_try or (await store.state(name)).head.base == head.base:
                raise
            continue
        with suppress(StateDirRefuses):  # the writer tries it again, and says why
            await asyncio.to_thread(local_state.keep_scope, settings.state_dir, head)
        overlay = EMPTY.with_changes(numbered.change for numbered in state.changes)
        live = LiveList(name, key, held, overlay, head.generation, now_s, head.scope)
        return Reloaded(live, state, unwritten)
    raise AssertionError("the last try raises or returns")


async def _base(
    store: ListStore, head: ListHead, held: Snapshot | None, key: bytes, settings: RefreshSettings
) -> tuple[Snapshot, UnwrittenBase | None]:
    """Return the list's base: the live one, the snapshot directory's, or the list store's.

    Second value: the same base, to be written later, if the disk does not take it now.

    A list store that was restored from an older copy issues generations again. So a base is known
    by its manifest, not by its number.
    """
    if not head.base:
        if held is not None and not held.manifest.generation:
            return held, None
        return snapshot_directory.empty_snapshot(head.name, head.circle, key), None
    there = await store.manifest(head.name, head.base)
    if held is not None and held.manifest == decode_manifest(there):
        return held, None
    kept = await asyncio.to_thread(_on_disk, head, there, key, settings)
    if kept is not None:
        return kept, None
    async with _turn(snapshot_directory.list_folder(settings.state_dir, head.name)):
        kept = await asyncio.to_thread(_on_disk, head, there, key, settings)
        if kept is not None:
            return kept, None
        parts = await store.read_base(head.name, head.base)
        manifest = decode_manifest(parts[MANIFEST_PART])
        said = (manifest.list_name, manifest.generation, manifest.circle)
        if said != (head.name, head.base, head.circle):
            raise SnapshotUnreadable(f"{head.name}: base {head.base} says that it is {said}")
        return await asyncio.to_thread(_keep_on_disk, head, parts, key, settings)


@asynccontextmanager
async def _turn(folder: Path) -> AsyncIterator[None]:
    """Wait until no other worker of this machine reads the list: one reads it for all.

    So each machine asks the list store for a new base once, not each of its workers.
    """
    until_s = time.monotonic() + TURN_S_MAX
    while True:
        with ExitStack() as stack:
            mine = stack.enter_context(_taken(folder))
            if mine or time.monotonic() > until_s:
                yield
                return
        await asyncio.sleep(_TURN_POLL_S)


@contextmanager
def _taken(folder: Path) -> Iterator[bool]:
    """Hold the turn, at most until the process ends; yield False if another worker has it.

    Where the disk takes no lock each reads by itself.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mine = stack.enter_context(locked(folder / _TURN, wait=False))
        except OSError:
            mine = True
        yield mine


def _on_disk(
    head: ListHead, manifest: bytes, key: bytes, settings: RefreshSettings
) -> Snapshot | None:
    """Return the base, if another worker of this machine has put it there already."""
    folder = snapshot_directory.list_folder(settings.state_dir, head.name) / f"{head.base:012d}"
    snapshot = snapshot_directory.whole(folder, manifest, {head.circle: key})
    if snapshot is None or snapshot.manifest.circle != head.circle:
        return None  # it is written again
    return snapshot


def _keep_on_disk(
    head: ListHead, parts: Mapping[str, bytes], key: bytes, settings: RefreshSettings
) -> tuple[Snapshot, UnwrittenBase | None]:
    """Write a base and map it; where the disk does not take it, have it in memory.

    A list that is not enforced is worse than 33 MB for each million numbers.
    """
    base = UnwrittenBase(head, parts, key, settings.generations_kept)
    try:
        folder = base.write(settings.state_dir)
    except StateDirRefuses:  # the writer tries it again, and says why
        return read_snapshot(parts, key=key), base
    return open_snapshot(folder, check=False), None


def unusable(name: str) -> LiveList:
    """Return a list that is there and cannot be asked."""
    return LiveList(name, b"", None, EMPTY, 0, 0)


class Installer:
    """Builds whole `Blocklists`; holds the tables of the last one, which most swaps need again."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._tables: dict[_Names, Table] = {}
        self._arrived: list[tuple[str, Callable[[Blocklists], Blocklists]]] | None = None

    def whole(self, lives: Iterable[LiveList], allow: Allowlist) -> Blocklists:
        """Return the value that enforces `lives`; blocks where a table is new.

        A table that the disk does not take is in memory. Raises SnapshotUnreadable.
        """
        used: dict[_Names, Table] = {}

        def table_of(snapshots: Sequence[Snapshot]) -> Table:
            names = tuple((s.manifest.list_name, s.manifest.sha256) for s in snapshots)
            if names not in self._tables:
                self._tables[names] = self._table(snapshots)
            used[names] = self._tables[names]
            return used[names]

        made = Blocklists.of(lives, allow, table_of)
        self._tables = used
        return made

    def _table(self, snapshots: Sequence[Snapshot]) -> Table:
        try:
            return table_cache.table_for(self._state_dir, snapshots)
        except StateDirRefuses as fault:
            log.warning("the table of lists is in this process' memory alone: %s", fault)
            return table_cache.in_memory(snapshots)

    async def build(self, lives: Sequence[LiveList], replaced: set[str]) -> Blocklists:
        """Run `whole` in a thread; add changes that arrived meanwhile for lists not `replaced`.

        The allowlist is left out: the caller adds the newest. Raises SnapshotUnreadable.
        """
        self._arrived = []
        try:
            made = await asyncio.to_thread(self.whole, lives, NOBODY)
            for name, changed in self._arrived:
                if name not in replaced:
                    made = changed(made)
        finally:
            self._arrived = None
        return made

    async def without(self, current: Blocklists, name: str) -> Blocklists:
        """Return the value that enforces the other lists alone. The allowlist is left out.

        Raises SnapshotUnreadable.
        """
        lives = [live for live in current.lists if live.name != name]
        return await self.build(lives, {name})

    def arrived(self, name: str, changed: Callable[[Blocklists], Blocklists]) -> None:
        """Note a change of a list that went live; a build that is under way gets it too."""
        if self._arrived is not None:
            self._arrived.append((name, changed))
