"""Steps of lists that this process knows and a list store lost in a fail-over. Pure.

Redis replicates after it answers, so a new primary may lack the last steps of the old one. Each
step carries the chain after it: the last step whose chain both sides have is where they parted. All
of ours after it are lost there; all of theirs after it were made without them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream.lists.follower.sync_state import ListPosition
from stream.lists.store.store_codec import (
    REBUILD,
    REPAIR,
    BaseRecord,
    Op,
    Step,
    allow_of,
    base_of,
    chain_after,
    change_of,
)

STEPS_MAX = 5_000
"""Steps kept of one list, about 2 MB: a replica that lags by more lost whole imports."""


class KnownSteps:
    """The last steps of each list as the change stream gave them."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[int, Step]] = {}

    def add(self, steps: Iterable[Step]) -> None:
        """Keep steps. One with another chain than before begins another history of its list."""
        for step in steps:
            mine = self._lists.setdefault(step.name, {})
            before = mine.get(step.generation)
            if before is not None and before.chain != step.chain:
                self._lists[step.name] = mine = {
                    generation: one
                    for generation, one in mine.items()
                    if generation < step.generation
                }
            mine[step.generation] = step
            if len(mine) > STEPS_MAX:
                del mine[next(iter(mine))]

    def of(self, name: str) -> Mapping[int, Step]:
        """Return the steps of a list by generation; the allowlist is ""."""
        return self._lists.get(name, {})

    def forget(self, name: str) -> None:
        """Forget a list whose history went on without these steps."""
        self._lists.pop(name, None)

    def ends(self) -> dict[str, ListPosition]:
        """Return the furthest position in each list."""
        last = {name: mine[max(mine)] for name, mine in self._lists.items() if mine}
        return {name: ListPosition(step.generation, step.chain) for name, step in last.items()}


@dataclass(frozen=True, slots=True)
class LostSteps:
    """Steps that the list store lacks, in order, and those that it made in their place.

    `replaced` are lost steps about a number, or another subject, that was changed again since: the
    newer change stays.
    """

    steps: tuple[Step, ...]
    since: tuple[Step, ...] = ()
    replaced: tuple[Step, ...] = ()

    @property
    def base(self) -> Step | None:
        """The last base to put back, None where there is none."""
        return next((step for step in reversed(self.steps) if step.op == Op.BASE), None)

    @property
    def forked(self) -> bool:
        """True if the list store went on without the lost steps."""
        return bool(self.since)


def lost_steps(
    known: Mapping[int, Step],
    ours: ListPosition,
    head: ListPosition | None,
    theirs: Mapping[int, Step],
    deleted: int = 0,
) -> LostSteps | None:
    """Return what the list store lost of a list. None: that cannot be shown.

    `known` are our steps and `theirs` the list store's last ones, by generation. `head` None: it
    has no such list, and `deleted` is the generation at which it was deleted before.
    """
    if head is None:
        begun = [g for g, step in known.items() if g > deleted and step.op == Op.CREATE]
        return _gathered(known, min(begun) - 1, ours, "") if begun else None
    if head == ours:
        return LostSteps(())
    if head.generation < ours.generation:
        behind = _gathered(known, head.generation, ours, head.chain)
        if behind is not None:
            return behind
    at_ours = theirs.get(ours.generation)
    if head.generation > ours.generation and (at_ours is None or at_ours.chain == ours.chain):
        return LostSteps(())  # it is only newer, or the steps are no longer known
    common = {g: step.chain for g, step in theirs.items() if _leads_to(step, known)}
    if 1 in known and 1 in theirs:
        common.setdefault(0, "")  # lost from the first step on
    if not common:
        return None
    parted = max(common)
    found = _gathered(known, parted, ours, common[parted])
    if found is None:
        return None
    return _against(found.steps, tuple(theirs[g] for g in sorted(theirs) if g > parted))


def _leads_to(step: Step, known: Mapping[int, Step]) -> bool:
    """Return whether a step of the list store is one of ours, or the one before one of ours.

    A process that began just before a fail-over knows the step where both parted as the latter.
    """
    same, behind = known.get(step.generation), known.get(step.generation + 1)
    if same is not None and same.chain == step.chain:
        return True
    return behind is not None and bool(behind.chain) and behind.follows(step.chain)


def _gathered(
    known: Mapping[int, Step], after: int, ours: ListPosition, chain: str
) -> LostSteps | None:
    """Return our steps from `after` on, if each follows the one before and the last is ours."""
    steps = []
    for generation in range(after + 1, ours.generation + 1):
        step = known.get(generation)
        if step is None:
            return None
        # A list that was deleted before goes on with a chain that only its first step shows.
        chain = (
            step.chain
            if step.op == Op.CREATE
            else chain_after(chain, generation, step.op, step.payload)
        )
        if step.chain and step.chain != chain:
            return None
        steps.append(step)
    return LostSteps(tuple(steps)) if ours.chain in ("", chain) else None


def _against(lost: Sequence[Step], since: tuple[Step, ...]) -> LostSteps:
    """Divide `lost`: into those to put back, and those that something newer replaced.

    Neither are reservations, what lies within a repair that another process made since, and what
    came before a lost deletion. A rebuild changed nothing of what is listed: it is nothing newer,
    and is put back only with another base, which it may be all that is left of.
    """
    repaired = max((record.of for step in since if (record := _as(REPAIR, step))), default=-1)
    lost = [step for step in lost if step.generation > repaired and step.op != Op.RESERVE]
    payloads: dict[object, set[bytes]] = {}
    for step in lost:
        payloads.setdefault(subject(step), set()).add(step.payload)
    # The same payload is of another process that put the step back before us.
    newer = {
        subject(step)
        for step in since
        if step.payload not in payloads.get(subject(step), set())
        and not (_as(REBUILD, step) or _as(REPAIR, step))
    }
    replaced = [step for step in lost if subject(step) in newer and not _as(REBUILD, step)]
    rest = [step for step in lost if subject(step) not in newer]
    rest = rest[max((row for row, step in enumerate(rest) if step.op == Op.DELETE), default=0) :]
    if all(_as(REBUILD, step) for step in rest if step.op == Op.BASE):
        rest = [step for step in rest if step.op != Op.BASE]
    return LostSteps(tuple(rest), since, tuple(replaced))


def _as(what: str, step: Step) -> BaseRecord | None:
    """Return the record of a base that came about as `what`; None: it is another step."""
    record = base_of(step.payload) if step.op == Op.BASE else None
    return record if record is not None and record.what == what else None


def subject(step: Step) -> object:
    """Return the subject of a step: the number, the allow entry, or its operation."""
    change = change_of(step.op, step.payload)
    if change is not None:
        return change.fingerprint
    if step.op == Op.ALLOW:
        entry = allow_of(step.payload)
        return entry.text if entry else step.payload
    if step.op == Op.DISALLOW:
        return step.payload.decode(errors="replace")
    return "list" if step.op in {Op.CREATE, Op.DELETE} else step.op
