"""Compare this machine's lists with the list store after it lost data, and put them back.

A worker's state directory holds the last good lists and their positions. So it shows what a Redis
that was restored from an older copy has lost, and can give it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import decode_manifest
from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ChangeConflict, SnapshotUnreadable
from stream.lists.follower import change_log, local_state, snapshot_directory
from stream.lists.follower.local_state import LocalList
from stream.lists.follower.put_back import Recovery
from stream.lists.store.heads import By, Heads, ListHead, no_progress
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import BaseOrigin, Rebased, Stage, repaired
from stream.lists.store.store_codec import REPAIR, Step, change_of


class RepairStatus(Enum):
    """The relation of a list here to the list store's; the value says what to do."""

    AGREES = "the list store has what is known here: there is nothing to do"
    AHEAD = "the list store has newer changes than this machine: workers fetch them by themselves"
    UNTOLD = (
        "the list store is further, and the changes that would show whether it came there from "
        "what is known here are not kept: look at `ringfence lists history`"
    )
    UNKNOWN_HERE = "this machine holds no good copy of it: run this where a worker enforces it"
    WENT_BACK = (
        "the list store lost changes, and workers keep enforcing what they know. Restore Redis "
        "from a newer copy, or put back what is known here with --from-state"
    )
    FORKED = (
        "the list store lost changes and went on without them. --from-state puts back what is "
        "known here, with the list store's changes since then over it"
    )
    GONE = (
        "the list is not in the list store any more. Restore Redis from a copy, or put back what "
        "is known here with --from-state"
    )
    EMPTIED = (
        "Redis is empty, and workers keep enforcing what they know. Restore it from a copy, or put "
        "back what is known here with --from-state, list by list; allow entries by `allow repair`"
    )
    OTHER = (
        "this Redis is another list store than the one that this machine follows. Give the right "
        "address. If it was begun at the same address after that one was lost, add --same-store. "
        "Or, to start over with what it holds, stop the workers and remove state_dir"
    )

    @property
    def repairable(self) -> bool:
        """True if putting back what is known here helps."""
        status = RepairStatus
        return self in {status.WENT_BACK, status.FORKED, status.GONE, status.EMPTIED}

    @property
    def wrong(self) -> bool:
        """True if an operator has to act."""
        return self.repairable or self in {RepairStatus.OTHER, RepairStatus.UNTOLD}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A list here (`held`) and in the list store (`head`; None: not there), and their relation.

    `since` are the changes that the list store made after it lost some; None where that cannot be
    told. `identity` is the list store that this machine follows.
    """

    name: str
    standing: RepairStatus
    held: LocalList | None
    head: ListHead | None
    since: tuple[Step, ...] | None
    identity: str | None


def diagnose(
    name: str,
    held: LocalList | None,
    identity: str | None,
    chains: Mapping[int, str],
    heads: Heads,
    steps: Sequence[Step],
    *,
    same_base: bool = False,
) -> Diagnosis:
    """Compare the two.

    `chains` are those of the generations that this machine saw one by one, `steps` the list's that
    are still in the change stream. `same_base`: the list store keeps the very base that lies here.
    """
    head = heads.lists.get(name)

    def found(standing: RepairStatus, since: tuple[Step, ...] | None = None) -> Diagnosis:
        return Diagnosis(name, standing, held, head, since, identity)

    if held is None:
        return found(RepairStatus.UNKNOWN_HERE)
    if heads.identity is None:
        return found(RepairStatus.EMPTIED, ())
    if identity not in (None, heads.identity):
        return found(RepairStatus.OTHER)
    if head is None:
        return found(RepairStatus.GONE, ())
    mark = held.mark
    if (head.generation, head.chain) == (mark.generation, mark.chain):
        return found(RepairStatus.AGREES)
    if head.generation > mark.generation:
        if same_base and mark.generation == _base_of(held):
            return found(RepairStatus.AHEAD)
        there = next((s for s in steps if s.generation == mark.generation), None)
        if there is None or not mark.chain:
            return found(RepairStatus.UNTOLD)
        if there.chain == mark.chain:
            return found(RepairStatus.AHEAD)
        return found(RepairStatus.FORKED, _since(chains, head, steps))
    since = _since(chains, head, steps)
    forked = head.generation == mark.generation or bool(since)
    return found(RepairStatus.FORKED if forked else RepairStatus.WENT_BACK, since)


def _base_of(held: LocalList) -> int:
    return held.live.snapshot.manifest.generation if held.live.snapshot else -1


def _since(
    chains: Mapping[int, str], head: ListHead, steps: Sequence[Step]
) -> tuple[Step, ...] | None:
    """Return the steps after the last that is known here too; None: there is no such step."""
    if chains.get(head.generation) == head.chain:
        return ()
    common = [s.generation for s in steps if chains.get(s.generation) == s.chain]
    return tuple(s for s in steps if s.generation > common[-1]) if common else None


async def take_over(store: ListStore, state_dir: Path) -> None:
    """Make a list store that was begun in the place of a lost one the one that `state_dir` follows.

    What was written to it since stays: each list and the allowlist are to be repaired then. Those
    who began with the new one have to start over. Raises ListStoreDown, SnapshotUnreadable.
    """
    ours, theirs = local_state.known(state_dir).identity, (await store.heads()).identity
    if ours is not None and theirs not in (None, ours):
        await store.adopt(ours, instead_of=theirs)


async def look(
    store: ListStore, name: str, state_dir: Path, keys: Mapping[str, bytes]
) -> Diagnosis:
    """Compare the list here with the list store's. Raises ListStoreDown, SnapshotUnreadable."""
    known = local_state.known(state_dir)
    held = local_state.last_good(state_dir, keys, known.synced_at_s)[0].get(name)
    return await compare(store, name, state_dir, known.identity, held)


async def compare(
    store: ListStore, name: str, state_dir: Path, identity: str | None, held: LocalList | None
) -> Diagnosis:
    """Compare a list of `state_dir`, which follows list store `identity`, with the list store's.

    Raises ListStoreDown, SnapshotUnreadable.
    """
    chains: dict[int, str] = {}
    if held is not None:
        items = change_log.replay(snapshot_directory.list_folder(state_dir, name), -1).items
        chains = {item.generation: item.chain for item in items if item.chain}
    heads = await store.heads()
    steps = await store.past.steps(name) if name in heads.lists else []
    same = held is not None and await _has_base_of(store, name, held)
    return diagnose(name, held, identity, chains, heads, steps, same_base=same)


async def _has_base_of(store: ListStore, name: str, held: LocalList) -> bool:
    if held.live.snapshot is None:
        return False
    try:
        there = await store.manifest(name, _base_of(held))
    except SnapshotUnreadable:
        return False
    return decode_manifest(there) == held.live.snapshot.manifest


async def put_back_from(
    store: ListStore,
    found: Diagnosis,
    state_dir: Path,
    keys: Mapping[str, bytes],
    by: By,
    now_s: int,
    stage: Stage = no_progress,
) -> Rebased:
    """Make the list what `state_dir` knows: step by step where it has the steps, else as a base.

    Steps first: generations and chain become what they were, and workers that run stay in step. For
    a new base they would read the list again, which holds the older content at that moment.
    Raises as `put_back` does.
    """
    held, before = found.held, found.head.generation if found.head else 0
    if held is not None and found.standing.repairable:
        steps = Recovery(state_dir, lambda *_: None, {}, by)
        await steps.run(store, found.identity, {found.name: held.mark})
        again = await look(store, found.name, state_dir, keys)
        if not again.standing.wrong and again.head is not None:
            return Rebased(before, again.head.generation, again.head.count)
        found = again
    return await put_back(store, found, held.live.key if held else b"", by, now_s, stage)


async def put_back(
    store: ListStore, found: Diagnosis, key: bytes, by: By, now_s: int, stage: Stage = no_progress
) -> Rebased:
    """Make the list what is known here, as a generation above all that here and there are known.

    What the list store changed since lies over it. Raises ChangeConflict where that helps nothing,
    and as `rewrite_once` does.
    """
    held = found.held
    if held is None or not found.standing.repairable:
        raise ChangeConflict(f"{found.name}: nothing was changed: {found.standing.value}")
    snapshot = held.live.snapshot
    if snapshot is None or snapshot.columns is None:
        raise SnapshotUnreadable(f"{found.name}: its entries are not known here, only its filter")
    if found.identity is not None:
        await store.adopt(found.identity)
    if found.head is None:
        await store.create(found.name, snapshot.manifest.circle, by, again=True)
    known = [Change(number, said) for number, said in held.live.overlay.entries.items()]
    since = [c for s in found.since or () if (c := change_of(s.op, s.payload)) is not None]
    theirs = found.head.generation if found.head else 0
    floor = max(held.mark.generation, theirs)
    origin = BaseOrigin(REPAIR, by, of=held.mark.generation, floor=floor)
    content = snapshot.columns, [*known, *since]
    return await repaired(store, found.name, key, origin, content, theirs, now_s, stage)


@dataclass(frozen=True, slots=True)
class AllowLoss:
    """Generations of the allowlist here and in the list store, and what is to be done there.

    `missing` are entries that are known here and not there, or otherwise; `gone` texts that are
    there, and were removed as is known here. Entries made in the list store since are in neither.
    `forked`: it is at our generation, and came there by other changes.
    """

    here: int
    there: int
    missing: tuple[AllowEntry, ...]
    gone: tuple[str, ...]
    identity: str | None
    other: bool
    forked: bool

    @property
    def lost(self) -> bool:
        """True if the list store lacks changes that this machine knows, and is not beyond them."""
        return self.there < self.here or self.forked


async def allowlist_loss(store: ListStore, state_dir: Path) -> AllowLoss:
    """Compare the allowlist with the list store's. Raises ListStoreDown, SnapshotUnreadable."""
    known = local_state.known(state_dir)
    heads = await store.heads()
    head, entries = await store.allow_all()
    here = {entry.text: entry for entry in known.allow.entries()}
    there = {entry.text: entry for entry in entries}
    since = {text for text, e in there.items() if e.added_at_s > known.synced_at_s}
    missing = [e for text, e in here.items() if text not in since and there.get(text) != e]
    gone = [text for text in there if text not in here and text not in since]
    other = heads.identity is not None and known.identity not in (None, heads.identity)
    forked = head.generation == known.head.generation and head.chain != known.head.chain
    return AllowLoss(
        known.head.generation,
        head.generation,
        tuple(missing),
        tuple(gone),
        known.identity,
        other,
        forked,
    )


async def put_back_allowlist(store: ListStore, loss: AllowLoss, by: By) -> None:
    """Make the list store's allowlist what is known here, with what was made there since.

    Workers take it over at its last step, whole. Raises ChangeConflict where nothing was lost.
    """
    if loss.other or not loss.lost:
        why = RepairStatus.OTHER.value if loss.other else "it lost nothing"
        raise ChangeConflict(f"the allowlist was not changed: {why}")
    if loss.identity is not None:
        await store.adopt(loss.identity)
    await store.allow_add(loss.missing, by)
    await store.allow_remove(loss.gone, by)
    await store.allow_pass(loss.here, by)
