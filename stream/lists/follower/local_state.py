"""The state on this machine: snapshots, change logs, allowlist, and the list store it follows.

All workers of a machine share it. Every function blocks on the disk: call them in a thread, as
`SnapshotWriter` does.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from stream.core.filters.blocklists import LiveList, fresh
from stream.core.filters.overlay import Change, Overlay
from stream.core.filters.snapshot import Snapshot
from stream.core.model.allowlist import NOBODY, AllowEntry, Allowlist
from stream.core.model.errors import UNREADABLE, SnapshotUnreadable, StateDirRefuses
from stream.core.policy.list_scope import NOTHING_KNOWN
from stream.lists.follower import change_log, snapshot_directory
from stream.lists.follower.change_log import ChangeLog, ChangeLogItem
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.sync_state import ALLOWLIST, ListPosition
from stream.lists.snapshot.durable_files import named_faults, replace_unless_newer
from stream.lists.store.heads import AllowHead, ListHead, ListState
from stream.lists.store.store_codec import (
    Op,
    Step,
    allow_json,
    allow_of,
    change_of,
    scope_json,
    scope_of,
)
from stream.ops import stored_format

_FILE = "register.json"
_MARK = "mark"
"""ChangeLog items that change nothing: they say where a list stood when it was read again."""
_EMPTY = "empty"
"""A change log's first item, at generation 0, of a list without a base: it begins empty, in the
circle that is the payload. Such a list has no snapshot on the disk; a base takes the item away."""


class _Known(msgspec.Struct, frozen=True):
    identity: str | None
    allow_generation: int
    allow_chain: str
    allow: list[str]
    allow_steps: list[ChangeLogItem] = []


@dataclass(frozen=True, slots=True)
class FollowedStore:
    """The identity of the list store that this machine follows (None: none yet), and its allowlist.

    `synced_at_s`: when a worker here last agreed with it, in seconds since the epoch. `steps` are
    the last ones of the allowlist, to be put back after a fail-over that lost them.
    """

    identity: str | None
    head: AllowHead
    allow: Allowlist
    synced_at_s: int
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalList:
    """A list as the snapshot directory has it."""

    live: LiveList
    mark: ListPosition


_ALLOW_STEPS_MAX = 1_000
"""300 kB, written with each change of the allowlist. A fail-over loses seconds."""
NOTHING = FollowedStore(None, AllowHead(0, ""), NOBODY, 0)


def known(state_dir: Path) -> FollowedStore:
    """Return what `remember` wrote last.

    Raises SnapshotUnreadable for a damaged file, FormatNewer for a newer Ringfence's directory.
    """
    stored_format.check_folder(state_dir)
    path = state_dir / _FILE
    with named_faults("state"):
        if not path.exists():
            return NOTHING
        data, synced_at_s = path.read_bytes(), int(path.stat().st_mtime)
    try:
        held = msgspec.json.decode(data, type=_Known)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{path}: {error}") from error
    entries = [allow_of(text.encode()) for text in held.allow]
    if None in entries:
        raise SnapshotUnreadable(f"{path}: an allow entry cannot be read")
    allow = Allowlist.of(entry for entry in entries if entry is not None)
    head = AllowHead(held.allow_generation, held.allow_chain)
    steps = tuple(step_of(ALLOWLIST, item) for item in held.allow_steps)
    return FollowedStore(held.identity, head, allow, synced_at_s, steps)


def touch(state_dir: Path) -> None:
    """Note that now the lists here agree with the list store: its file's time says when."""
    path = state_dir / _FILE
    with named_faults("state"):
        if path.exists():
            os.utime(path)


def remember(
    state_dir: Path,
    identity: str | None,
    head: AllowHead,
    allow: Iterable[AllowEntry],
    steps: Sequence[Step] = (),
) -> None:
    """Write which list store is followed and its allowlist; a newer one of another worker stays.

    `steps` are the known ones of the allowlist, some of which may be newer than `head`.
    """
    entries = [allow_json(entry).decode() for entry in allow]
    items = [_item(step) for step in steps if step.generation <= head.generation]
    record = _Known(identity, head.generation, head.chain, entries, items[-_ALLOW_STEPS_MAX:])

    def is_newer() -> bool:
        before = known(state_dir)
        return before.identity == identity and before.head.generation > head.generation

    with named_faults("state"):
        replace_unless_newer(state_dir / _FILE, msgspec.json.encode(record), is_newer)


def last_good(
    state_dir: Path, keys: Mapping[str, bytes], synced_at_s: int
) -> tuple[dict[str, LocalList], dict[str, str]]:
    """Return the lists of the snapshot directory with the changes in their change logs.

    And what was refused, by its place. A list that was withdrawn is in neither.
    """
    good = snapshot_directory.last_good(state_dir, keys)
    refused = {str(path): why for path, why in good.refused.items()}
    lists = {}
    for name, found in (good.snapshots | dict.fromkeys(good.without)).items():
        folder = snapshot_directory.list_folder(state_dir, name)
        opened, read, bad = _with_changes(folder, found, keys)
        refused |= bad
        if read.damaged is not None:
            refused[name] = read.damaged
        circle = opened.manifest.circle if opened is not None else _begins(read.items)
        if circle is None:
            continue  # the process ended before it wrote the list down
        if circle not in keys:
            refused[name] = f"no key for circle {circle}: it needs [circles.{circle}]"
            continue
        if any(item.op == Op.DELETE for item in read.items):
            # It was withdrawn, and the process ended before it took it from the disk. What came
            # since, if it is there again, is known to the list store alone.
            continue
        known = _kept_scope(state_dir, name)
        if known is _BROKEN:
            refused[str(_scope_file(state_dir, name))] = "it is no scope: it names nobody unseen"
        snapshot = opened or snapshot_directory.empty_snapshot(name, circle, keys[circle])
        lists[name] = _replayed(name, keys[circle], snapshot, read.items, synced_at_s, known)
    return lists, refused


def _with_changes(
    folder: Path, opened: Snapshot | None, keys: Mapping[str, bytes]
) -> tuple[Snapshot | None, ChangeLog, dict[str, str]]:
    """Return a list's snapshot and the changes after it, of one moment; and what was refused.

    Another worker may put a newer snapshot there meanwhile, and shorten the change log. As long as
    ours is still there, the change log has everything after it.
    """
    bad: dict[Path, str] = {}
    while True:
        try:
            after = opened.manifest.generation if opened is not None else -1
            read = change_log.replay(folder, after)
        except StateDirRefuses as error:
            read = ChangeLog((), str(error))  # as where its first line is damaged
        nothing_good = opened is None and bad
        if nothing_good or snapshot_directory.still_there(folder, opened):
            return opened, read, {str(path): why for path, why in bad.items()}
        opened, bad = snapshot_directory.newest(folder, keys)


def _begins(items: Sequence[ChangeLogItem]) -> str | None:
    """Return the circle in which a list without a base begins; None: these do not say it."""
    return items[0].payload if items and items[0].op == _EMPTY else None


def keep_scope(state_dir: Path, head: ListHead) -> None:
    """Write what a list's feed may list, if it is not there already.

    Written before the list's base and changes, so that no start enforces them without it. Blocks.
    Raises StateDirRefuses where the disk does not take it.
    """
    if head.scope is None:  # or the list store lost it: the one on the disk is stricter at worst
        return
    text = scope_json(head.scope).decode()
    data = msgspec.json.encode(_KeptScope(head.generation, text))

    def is_newer() -> bool:
        before = _kept_scope(state_dir, head.name)
        return before.scope == text or before.generation > head.generation

    with named_faults("scope"):
        if not is_newer():  # also before the lock, which a read-only disk refuses
            replace_unless_newer(_scope_file(state_dir, head.name), data, is_newer, ".scope.lock")


class _KeptScope(msgspec.Struct, frozen=True):
    """The scope at a generation of its list, as the list store writes it; "": none was said."""

    generation: int = 0
    scope: str = ""


_BROKEN = _KeptScope(0, "broken")
"""In place of a file that cannot be read."""


def _scope_file(state_dir: Path, name: str) -> Path:
    return snapshot_directory.list_folder(state_dir, name) / "scope.json"


def _kept_scope(state_dir: Path, name: str) -> _KeptScope:
    path = _scope_file(state_dir, name)
    if not path.exists():
        return _KeptScope()
    try:
        return msgspec.json.decode(path.read_bytes(), type=_KeptScope)
    except (OSError, *UNREADABLE):
        return _BROKEN


def _replayed(
    name: str,
    key: bytes,
    snapshot: Snapshot,
    items: Iterable[ChangeLogItem],
    synced_at_s: int,
    kept: _KeptScope,
) -> LocalList:
    live = fresh(name, key, snapshot, synced_at_s)
    mark = ListPosition(live.generation, "")
    changes: list[Change] = []
    for item in items:
        change = change_of(item.op, item.payload.encode())
        if change is not None:
            changes.append(change)
        if item.op == Op.SCOPE and item.generation > kept.generation:
            kept = _KeptScope(item.generation, item.payload)
        mark = ListPosition(item.generation, item.chain)
    scope = (scope_of(kept.scope.encode()) or NOTHING_KNOWN) if kept.scope else None
    overlay = Overlay({}).with_changes(changes)
    live = LiveList(name, key, snapshot, overlay, mark.generation, synced_at_s, scope)
    return LocalList(live, mark)


def record(state_dir: Path, name: str, steps: Iterable[Step]) -> bool:
    """Write steps of a list into its change log; return whether steps before them are missing."""
    return change_log.append(snapshot_directory.list_folder(state_dir, name), map(_item, steps))


def _item(step: Step) -> ChangeLogItem:
    # A payload that is no text changes nothing here either.
    payload = step.payload.decode(errors="replace")
    return ChangeLogItem(step.generation, step.op, payload, step.chain)


def step_of(name: str, item: ChangeLogItem) -> Step:
    """Return the step of a list that an item on the disk was."""
    return Step("", name, item.generation, item.op, item.payload.encode(), item.chain)


def record_whole(state_dir: Path, state: ListState, steps: Iterable[Step] = ()) -> None:
    """Write a list's changes as the list store has them, in place of what the change log says.

    `steps` came since. In one write: between two, another worker could append the step after them,
    and none of them would count as newer.
    """
    head = state.head
    keep_scope(state_dir, head)
    if not head.base:
        snapshot_directory.remove_snapshots(state_dir, head.name)
    items = [ChangeLogItem(c.generation, c.op, c.payload.decode(), "") for c in state.changes]
    if items and items[-1].generation == head.generation:
        items[-1] = msgspec.structs.replace(items[-1], chain=head.chain)
    else:
        items.append(ChangeLogItem(head.generation, _MARK, "", head.chain))
    if not head.base:
        items.insert(0, ChangeLogItem(0, _EMPTY, head.circle, ""))
    items += (_item(step) for step in steps if step.generation > head.generation)
    change_log.rewrite(snapshot_directory.list_folder(state_dir, head.name), items)


Tell = Callable[[EventKind, str, str], None]


@dataclass(frozen=True, slots=True)
class UnwrittenBase:
    """A list's base, as parts of a snapshot, and what it takes to write it."""

    head: ListHead
    parts: Mapping[str, bytes]
    key: bytes
    generations_kept: int

    def write(self, state_dir: Path) -> Path:
        """Write it, its scope first; return its folder. Blocks.

        Raises SnapshotUnreadable, StateDirRefuses.
        """
        keep_scope(state_dir, self.head)
        return snapshot_directory.write_snapshot(
            state_dir, self.parts, key=self.key, generations_kept=self.generations_kept
        )


@dataclass(slots=True)
class _Unwritten:
    """Parts of the local state that the disk does not have yet."""

    bases: dict[str, UnwrittenBase] = field(default_factory=dict)
    states: dict[str, ListState] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    known: tuple[str | None, AllowHead, Sequence[AllowEntry], Sequence[Step]] | None = None
    agreed: bool = False
    gone: dict[str, int] = field(default_factory=dict)
    """Deleted lists, and the generation at which each was."""


_STEPS_MAX = 100_000
"""Steps of a list that wait for a disk, some 30 MB; beyond, the oldest go, and a start without
Redis lacks them."""


class SnapshotWriter:
    """Takes what there is to keep, and writes it in order from a thread while `run` runs.

    `again` is called with a list whose change log lacks steps: it is to be read as a whole.
    """

    def __init__(
        self, state_dir: Path, tell: Tell, again: Callable[[str], None] = lambda _: None
    ) -> None:
        self._state_dir = state_dir
        self._tell = tell
        self._again = again
        self._gaps: set[str] = set()
        self._work = asyncio.Event()
        self._next = _Unwritten()
        self._told: set[str] = set()

    def steps(self, name: str, steps: Sequence[Step]) -> None:
        """Write down steps of a list that went live."""
        self._next.steps.setdefault(name, []).extend(steps)
        self._work.set()

    def replaced(self, state: ListState, base: UnwrittenBase | None = None) -> None:
        """Begin the change log of a list again: the list was read as a whole.

        `base`: the one that it was read with, where the disk did not take that yet.
        """
        name = state.head.name
        self._next.states[name] = state
        self._next.steps.pop(name, None)
        self._next.bases.pop(name, None)
        if base is not None:
            self._next.bases[name] = base
        self._work.set()

    def gone(self, name: str, upto: int) -> None:
        """Forget a list that was deleted at generation `upto`."""
        self._next.bases.pop(name, None)
        self._next.states.pop(name, None)
        self._next.steps.pop(name, None)
        self._next.gone[name] = upto
        self._work.set()

    def allowlist(
        self,
        identity: str | None,
        head: AllowHead,
        entries: Sequence[AllowEntry],
        steps: Sequence[Step],
    ) -> None:
        """Write down the allowlist as it was read, its known steps, and its list store."""
        self._next.known = (identity, head, entries, steps)
        self._work.set()

    def agreed(self) -> None:
        """Note that all lists here agree with the list store's now."""
        self._next.agreed = True
        self._work.set()

    async def run(self) -> None:
        """Write until cancelled. Writes that the disk refuses are tried again with the next ones.

        Each reason is reported once, until the disk has taken everything.
        """
        while True:
            await self._work.wait()
            self._work.clear()
            # Exchanged before the first await: what comes while the disk is slow is the next batch.
            unwritten, self._next = self._next, _Unwritten()
            try:
                await asyncio.to_thread(self._write, unwritten)
            except SnapshotUnreadable as error:
                self._next = _after(unwritten, self._next)
                if str(error) not in self._told:
                    self._told.add(str(error))
                    self._tell(EventKind.STATE_DIR_FAILED, ALLOWLIST, str(error))
            else:
                self._told.clear()
            while self._gaps:
                self._again(self._gaps.pop())

    def _write(self, unwritten: _Unwritten) -> None:
        # A list that is gone goes first: one of its name that came since is written after that, or
        # its base was written before this.
        for name, upto in unwritten.gone.items():
            snapshot_directory.remove_list(self._state_dir, name, upto)
        if unwritten.known is not None:
            remember(self._state_dir, *unwritten.known)
            with named_faults("state"):
                stored_format.mark_folder(self._state_dir)
        for base in unwritten.bases.values():
            base.write(self._state_dir)
        # The disk syncs together what several threads write: at a start that is each list.
        with ThreadPoolExecutor() as pool:
            since = [unwritten.steps.get(name, ()) for name in unwritten.states]
            whole = partial(record_whole, self._state_dir)
            list(pool.map(whole, unwritten.states.values(), since))
        for name, new in unwritten.steps.items():
            if name not in unwritten.states and record(self._state_dir, name, new):
                self._gaps.add(name)
        if unwritten.agreed:
            touch(self._state_dir)  # last: its time says that all before it is on the disk


def _after(before: _Unwritten, after: _Unwritten) -> _Unwritten:
    """Return all that is to be written, where `before` was refused and `after` came since.

    Without it a change log would lack steps, and a start without Redis the changes in them.
    """
    kept = before.states.keys() - after.gone
    again = after.gone.keys() | after.states.keys()
    bases = {name: base for name, base in before.bases.items() if name not in again}
    states = {name: before.states[name] for name in kept} | after.states
    steps: dict[str, list[Step]] = {}
    for name in before.steps.keys() | after.steps.keys():
        # A list that was read again has all of its earlier steps.
        earlier = [] if name in after.states or name in after.gone else before.steps.get(name, [])
        steps[name] = [*earlier, *after.steps.get(name, [])][-_STEPS_MAX:]
    return _Unwritten(
        bases=bases | after.bases,
        states=states,
        steps=steps,
        known=after.known or before.known,
        agreed=before.agreed or after.agreed,
        gone=before.gone | after.gone,
    )
