"""What the steps of one list say to who follows it; what cannot be read in them is skipped."""

from collections.abc import Sequence

from stream.core.filters.overlay import Change
from stream.core.policy.list_scope import NOTHING_KNOWN, Scope
from stream.lists.store.entry_codec import Op, Step, change_of, scope_of
from stream.ops.skipped_records import Place, Skipped, skip


def said_in(name: str, steps: Sequence[Step]) -> tuple[list[Change], Scope | None, bool]:
    """What steps change, what the list's feed may list from them on (None: they do not say), and
    whether the list has to be read anew.

    That is so for a change that cannot be read, of which its state may say more; and for a scope,
    which is written down for a start without Redis when a list is read.
    """
    changes: list[Change] = []
    scope, again = None, False
    for step in steps:
        if step.op == Op.SCOPE:
            scope, again = scope_of(step.payload) or _unread(name, step), True
        elif step.op in {Op.ADD, Op.REMOVE}:
            change = change_of(step.op, step.payload)
            if change is None:
                _unread(name, step)
                again = True
            else:
                changes.append(change)
    return changes, scope, again


def _unread(name: str, step: Step) -> Scope:
    """Skip a step's payload; what is known of a scope that cannot be read."""
    why = "its payload cannot be read"
    skip(Skipped(Place.CHANGES, f"rf:changes {step.id}", why, name, step.version))
    return NOTHING_KNOWN
