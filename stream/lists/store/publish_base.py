"""A new base for a list: built, proved, written beside the old one, and published over it.

Whoever has a list's whole content for a generation that he reserved ends here: imports, rebuilds,
rollbacks and repairs. What others change meanwhile lies over the new base.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from stream.core.filters.snapshot import FILTER_PART, MANIFEST_PART, decode_manifest, read_snapshot
from stream.core.model.entry import Columns
from stream.core.model.errors import ChangeConflict, Fault, RegisterLost, SnapshotUnreadable
from stream.lists.snapshot.build import (
    Parts,
    Version,
    bare_snapshot,
    build_snapshot,
    completed,
    verify_parts,
)
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import held_in
from stream.lists.store.entry_codec import BaseRecord
from stream.lists.store.heads import By, Numbered, Reservation
from stream.lists.store.list_store import Register

_PUBLISH_TRIES = 100

Stage = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how much of it is."""


def silent(_stage: str, _done: int, _whole: int) -> None:
    """A `Stage` that nobody watches."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Why a base is made: `import`, `rebuild`, `rollback`, `repair` or `rekey`, and who does it.

    `of` is the generation whose content is put back, else 0; the new generation is above `floor`.
    `filter_data` is the filter of the list's owner, where only that holds some of its entries.
    `moves`: the list is of the base's circle from then on; it must not have been changed meanwhile.
    """

    what: str
    by: By
    of: int = 0
    floor: int = 0
    filter_data: bytes = field(default=b"", repr=False)
    moves: bool = False


async def publish_whole(
    register: Register,
    reservation: Reservation,
    circle: str,
    key: bytes,
    whole: Columns,
    now_s: int,
    origin: Origin,
    stage: Stage = silent,
    bare: bytes | None = None,
) -> tuple[int, int]:
    """Make `whole` the list's content at the reserved generation; or the filter `bare` alone.

    Gives the generation after it and the numbers on the list then. Raises ChangeConflict if the
    list has another base by now than the reservation replaces: then nothing was changed. What was
    written and not published is taken away again.
    """
    try:
        made = origin.filter_data or None
        if made is None and bare is None:
            made = await _owners_filter(register, reservation, whole)
        parts = await asyncio.to_thread(
            _built, reservation, circle, key, whole, now_s, stage, made, bare
        )
        held = decode_manifest(parts[MANIFEST_PART])
        numbers = whole.numbers if held.has_entries else held.count
        await register.write_base(reservation, parts, lambda d, w: stage("writing", d, w))
        digest = sha256(parts[MANIFEST_PART]).hexdigest()
        record = BaseRecord(reservation.generation, numbers, digest, origin.what, origin.of)
        to = circle if origin.moves else ""
        done = await _publish(register, reservation, record, whole, origin, to)
    except Fault as fault:
        await _discard(register, reservation, fault)
        if isinstance(fault, RegisterLost) and await _overtaken(register, reservation):
            # Whoever publishes takes away what others were writing to replace the same base.
            raise ChangeConflict(f"{reservation.name} has another base by now") from fault
        raise
    await register.archive()
    return done


async def _overtaken(register: Register, reservation: Reservation) -> bool:
    return (await register.state(reservation.name)).head.base != reservation.old_base


async def _discard(register: Register, reservation: Reservation, why: Fault) -> None:
    try:
        await register.discard(reservation)
    except Fault as fault:
        # It expires by itself; the first fault is the one to tell.
        why.add_note(f"what was written of it could not be taken away: {fault}")


async def _owners_filter(
    register: Register, reservation: Reservation, whole: Columns
) -> bytes | None:
    """The filter of a base here that holds all entries that are fingerprints alone; None: there
    are none such.

    Raises SnapshotUnreadable where no base does.
    """
    bare = np.unique(whole.fingerprint[whole.number == 0])
    if not len(bare):
        return None
    name = reservation.name
    kept = [base.generation for base in await register.annals.bases(name)]
    absent = len(bare)
    for generation in dict.fromkeys((reservation.old_base, *kept)):
        if not generation:
            continue
        parts = await register.read_base(name, generation)
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
) -> Parts:
    owner, _, name = reservation.name.partition("/")
    version = Version(owner, name, reservation.generation, circle, key, key_id(key))
    if filter_data is not None:
        filter_data = completed(filter_data, whole, key)
    if bare is not None:
        parts = bare_snapshot(version, bare, now_s)
    else:
        parts = build_snapshot(
            version, whole, now_s, lambda d, w: stage("building", d, w), filter_data
        )
    verify_parts(parts, key, lambda d, w: stage("proving", d, w))
    return parts


async def _publish(
    register: Register,
    reservation: Reservation,
    record: BaseRecord,
    whole: Columns,
    origin: Origin,
    circle: str,
) -> tuple[int, int]:
    """Publish, with the count that is true at that very generation; it may change meanwhile."""
    numbers = record.count
    for _ in range(_PUBLISH_TRIES):
        state = await register.state(reservation.name)
        after = [c for c in state.changes if c.generation > reservation.generation]
        if circle and after:
            raise ChangeConflict(f"{reservation.name} was changed while it was hashed anew")
        count = numbers + _added_by(after, whole)
        generation = await register.publish_base(
            reservation, record, state.head, count, origin.by, origin.floor, circle
        )
        if generation is not None:
            return generation, count
    raise ChangeConflict(f"{reservation.name} is changed without a pause; nothing was changed")


def _added_by(changes: Sequence[Numbered], whole: Columns) -> int:
    """How many more numbers there are after `changes` over `whole`."""
    if not changes:
        return 0
    fingerprints = np.array([c.change.fingerprint for c in changes], np.uint64)
    held = held_in(whole, fingerprints).tolist()
    return sum(
        int(bool(c.change.entries)) - int(there) for c, there in zip(changes, held, strict=True)
    )
