"""Replace the content of a list: imports, feeds, rebuilds, rollbacks, repairs and rekeying.

`rewrite` reserves a generation, reads the list, builds and verifies a new base, writes it beside
the old one and publishes it. Changes that others make meanwhile lie over the new base and stay.
"""

import asyncio
import tarfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import fingerprints_in
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    decode_manifest,
    read_snapshot,
)
from stream.core.model.entry import Columns
from stream.core.model.errors import (
    ChangeConflict,
    Fault,
    ListStoreLost,
    SnapshotUnreadable,
    VersionGone,
)
from stream.core.numbers.codes import texts_of
from stream.lists.snapshot.build import (
    Parts,
    Version,
    bare_snapshot,
    build_snapshot,
    completed,
    verify_parts,
    with_changes,
)
from stream.lists.snapshot.circle_keys import is_later, key_id
from stream.lists.snapshot.merge import empty_columns, held_in, in_order, picked
from stream.lists.store.heads import By, ListState, Numbered, Reservation, no_progress
from stream.lists.store.list_content import columns_in, content, is_bare, past_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.store_codec import REBUILD, REKEY, BaseRecord, Op, base_of

TRIES = 5
"""Rewrites of one list at the same moment are rare and take seconds to minutes. After five lost
races something is wrong that one more build cannot repair, and the operator must know."""
_PUBLISH_TRIES = 100
"""A single edit between reading the head and moving it costs one more try, of about a millisecond.
A list that is edited without a pause for a hundred tries is being flooded."""

Stage = Callable[[str, int, int], None]
"""Receives the name of the running stage, the work done, and the whole work."""


@dataclass(frozen=True, slots=True)
class BaseOrigin:
    """The reason for a base and its actor: `import`, `rebuild`, `rollback`, `repair` or `rekey`.

    `of` is the generation whose content is put back, else 0; the new generation is above `floor`.
    `filter_data` is the owner's filter, where only that filter holds some of the entries.
    `samples` (S16) are numbers that a bare filter must hold.
    `circle` moves the list to that circle. Such a rewrite starts again if anybody changes the list
    meanwhile: the change would be hashed with the wrong key.
    """

    what: str
    by: By
    of: int = 0
    floor: int = 0
    filter_data: bytes = field(default=b"", repr=False)
    samples: NDArray[np.bytes_] | None = field(default=None, repr=False)
    circle: str = ""


@dataclass(frozen=True, slots=True)
class Rebased:
    """Effect of a new base: the generations before and after, and the numbers on the list.

    `folded` counts the changes that lay over the old base.
    """

    before: int
    generation: int
    count: int
    folded: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """The list as a rewrite finds it: its reserved generation and its state just after that."""

    store: ListStore
    reservation: Reservation
    state: ListState

    async def columns(self, key: bytes, *, skip_damaged: bool = False) -> Columns:
        """Return the entries at the reservation, hashed with `key`.

        `skip_damaged` takes a base that cannot be read for an empty one, to repair the list.
        """
        name, base = self.reservation.name, self.reservation.old_base
        try:
            held = await columns_in(self.store, name, base, key)
        except SnapshotUnreadable:
            if not skip_damaged:
                raise
            held = empty_columns()
        # Later changes lie over the new base by themselves. Folded in, they would be there twice.
        at = self.reservation.generation
        before = [one.change for one in self.state.changes if one.generation <= at]
        return await asyncio.to_thread(with_changes, held, before)


Make = Callable[[Draft], Awaitable[Columns | bytes]]
"""Makes the new content: entries, or the bytes of a bare filter. Runs again after a lost race."""


async def rewrite(
    store: ListStore,
    name: str,
    key: bytes,
    origin: BaseOrigin,
    make: Make,
    now_s: int,
    stage: Stage = no_progress,
    *,
    tries: int = TRIES,
) -> Rebased:
    """Publish what `make` returns as the new base of list `name`, hashed with `key`.

    After a lost race (ChangeConflict) the whole rewrite runs again, `tries` times in all. Raises
    ChangeConflict after the last try, ListUnknown, SnapshotUnreadable and the list store's faults.
    In each case the list keeps its old base.
    """
    lost: ChangeConflict | None = None
    for _ in range(tries):
        # The order matters: the reservation comes first, so every change that `state` misses has a
        # generation above it and lies over the new base.
        reservation = await store.reserve(name, origin.by)
        state = await store.state(name)
        if state.head.base != reservation.old_base:
            continue  # another base came between these lines, and dropped the reservation
        try:
            made = await make(Draft(store, reservation, state))
        except Fault as fault:
            await _discard(store, reservation, fault)
            if not isinstance(fault, ChangeConflict):
                raise
            lost = fault
            continue
        circle = origin.circle or state.head.circle
        try:
            generation, count = await publish_whole(
                store, reservation, circle, key, made, now_s, origin, stage
            )
        except ChangeConflict as conflict:
            lost = conflict
            continue
        # Followers ignore changes that the base holds, so this is safe at any later moment too.
        await store.sweep(name)
        return Rebased(reservation.generation - 1, generation, count, len(state.changes))
    times = "once" if tries == 1 else f"{tries} times"
    raise ChangeConflict(
        f"{name}: nothing was changed: others changed the list {times} while this {origin.what} "
        "was made; let what writes it pause for a minute, then try again"
    ) from lost


async def rewrite_once(
    store: ListStore,
    name: str,
    key: bytes,
    origin: BaseOrigin,
    make: Make,
    now_s: int,
    stage: Stage = no_progress,
) -> Rebased:
    """Rewrite the list with a single try, for changes that a person decided on.

    If another writer publishes a base first, the error names that base and nothing changes. A
    rollback must not undo a state that its operator never saw.
    """
    try:
        return await rewrite(store, name, key, origin, make, now_s, stage, tries=1)
    except ChangeConflict as conflict:
        raise ChangeConflict(await _who_was_first(store, name, origin)) from conflict


async def rebuild(
    store: ListStore, name: str, key: bytes, by: By, now_s: int, stage: Stage = no_progress
) -> Rebased:
    """Fold the changes since the list's base into a new base; the content stays the same.

    Raises ListUnknown, ChangeConflict, ListStoreDown, ListStoreLost, SnapshotUnreadable.
    """
    head = (await store.state(name)).head
    if head.base and not decode_manifest(await store.manifest(name, head.base)).has_entries:
        raise ChangeConflict(
            f"{name}: nothing was changed: its base is a bare filter, to which nothing can be "
            "added; its changes stay in front of it"
        )

    async def folded(draft: Draft) -> Columns:
        return await draft.columns(key)

    return await rewrite_once(store, name, key, BaseOrigin(REBUILD, by), folded, now_s, stage)


async def rollback(
    store: ListStore,
    name: str,
    generation: int,
    key: bytes,
    by: By,
    now_s: int,
    stage: Stage = no_progress,
) -> Rebased:
    """Restore the content of `generation` as a new generation.

    Raises VersionGone, ListUnknown, ChangeConflict, ListStoreDown, ListStoreLost,
    SnapshotUnreadable; in each case nothing was changed.
    """
    # Refuse an unknown generation before the rollback reserves one: a refusal leaves no trace.
    (await past_of(store, name)).stretch_of(generation)

    async def as_it_was(_: Draft) -> Columns | bytes:
        past = await past_of(store, name)
        stretch = past.stretch_of(generation)
        if not await is_bare(store, past, stretch):
            return await content(store, past, generation, key)
        if any(past.changes(stretch, generation)):
            raise VersionGone(
                f"{name}: generation {generation} is a bare filter with changes in front of it, "
                f"which cannot be put back as one; {stretch.base.published} can"
            )
        return (await store.read_base(name, stretch.base.generation))[FILTER_PART]

    origin = BaseOrigin("rollback", by, of=generation)
    return await rewrite_once(store, name, key, origin, as_it_was, now_s, stage)


async def repaired(
    store: ListStore,
    name: str,
    key: bytes,
    origin: BaseOrigin,
    known: tuple[Columns, Sequence[Change]],
    seen: int,
    now_s: int,
    stage: Stage = no_progress,
) -> Rebased:
    """Publish what is known of a list: entries, and changes over them.

    `seen` is the list's generation when `known` was gathered: what was changed after it stays.
    Raises as `rebuild` does, also ChangeConflict where another base came after `seen`.
    """

    async def as_known(draft: Draft) -> Columns:
        if draft.state.head.base > seen:
            raise ChangeConflict(f"{name} has another base by now")
        at = draft.reservation.generation
        later = [c.change for c in draft.state.changes if seen < c.generation <= at]
        columns, changes = known
        return await asyncio.to_thread(with_changes, columns, [*changes, *later])

    return await rewrite_once(store, name, key, origin, as_known, now_s, stage)


async def _who_was_first(store: ListStore, name: str, origin: BaseOrigin) -> str:
    """Name the base that was published instead, or who deleted the list, from the audit log."""
    async for entry in store.past.audit():
        if entry.list_name == name and entry.op == Op.DELETE:
            return (
                f"{name}: {entry.actor} deleted the list meanwhile, and it was created again. "
                f"This {origin.what} changed nothing"
            )
        if entry.list_name == name and entry.op == Op.BASE:
            record = base_of(entry.detail.encode())
            what = record.what if record else "new base"
            why = f": {entry.reason}" if entry.reason else ""
            return (
                f"{name}: {entry.actor} was first: {what}, generation {entry.generation}{why}. "
                f"This {origin.what} changed nothing; look at `ringfence lists history {name}`"
            )
    return f"{name}: somebody else published a new base; this {origin.what} changed nothing"


async def publish_whole(
    store: ListStore,
    reservation: Reservation,
    circle: str,
    key: bytes,
    made: Columns | bytes,
    now_s: int,
    origin: BaseOrigin,
    stage: Stage = no_progress,
) -> tuple[int, int]:
    """Publish `made` (entries, or a bare filter) at the reserved generation.

    Returns the generation after it and the count of numbers on the list then. Raises ChangeConflict
    if the list has another base by now than the reservation replaces: then nothing was changed.
    What was written and not published is removed.
    """
    bare = made if isinstance(made, bytes) else None
    whole = empty_columns() if isinstance(made, bytes) else made
    try:
        owners = origin.filter_data or None
        if owners is None and bare is None:
            owners = await _owners_filter(store, reservation, whole)
        parts = await asyncio.to_thread(
            _built, reservation, circle, key, whole, now_s, stage, owners, bare, origin.samples
        )
        held = decode_manifest(parts[MANIFEST_PART])
        numbers = whole.numbers if held.has_entries else held.count
        await store.write_base(reservation, parts, lambda d, w: stage("writing", d, w))
        digest = sha256(parts[MANIFEST_PART]).hexdigest()
        record = BaseRecord(reservation.generation, numbers, digest, origin.what, origin.of)
        done = await _publish(store, reservation, record, whole, origin)
    except Fault as fault:
        # PUBLISH drops all bases that others were writing to replace the same base, and DELETE all.
        overtaken = isinstance(fault, ListStoreLost) and not await store.is_reserved(reservation)
        await _discard(store, reservation, fault)
        if overtaken:
            raise ChangeConflict(f"{reservation.name} has another base by now") from fault
        raise
    await store.archive()
    return done


async def _discard(store: ListStore, reservation: Reservation, why: Fault) -> None:
    try:
        await store.discard(reservation)
    except Fault as fault:
        # The blobs expire by themselves. The first fault is the one to report.
        why.add_note(f"what was written of it could not be removed: {fault}")


async def _owners_filter(
    store: ListStore, reservation: Reservation, whole: Columns
) -> bytes | None:
    """Return the filter of a kept base that holds all entries known by fingerprint alone.

    None: there are no such entries. Raises SnapshotUnreadable where no base holds them all: such an
    entry cannot be added to a new filter, which takes numbers.
    """
    bare = np.unique(whole.fingerprint[whole.number == 0])
    if not len(bare):
        return None
    name = reservation.name
    kept = [base.generation for base in await store.past.bases(name)]
    absent = len(bare)
    for generation in dict.fromkeys((reservation.old_base, *kept)):
        if not generation:
            continue
        parts = await store.read_base(name, generation)
        columns = (await asyncio.to_thread(read_snapshot, parts)).columns
        held = held_in(columns, bare) if columns is not None else np.zeros(len(bare), np.bool_)
        absent = min(absent, int((~held).sum()))
        if not absent:
            return parts[FILTER_PART]
    raise SnapshotUnreadable(
        f"{name}: of {absent} numbers only the fingerprints are known, and no filter here holds "
        "them: they stay changes until its owner's next whole list brings one"
    )


def _built(
    reservation: Reservation,
    circle: str,
    key: bytes,
    whole: Columns,
    now_s: int,
    stage: Stage,
    filter_data: bytes | None,
    bare: bytes | None,
    samples: NDArray[np.bytes_] | None,
) -> Parts:
    owner, _, name = reservation.name.partition("/")
    version = Version(owner, name, reservation.generation, circle, key, key_id(key))
    if filter_data is not None:
        filter_data = completed(filter_data, whole, key)
    if bare is not None:
        parts = bare_snapshot(version, bare, now_s, samples)
    else:
        parts = build_snapshot(
            version, whole, now_s, lambda d, w: stage("building", d, w), filter_data
        )
    verify_parts(parts, key, lambda d, w: stage("proving", d, w))
    return parts


async def _publish(
    store: ListStore,
    reservation: Reservation,
    record: BaseRecord,
    whole: Columns,
    origin: BaseOrigin,
) -> tuple[int, int]:
    """Publish with the count of that very generation; retry when an edit changes it meanwhile."""
    numbers = record.count
    for _ in range(_PUBLISH_TRIES):
        state = await store.state(reservation.name)
        after = [c for c in state.changes if c.generation > reservation.generation]
        if origin.circle and after:
            raise ChangeConflict(f"{reservation.name} was changed while it was rekeyed")
        count = numbers + added_by(after, whole)
        generation = await store.publish_base(
            reservation, record, state.head, count, origin.by, origin.floor, origin.circle
        )
        if generation is not None:
            return generation, count
    raise ChangeConflict(f"{reservation.name} is changed without a pause; nothing was changed")


def added_by(changes: Sequence[Numbered], whole: Columns) -> int:
    """Count the numbers that `changes` add to `whole`, minus those they remove."""
    if not changes:
        return 0
    fingerprints = np.array([c.change.fingerprint for c in changes], np.uint64)
    held = held_in(whole, fingerprints).tolist()
    return sum(
        int(bool(c.change.entries)) - int(there) for c, there in zip(changes, held, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Move:
    """The move of a list: to `circle` with its `key`, from the circle with `key_before`."""

    circle: str
    key: bytes = field(repr=False)
    key_before: bytes = field(repr=False)


def rehashed(columns: Columns, key: bytes) -> Columns:
    """Return the rows whose numbers are known, hashed with `key`, without the others. Blocks."""
    known = picked(columns, np.flatnonzero(columns.number != 0))
    arrays = {column.name: getattr(known, column.name) for column in COLUMNS}
    arrays["fingerprint"] = fingerprints_in(texts_of(known.number), key)
    arrays["source"] = known.source.astype(np.int64)
    return in_order(arrays, known.sources)


def is_hashed(columns: Columns, key: bytes) -> bool:
    """Return whether the fingerprints of all rows whose numbers are known are of `key`."""
    known = columns.number != 0
    made = fingerprints_in(texts_of(columns.number[known]), key)
    return np.array_equal(made, columns.fingerprint[known])


def unknown_rows(columns: Columns, lost: Callable[[str], bool]) -> int:
    """Count the rows known by fingerprint alone, except those whose source is `lost` on purpose."""
    kept = np.array([not lost(name) for name in columns.sources] or [True])
    return int(((columns.number == 0) & kept[columns.source]).sum())


async def rekey(
    store: ListStore, name: str, move: Move, by: By, now_s: int, stage: Stage = no_progress
) -> Rebased:
    """Hash all numbers of a list with the key of `move`, and move the list to that circle.

    The new base and the new circle go live in one step. So at every moment all fingerprints of the
    list are of one key. Entries known by fingerprint alone can be rehashed by their owner only.
    Raises ChangeConflict if others change it without a pause, ListUnknown, and SnapshotUnreadable
    if entries are known by fingerprint only. It also raises the list store's faults. Then nothing
    was changed.
    """

    async def with_new_key(draft: Draft) -> Columns:
        old = await draft.columns(move.key_before)
        if bare := unknown_rows(old, lambda _: False):
            raise SnapshotUnreadable(
                f"{name}: nothing was changed: of {bare:,} entries only fingerprints are known, "
                "which their owner alone can hash with another key"
            )
        return await asyncio.to_thread(rehashed, old, move.key)

    origin = BaseOrigin(REKEY, by, circle=move.circle)
    return await rewrite(store, name, move.key, origin, with_new_key, now_s, stage)


def move_of(path: Path, circle: str, keys: Mapping[str, bytes]) -> Move | None:
    """Return the move that a fetched whole list asks for: to a later key of `circle`."""
    try:
        with tarfile.open(path, "r:") as archive:
            part = archive.extractfile(MANIFEST_PART)
            manifest = decode_manifest(part.read()) if part is not None else None
    except (tarfile.TarError, OSError, KeyError, SnapshotUnreadable):
        return None  # its next reader reports what is wrong with it
    if manifest is None or not is_later(manifest.circle, circle) or circle not in keys:
        return None
    key = keys.get(manifest.circle)
    if key is None or key_id(key) != manifest.key_id:
        return None
    return Move(manifest.circle, key, keys[circle])
