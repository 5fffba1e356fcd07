"""Put back what a list store lost in a fail-over, from the steps that this process knows.

Each step goes to the new primary with the payload that it had, in its order. If nobody changed the
list since, generations and chain become what they were, and every follower is in step again. If
somebody did, the lost steps lie over the newer ones. A subject that was changed since keeps the
newer change, and the lost one is named. A lost base is then published again as a new one,
with all that was changed since over it.

All processes that follow do this, one after another. What one put back already changes nothing
again, so two at once do no harm either.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import MANIFEST_PART, decode_manifest, open_snapshot
from stream.core.model.errors import (
    ChangeConflict,
    ListStoreLost,
    ListStoreRefuses,
    ListUnknown,
    SnapshotUnreadable,
    StateDirRefuses,
)
from stream.core.numbers.number import masked
from stream.lists.follower import change_log, snapshot_directory
from stream.lists.follower.change_log import ChangeLogItem
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.local_state import step_of
from stream.lists.follower.lost_steps import STEPS_MAX, KnownSteps, LostSteps, lost_steps, subject
from stream.lists.follower.sync_state import ALLOWLIST, ListPosition, by_hand
from stream.lists.store.heads import By, EditOutcome, Heads, Reservation, Restatement
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import BaseOrigin, added_by, repaired
from stream.lists.store.store_codec import (
    REPAIR,
    BaseRecord,
    Op,
    Step,
    allow_of,
    base_of,
    change_of,
)
from stream.ops.clock import now_s

LOOKED_AT = 20_000
"""Steps of the list store that are compared with ours, about 6 MB, and only when lists differ."""
BY = By("ringfence", "a fail-over of Redis lost it, and a follower knew it")
_NAMED_MAX = 5
Tell = Callable[[EventKind, str, str], None]


_RACES_MAX = 3
"""Changes that others make while a list is put back. Each costs a comparison, or a base in vain."""


class _Impossible(Exception):
    """A step that cannot be made again."""


class _Overtaken(_Impossible):
    """Somebody changed the list meanwhile: it is to be compared again."""


class Recovery:
    """Puts back what list stores lose, as `by`. `saw` all steps of the change stream.

    `keys` are the circles' (b"" for `plain`): with them a lost base of a list that went on is
    published as a new one; without them that is left to the caller.
    """

    def __init__(self, state_dir: Path, tell: Tell, keys: Mapping[str, bytes], by: By = BY) -> None:
        self._state_dir = state_dir
        self._tell = tell
        self._keys = keys
        self._by = by
        self._known = KnownSteps()

    async def begin(self, store: ListStore) -> None:
        """Keep the steps before those that the change stream gives from now on."""
        self.saw(await store.last_steps(STEPS_MAX))

    def saw(self, steps: Iterable[Step]) -> None:
        """Keep steps that may have to be put back."""
        self._known.add(steps)

    def steps(self, name: str) -> tuple[Step, ...]:
        """Return the kept steps of a list, in order."""
        known = self._known.of(name)
        return tuple(known[generation] for generation in sorted(known))

    async def run(
        self, store: ListStore, identity: str | None, positions: Mapping[str, ListPosition]
    ) -> None:
        """Put back what `store` lacks of the lists at `positions`, if it is `identity`.

        Raises ListStoreDown.
        """
        await store.check_primary()
        heads = await store.heads()
        if identity is not None and heads.identity == identity:
            places = (self._known, positions, self._state_dir, self._tell, self._keys, self._by)
            await _Comparison(store, *places).run(heads)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One comparison of `store` with what this process knows."""

    store: ListStore
    known: KnownSteps
    positions: Mapping[str, ListPosition]
    state_dir: Path
    tell: Tell
    keys: Mapping[str, bytes]
    by: By

    async def run(self, heads: Heads) -> None:
        """Compare all lists with `heads`, and put back what is missing. Raises ListStoreDown."""
        if not self._differing(heads) or not await self._lost(heads):
            return
        try:
            async with self.store.putting_back():
                for name, lost in (await self._lost(await self.store.heads())).items():
                    await self._mend(name, lost)
        except ListStoreRefuses as fault:
            # Reading goes on: an operator may give this process no right to write.
            self.tell(EventKind.CHANGES_LOST, ALLOWLIST, f"lost changes stay lost: {fault}")

    def _ends(self) -> dict[str, ListPosition]:
        """Return how far each list is known: steps run ahead of a list that is being read."""
        ends = dict(self.positions)
        for name, end in self.known.ends().items():
            if name not in ends or ends[name].generation < end.generation:
                ends[name] = end
        return ends

    def _differing(self, heads: Heads) -> dict[str, ListPosition]:
        found = {}
        for name, ours in self._ends().items():
            gone = name != ALLOWLIST and name not in heads.lists
            if gone and heads.deleted.get(name, -1) >= ours.generation:
                continue
            if _head(heads, name) != ours and ours.generation:
                found[name] = ours
        return found

    async def _lost(self, heads: Heads) -> dict[str, LostSteps]:
        """Return what is lost of each list; what cannot be shown is for the comparison to name."""
        ends = self._differing(heads)
        theirs: dict[str, dict[int, Step]] = {name: {} for name in ends}
        for step in await self.store.last_steps(LOOKED_AT):
            if step.name in theirs:
                theirs[step.name][step.generation] = step
        found = {}
        for name, ours in ends.items():
            known = await self._steps(name)
            deleted = heads.deleted.get(name, 0)
            lost = lost_steps(known, ours, _head(heads, name), theirs[name], deleted)
            if lost is not None and (lost.steps or lost.replaced or _is_below(ours, lost)):
                found[name] = lost
        return found

    async def _steps(self, name: str) -> Mapping[int, Step]:
        """Return our steps of a list: those on the disk, and those that the stream gave since."""
        folder = snapshot_directory.list_folder(self.state_dir, name)
        kept: tuple[ChangeLogItem, ...] = ()
        if name != ALLOWLIST:
            try:
                kept = (await asyncio.to_thread(change_log.replay, folder, -1)).items
            except StateDirRefuses as fault:
                # Following goes on: the comparison names what is lost and not known here.
                self.tell(EventKind.STATE_DIR_FAILED, name, str(fault))
        # One without a chain was read from the list's state, which holds no order of steps.
        known = {item.generation: step_of(name, item) for item in kept if item.op in set(Op)}
        return {**known, **self.known.of(name)}

    async def _mend(self, name: str, lost: LostSteps) -> None:
        ours = self._ends()[name]
        made, left = 0, _RACES_MAX
        try:
            while True:
                try:
                    made += await self._put_back(name, lost, ours)
                    break
                except _Overtaken:
                    left -= 1
                    if not left:
                        raise
                    lost = (await self._lost(await self.store.heads())).get(name, LostSteps(()))
        except (
            _Impossible,
            ChangeConflict,
            ListStoreLost,
            ListUnknown,
            SnapshotUnreadable,
        ) as fault:
            what = f"changes up to generation {ours.generation} were not all put back: {fault}"
            self.tell(EventKind.CHANGES_LOST, name, f"{what}: {by_hand(name)}")
        if lost.forked:
            self.known.forget(name)  # the list goes on with another chain, and is read again
        if made:
            first, last = lost.steps[0].generation, lost.steps[-1].generation
            told = f"{made} of its changes of generations {first} to {last}"
            self.tell(EventKind.PUT_BACK, name, f"the list store lost {told}: they are there again")
        if lost.replaced:
            self.tell(EventKind.CHANGES_LOST, name, _replaced(lost.replaced))

    async def _put_back(self, name: str, lost: LostSteps, ours: ListPosition) -> int:
        """Put back what is lost of a list; return how many steps changed something."""
        if lost.forked and lost.base is not None:
            return await self._publish_as_known(name, lost.base, lost, ours)
        made = 0
        for together, steps in groupby(_in_runs(lost.steps), key=lambda run: run[0]):
            del together
            made += await self._make(name, [step for _, step in steps])
        if lost.forked:
            await self._pass(name, ours.generation)
        return made

    async def _make(self, name: str, steps: list[Step]) -> int:
        """Make steps again; return how many changed something."""
        if steps[0].op in {Op.ADD, Op.REMOVE}:
            edits = [_restated(step) for step in steps]
            result = await self.store.restate(name, edits, self.by)
            return sum(outcome is not EditOutcome.ABSENT for outcome in result.outcomes)
        (step,) = steps
        by = By(step.payload.decode(errors="replace"), self.by.reason)
        match step.op:
            case Op.RESERVE:
                await self.store.reserve(name, by)
                return 0
            case Op.CREATE:
                return int(await self.store.create(name, by.actor, self.by, again=True))
            case Op.DELETE:
                await self.store.delete(name, by)
            case Op.SCOPE:
                await self.store.set_scope(name, step.payload, self.by)
            case Op.BASE:
                await self._make_base(name, step)
            case Op.ALLOW:
                entry = allow_of(step.payload)
                if entry is None:
                    raise _Impossible(f"the allow entry of generation {step.generation} is none")
                await self.store.allow_add([entry], self.by)
            case Op.DISALLOW:
                await self.store.allow_remove([step.payload.decode()], self.by)
            case _:
                raise _Impossible(f"operation {step.op[:40]!r} is not known here")
        return 1

    async def _make_base(self, name: str, step: Step) -> None:
        """Write a base again from the local snapshot, which is the same byte for byte."""
        record, folder, manifest = await self._base_here(name, step)
        state = await self.store.state(name)
        if state.head.generation != step.generation - 1:
            # A base holds all up to its generation: it would hide what was changed since.
            raise _Overtaken(f"base {record.base} was lost, and the list went on without it")
        reservation = Reservation(name, record.base, state.head.base)
        await self.store.write_base(reservation, await asyncio.to_thread(_parts, folder, manifest))
        columns = (await asyncio.to_thread(open_snapshot, folder, check=False)).columns
        after = [one for one in state.changes if one.generation > record.base]
        count = record.count + (added_by(after, columns) if columns is not None else 0)
        circle = decode_manifest(manifest).circle
        moved = circle if circle != state.head.circle else ""
        if (
            await self.store.publish_base(reservation, record, state.head, count, self.by, 0, moved)
            is None
        ):
            raise _Overtaken("it was changed meanwhile")

    async def _publish_as_known(
        self, name: str, step: Step, lost: LostSteps, ours: ListPosition
    ) -> int:
        """Publish the list as we know it as a new base, with what was changed since over it.

        The lost base itself cannot be written again, as others have taken its generation. Costs as
        much as a rebuild; a list of a million numbers takes seconds.
        """
        record, folder, manifest = await self._base_here(name, step)
        columns = (await asyncio.to_thread(open_snapshot, folder)).columns
        circle = decode_manifest(manifest).circle
        if columns is None:
            raise _Impossible(f"of base {record.base} only the filter is known here")
        if circle not in self.keys or circle != (await self.store.state(name)).head.circle:
            raise _Impossible(f"base {record.base} is hashed with another key")
        if any(one.op == Op.DELETE for one in lost.since):
            raise _Impossible(f"base {record.base} was lost, and the list was deleted since")
        known = await self._steps(name)
        after = range(record.base + 1, ours.generation + 1)
        if not known.keys() >= set(after):
            raise _Impossible(f"not all changes after base {record.base} are known here")
        changes = _changes([*(known[generation] for generation in after), *lost.since])
        for one in lost.steps:
            if one.op == Op.SCOPE:
                await self.store.set_scope(name, one.payload, self.by)
        seen = lost.since[-1].generation
        origin = BaseOrigin(REPAIR, self.by, of=ours.generation, floor=ours.generation)
        try:
            await repaired(
                self.store, name, self.keys[circle], origin, (columns, changes), seen, now_s()
            )
        except ChangeConflict as conflict:
            raise _Overtaken(str(conflict)) from conflict
        return len(lost.steps)

    async def _base_here(self, name: str, step: Step) -> tuple[BaseRecord, Path, bytes]:
        """Return the base of a step: its record, and its folder and manifest on this machine."""
        record = base_of(step.payload)
        if record is None:
            raise _Impossible(f"the base step of generation {step.generation} cannot be read")
        folder = snapshot_directory.list_folder(self.state_dir, name) / f"{record.base:012d}"
        try:
            manifest = await asyncio.to_thread((folder / MANIFEST_PART).read_bytes)
        except OSError as fault:
            raise _Impossible(f"{folder}: its base cannot be read: {fault.strerror}") from fault
        if sha256(manifest).hexdigest() != record.manifest_sha256:
            raise _Impossible(f"the base of generation {record.base} is not on this machine")
        return record, folder, manifest

    async def _pass(self, name: str, generation: int) -> None:
        """Take a list's generation above ours: only then is it read again everywhere."""
        if name == ALLOWLIST:
            await self.store.allow_pass(generation, self.by)
            return
        while (await self.store.state(name)).head.generation <= generation:
            await self.store.discard(await self.store.reserve(name, self.by))


def _is_below(ours: ListPosition, lost: LostSteps) -> bool:
    """Return whether a list went on and did not reach our generation: so we would wait for it."""
    return lost.forked and lost.since[-1].generation < ours.generation


def _head(heads: Heads, name: str) -> ListPosition | None:
    if name == ALLOWLIST:
        return ListPosition(heads.allow.generation, heads.allow.chain)
    head = heads.lists.get(name)
    return ListPosition(head.generation, head.chain) if head else None


def _in_runs(steps: Iterable[Step]) -> Iterable[tuple[int, Step]]:
    """Number the runs of steps that are made by one call: edits of different numbers.

    A number's second edit in one call would come after those of others, in another order.
    """
    run, seen = 0, set[object]()
    for step in steps:
        edits = step.op in {Op.ADD, Op.REMOVE}
        if not edits or subject(step) in seen or "other" in seen:
            run, seen = run + 1, set()
        seen.add(subject(step) if edits else "other")
        yield run, step


def _restated(step: Step) -> Restatement:
    change = _change(step)
    number = next((entry.number for entry in change.entries if entry.number), None)
    return Restatement(change.fingerprint, number, change.entries, step.payload)


def _change(step: Step) -> Change:
    change = change_of(step.op, step.payload)
    if change is None:
        raise _Impossible(f"the change of generation {step.generation} cannot be read")
    return change


def _changes(steps: Iterable[Step]) -> list[Change]:
    """Return the changes of numbers among steps."""
    return [_change(step) for step in steps if step.op in {Op.ADD, Op.REMOVE}]


def _parts(folder: Path, manifest: bytes) -> dict[str, bytes]:
    """Return the parts of a base on the disk, byte for byte as they were published."""
    names = decode_manifest(manifest).parts
    try:
        return {MANIFEST_PART: manifest, **{name: (folder / name).read_bytes() for name in names}}
    except OSError as fault:
        raise _Impossible(f"{folder}: its base cannot be read: {fault.strerror}") from fault


def _replaced(steps: tuple[Step, ...]) -> str:
    named = [f"{step.op} {_subject(step)} (generation {step.generation})" for step in steps]
    more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    told = ", ".join(named[:_NAMED_MAX]) + more
    return f"the list store lost changes, and newer ones were made in their place: {told}"


def _subject(step: Step) -> str:
    change = change_of(step.op, step.payload)
    if change is None:
        return ""
    number = next((entry.number for entry in change.entries if entry.number), None)
    return masked(number) if number else f"{change.fingerprint:016x}"
