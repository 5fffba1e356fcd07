"""Rekey a list: move it to another circle, or to the next key of its own, and rehash each number.

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
from stream.core.model.errors import SnapshotUnreadable
from stream.core.numbers.codes import texts_of
from stream.lists.snapshot.build import CHUNK
from stream.lists.snapshot.circle_keys import is_later, key_id
from stream.lists.snapshot.merge import in_order, picked
from stream.lists.store.heads import By
from stream.lists.store.list_store import Register
from stream.lists.store.rewrite import Draft, Origin, Rebased, Stage, rewrite, silent
from stream.lists.store.store_codec import REKEY


@dataclass(frozen=True, slots=True)
class Move:
    """The move of a list: to `circle` with its `key`, from the circle with `key_before`."""

    circle: str
    key: bytes = field(repr=False)
    key_before: bytes = field(repr=False)


def rehashed(columns: Columns, key: bytes) -> Columns:
    """Return the rows whose numbers are known, hashed with `key`.

    The others are left out. Blocks.
    """
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
    """Return rows of which only fingerprints are known, but for those whose source is `lost` by
    will.
    """
    kept = np.array([not lost(name) for name in columns.sources] or [True])
    return int(((columns.number == 0) & kept[columns.source]).sum())


async def rekey(
    register: Register, name: str, move: Move, by: By, now_s: int, stage: Stage = silent
) -> Rebased:
    """Hash all numbers of a list with the key of `move`, and move the list to that circle.

    Raises ChangeConflict where others change it without a pause, ListUnknown, SnapshotUnreadable
    where entries are known by fingerprint alone, and the list store's faults; then nothing was
    changed.
    """

    async def hashed_anew(draft: Draft) -> Columns:
        old = await draft.columns(move.key_before)
        if bare := unknown_rows(old, lambda _: False):
            raise SnapshotUnreadable(
                f"{name}: nothing was changed: of {bare:,} entries only fingerprints are known, "
                "which their owner alone can hash with another key"
            )
        return await asyncio.to_thread(rehashed, old, move.key)

    origin = Origin(REKEY, by, circle=move.circle)
    return await rewrite(register, name, move.key, origin, hashed_anew, now_s, stage)


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
