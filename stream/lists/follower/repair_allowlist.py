"""When the register lost data: the allowlist, against what this machine knows.

While the register knows less of the allowlist than workers do, they keep theirs, and entries that
are made in it do not count yet: so this is mended first.
"""

from dataclasses import dataclass
from pathlib import Path

from stream.core.model.allowlist import AllowEntry
from stream.core.model.errors import ChangeConflict
from stream.lists.follower import local_state
from stream.lists.store.heads import By
from stream.lists.store.list_store import Register


@dataclass(frozen=True, slots=True)
class AllowLoss:
    """Generations of the allowlist here and in the register, and what is to be done there.

    `missing` are entries that are known here and not there, or otherwise; `gone` texts that are
    there, and were taken off as is known here. Entries made in the register since are in neither.
    """

    here: int
    there: int
    missing: tuple[AllowEntry, ...]
    gone: tuple[str, ...]
    identity: str | None
    other: bool

    @property
    def lost(self) -> bool:
        """Whether the register knows less than this machine."""
        return self.there < self.here


async def allowlist_loss(register: Register, state_dir: Path) -> AllowLoss:
    """How the allowlist stands here and there. Raises RegisterDown, SnapshotUnreadable."""
    known = local_state.known(state_dir)
    heads = await register.heads()
    head, entries = await register.allow_all()
    here = {entry.text: entry for entry in known.allow.entries()}
    there = {entry.text: entry for entry in entries}
    since = {text for text, e in there.items() if e.added_at_s > known.synced_at_s}
    missing = [e for text, e in here.items() if text not in since and there.get(text) != e]
    gone = [text for text in there if text not in here and text not in since]
    other = heads.identity is not None and known.identity not in (None, heads.identity)
    return AllowLoss(
        known.head.generation, head.generation, tuple(missing), tuple(gone), known.identity, other
    )


async def put_back_allowlist(register: Register, loss: AllowLoss, by: By) -> None:
    """Make the register's allowlist what is known here, with what was made there since.

    Workers take it over at its last step, whole. Raises ChangeConflict where nothing was lost.
    """
    if loss.other or not loss.lost:
        why = "this Redis is another register" if loss.other else "it lost nothing"
        raise ChangeConflict(f"the allowlist was not changed: {why}")
    if loss.identity is not None:
        await register.adopt(loss.identity)
    await register.allow_add(loss.missing, by)
    await register.allow_remove(loss.gone, by)
    await register.allow_pass(loss.here, by)
