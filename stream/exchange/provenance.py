"""Whether the register still holds what was published from it.

A register that was restored from an older copy has lost changes that partners act on, and gives
their generations out again for others. What came next from it would be taken for news. So each
publication says which register it came from and the list's chain at that generation (a hash over
all its changes), and both have to be found again before anything further is signed.
"""

import hashlib

from stream.core.model.errors import ListStoreBehind, SnapshotUnreadable
from stream.lists.snapshot.repository_layout import Latest
from stream.lists.store.heads import Heads, ListHead
from stream.lists.store.list_store import ListStore
from stream.ops.skipped_records import Place, Skipped, skip

_SLACK_MS = 86_400_000
"""A step is looked for from so long before its publication on: two clocks take part in that."""


def register_id(heads: Heads, head: ListHead) -> str:
    """Names a register and the list in it, and tells strangers nothing."""
    said = repr((heads.identity or "", head.created_at_s))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def check_register(heads: Heads, head: ListHead, before: Latest) -> None:
    """Raises ListStoreBehind where `before` came from another register, or a later state of it."""
    if before.register and before.register != register_id(heads, head):
        what = "it was published from another register, or the list was made anew in this one"
        raise ListStoreBehind(_told(before, what))
    if not before.register:
        return  # published before this was written down
    if head.generation < before.generation:
        what = f"the register has it at generation {head.generation} only: an older copy"
        raise ListStoreBehind(_told(before, what))
    if head.generation == before.generation and head.chain != before.chain:
        raise ListStoreBehind(_told(before, "the register came to that generation another way"))


async def check_chain(register: ListStore, head: ListHead, before: Latest) -> None:
    """The same for a register that went on after it went back: it takes reading its changes.

    Where the change stream does not reach back so far, it cannot be told, and nothing is said.
    """
    if not before.chain or head.generation == before.generation:
        return
    after = f"{max(before.made_at_s * 1000 - _SLACK_MS, 0)}-0"
    try:
        steps = await register.annals.steps(head.name, after)
    except SnapshotUnreadable as error:  # as where it does not reach back: publishing goes on
        skip(Skipped(Place.PAST, "rf:past", str(error), head.name))
        return
    for step in steps:
        if step.generation == before.generation:
            if step.chain != before.chain:
                what = "the register came to that generation another way: an older copy went on"
                raise ListStoreBehind(_told(before, what))
            return


def _told(before: Latest, what: str) -> str:
    name = before.list
    text = f"{name} was published at generation {before.generation}, and {what}. Nothing older is"
    return (
        f"{text} published. Restore a newer copy of Redis, or `ringfence lists repair {name} "
        "--from-state` where a worker knows it; and if this is all there is, "
        f"`ringfence exchange publish {name} --anew`: partners then take the whole list"
    )
