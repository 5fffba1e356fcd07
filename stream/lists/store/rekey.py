"""A list moved to another circle, or to the next epoch of its own: each number hashed anew.

The new base and the new circle go live in one step, so at every moment the list's fingerprints are
of one key. What was hashed with the old one in between would be lost: then nothing is changed, and
it is begun again. Entries of which only a fingerprint is known can be hashed by their owner alone.
"""

import asyncio
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import COLUMNS, MANIFEST_PART, decode_manifest
from stream.core.model.entry import Columns
from stream.core.model.errors import ChangeConflict, SnapshotUnreadable
from stream.core.numbers.codes import texts_of
from stream.lists.snapshot.build import CHUNK, with_changes
from stream.lists.snapshot.circle_keys import is_later, key_id
from stream.lists.snapshot.merge import in_order, picked
from stream.lists.store.contents import TRIES, columns_in
from stream.lists.store.entry_codec import REKEY
from stream.lists.store.heads import By
from stream.lists.store.list_store import Register
from stream.lists.store.publish_base import Origin, Stage, publish_whole, silent


@dataclass(frozen=True, slots=True)
class Move:
    """Where a list goes: `circle` with its `key`, from the one whose key was `key_before`."""

    circle: str
    key: bytes = field(repr=False)
    key_before: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """The generation after it, and how many numbers are on the list."""

    generation: int
    count: int


def rehashed(columns: Columns, key: bytes) -> Columns:
    """The rows whose numbers are known, hashed with `key`; the others are left out. Blocks."""
    known = picked(columns, np.flatnonzero(columns.number != 0))
    fingerprint = np.empty(len(known), np.uint64)
    texts = texts_of(known.number)
    for at in range(0, len(known), CHUNK):
        digests = Digests(elements(texts[at : at + CHUNK], key))
        fingerprint[at : at + CHUNK] = digests.fingerprints()
    arrays = {column.name: getattr(known, column.name) for column in COLUMNS}
    arrays["fingerprint"], arrays["source"] = fingerprint, known.source.astype(np.int64)
    return in_order(arrays, known.sources)


def unknown_rows(columns: Columns, lost: Callable[[str], bool]) -> int:
    """Rows of which only fingerprints are known, but for those whose source is `lost` by will."""
    kept = np.array([not lost(name) for name in columns.sources] or [True])
    return int(((columns.number == 0) & kept[columns.source]).sum())


async def rekey(
    register: Register, name: str, move: Move, by: By, now_s: int, stage: Stage = silent
) -> Rekeyed:
    """Hash all numbers of a list anew, and let it be of the other circle from then on.

    Raises ChangeConflict where it is changed without a pause, ListUnknown, SnapshotUnreadable where
    there are entries of which only the fingerprints are known, and the register's Faults; then
    nothing was changed.
    """
    for _ in range(TRIES):
        reservation = await register.reserve(name, by)
        state = await register.state(name)
        if state.head.base != reservation.old_base:
            continue
        base = await columns_in(register, name, state.head.base, move.key_before)
        changes = [one.change for one in state.changes]
        old = await asyncio.to_thread(with_changes, base, changes)
        if bare := unknown_rows(old, lambda _: False):
            await register.discard(reservation)
            text = f"{name}: nothing was changed: of {bare:,} entries only fingerprints are known"
            raise SnapshotUnreadable(f"{text}, which their owner alone can hash with another key")
        whole = await asyncio.to_thread(rehashed, old, move.key)
        origin = Origin(REKEY, by, moves=True)
        try:
            generation, count = await publish_whole(
                register, reservation, move.circle, move.key, whole, now_s, origin, stage
            )
        except ChangeConflict:
            continue
        await register.sweep(name)
        return Rekeyed(generation, count)
    raise ChangeConflict(
        f"{name}: nothing was changed: others changed it each of {TRIES} times while it was hashed;"
        " let what writes it pause for a minute"
    )


def move_of(path: Path, circle: str, keys: Mapping[str, bytes]) -> Move | None:
    """Whether a whole list that was fetched is of a later epoch of `circle` whose key is here."""
    try:
        with tarfile.open(path, "r:") as archive:
            part = archive.extractfile(MANIFEST_PART)
            manifest = decode_manifest(part.read()) if part is not None else None
    except (tarfile.TarError, OSError, KeyError, SnapshotUnreadable):
        return None  # whoever reads it next says what is wrong with it
    if manifest is None or not is_later(manifest.circle, circle) or circle not in keys:
        return None
    key = keys.get(manifest.circle)
    if key is None or key_id(key) != manifest.key_id:
        return None
    return Move(manifest.circle, key, keys[circle])
