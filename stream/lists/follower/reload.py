"""Reading a list again from the list store: its base onto the snapshot directory, its changes over
it.

What goes on here takes seconds, so all of it is done in threads, and what is live stays live until
the new list is whole and checked.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.core.filters.blocklists import LiveList
from stream.core.filters.overlay import EMPTY
from stream.core.filters.snapshot import MANIFEST_PART, Snapshot, decode_manifest, open_snapshot
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower import local_state, snapshot_directory
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.heads import ListHead, ListState
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings

TRIES = 3
"""A list that gets a new base while it is read is read again; after that the next step tells of
it."""


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """Settings for following the list store.

    `keys` maps circles to their keys, b"" for `plain`. Times: `changes_block_ms` is the longest
    wait for a change, `reconcile_s` how often heads are compared.
    """

    register: ListStoreSettings
    state_dir: Path
    keys: Mapping[str, bytes]
    changes_block_ms: int = 1000
    reconcile_s: float = 10.0
    generations_kept: int = 2


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """The folder of snapshots, the circles' keys (`plain`: b""), and how many generations stay."""

    state_dir: Path
    keys: Mapping[str, bytes]
    generations_kept: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A list as the list store has it, and the state it was made from."""

    live: LiveList
    state: ListState


async def reload_list(
    register: ListStore, name: str, held: Snapshot | None, place: SnapshotSettings, now_s: int
) -> Reloaded:
    """Return the list `name` as it is in the list store; `held` is the snapshot that is live now.

    Raises ListStoreDown, ListUnknown, and SnapshotUnreadable if it cannot be used.
    """
    for last_try in (*[False] * (TRIES - 1), True):
        state = await register.state(name)
        head = state.head
        key = place.keys.get(head.circle)
        if key is None:
            raise SnapshotUnreadable(
                f"{name}: no key for circle {head.circle}: it needs a [circles.{head.circle}]"
            )
        try:
            held = await _base(register, head, held, key, place, now_s)
        except SnapshotUnreadable:
            # While it was read, newer bases may have taken its place and its keys be gone.
            if last_try or (await register.state(name)).head.base == head.base:
                raise
            continue
        await asyncio.to_thread(local_state.keep_scope, place.state_dir, head)
        overlay = EMPTY.with_changes(numbered.change for numbered in state.changes)
        live = LiveList(name, key, held, overlay, head.generation, now_s, head.scope)
        return Reloaded(live, state)
    raise AssertionError("the last try raises or returns")


async def _base(
    register: ListStore,
    head: ListHead,
    held: Snapshot | None,
    key: bytes,
    place: SnapshotSettings,
    now_s: int,
) -> Snapshot:
    """Return the list's base: the one that is live now, one in the snapshot directory, or read from
    the list store.

    A list store that was restored from an older copy gives generations out again, so a base is
    known by its manifest, not by its number.
    """
    if head.base:
        there = await register.manifest(head.name, head.base)
        if held is not None and held.manifest == decode_manifest(there):
            return held
        kept = await asyncio.to_thread(_on_disk, head, there, key, place)
        if kept is not None:
            return kept
    elif held is not None and not held.manifest.generation:
        return held
    if head.base:
        parts = await register.read_base(head.name, head.base)
        manifest = decode_manifest(parts[MANIFEST_PART])
        said = (manifest.list_name, manifest.generation, manifest.circle)
        if said != (head.name, head.base, head.circle):
            raise SnapshotUnreadable(f"{head.name}: base {head.base} says that it is {said}")
    else:
        parts = await asyncio.to_thread(_empty_parts, head, key, now_s)
    return await asyncio.to_thread(_keep_on_disk, parts, key, place)


def _on_disk(
    head: ListHead, manifest: bytes, key: bytes, place: SnapshotSettings
) -> Snapshot | None:
    """Return the base, if another worker of this machine has put it there already."""
    folder = snapshot_directory.list_folder(place.state_dir, head.name) / f"{head.base:012d}"
    try:
        if (folder / MANIFEST_PART).read_bytes() != manifest:
            return None
        snapshot = open_snapshot(folder, keys={head.circle: key})
    except (SnapshotUnreadable, OSError):
        return None  # it is written again
    return snapshot if snapshot.manifest.circle == head.circle else None


def _keep_on_disk(parts: Mapping[str, bytes], key: bytes, place: SnapshotSettings) -> Snapshot:
    folder = snapshot_directory.write_snapshot(
        place.state_dir, parts, key=key, generations_kept=place.generations_kept
    )
    return open_snapshot(folder, check=False)


def _empty_parts(head: ListHead, key: bytes, now_s: int) -> dict[str, bytes]:
    """Return a list without a base holds nothing but its changes: its snapshot is an empty one."""
    owner, _, name = head.name.partition("/")
    version = Version(owner, name, 0, head.circle, key, key_id(key))
    return build_snapshot(version, empty_columns(), now_s)
