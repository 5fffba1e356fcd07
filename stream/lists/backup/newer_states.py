"""After a restore: put back what followers know beyond the backup, and name what is lost.

A follower's state directory has lists, allowlist and promotions as they were enforced last. It has
no audit, no appeals, no counts and no states of feeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.core.model.errors import Fault, ListStoreDown, SnapshotUnreadable
from stream.core.model.on_trial import TrialStatus
from stream.lists.backup.backup_records import BackupSummary
from stream.lists.follower import follow_promotions, local_state, repair
from stream.lists.follower.local_state import FollowedStore, LocalList
from stream.lists.follower.put_back import Recovery
from stream.lists.follower.repair import Diagnosis, RepairStatus
from stream.lists.store.heads import By, no_progress
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import TrialStore
from stream.lists.store.rewrite import Stage
from stream.lists.store.settings import ListStoreSettings

NO_FOLLOWER = (
    "no state directory holds it: its changes after the backup are lost, if there were any"
)
NEVER_THERE = "audit entries, appeals, states of feeds and counts of enforcement"
"""Held by no follower: of the time after the backup it is lost."""


@dataclass(frozen=True, slots=True)
class ListOutcome:
    """A list after a restore: its generation in the backup and in the newest state directory.

    None: it is not there. `generation`: the one that it has now; `complete`: nothing that a state
    directory holds is missing; `what` says so in words.
    """

    name: str
    in_backup: int | None
    in_state: int | None
    generation: int | None
    complete: bool
    what: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """The result for all lists, the allowlist and the promotions; `refused` are unreadable places.

    `allow` and `trials`: how many entries were put back.
    """

    lists: tuple[ListOutcome, ...]
    allow: int
    trials: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FollowerState:
    """A state directory as it was read, before anything was put back from it."""

    place: Path
    known: FollowedStore
    lists: Mapping[str, LocalList]
    refused: tuple[str, ...]


def read_follower(state_dir: Path, keys: Mapping[str, bytes]) -> FollowerState:
    """Read a state directory. Raises SnapshotUnreadable if it does not name its list store."""
    if not state_dir.is_dir():
        raise SnapshotUnreadable(f"{state_dir} is no folder")
    known = local_state.known(state_dir)
    lists, refused = local_state.last_good(state_dir, keys, known.synced_at_s)
    told = tuple(f"{place}: {why}" for place, why in refused.items())
    return FollowerState(state_dir, known, lists, told)


async def put_back(
    settings: ListStoreSettings,
    followers: Sequence[FollowerState],
    summary: BackupSummary,
    by: By,
    now_s: int,
    stage: Stage = no_progress,
) -> PutBack:
    """Bring the restored list store to what `followers` know, list by list.

    What cannot be put back is named, and the rest is put back. Raises ListStoreDown.
    """
    refused = [why for one in followers for why in one.refused]
    ours, others = _of_store(followers, summary.list_store)
    refused += [f"{one.place}: it follows list store {one.known.identity}" for one in others]
    names = {*summary.lists, *(name for one in ours for name in one.lists)}
    async with await ListStore.connect(settings) as store:
        # First: until it is done, new allow entries would not count.
        allow = await _put_back_allow(store, ours, by, refused)
        trials = await _put_back_trials(settings, ours, by, refused)
        await _put_back_steps(store, ours, by)
        lists = [
            await _put_back_list(store, name, ours, summary, by, now_s, stage)
            for name in sorted(names)
        ]
    return PutBack(tuple(lists), allow, trials, tuple(refused))


def _of_store(
    followers: Sequence[FollowerState], identity: str
) -> tuple[list[FollowerState], list[FollowerState]]:
    """Return those that followed this list store, and those that follow another."""
    ours = [one for one in followers if one.known.identity in (None, identity)]
    return ours, [one for one in followers if one not in ours]


async def _put_back_steps(store: ListStore, followers: Sequence[FollowerState], by: By) -> None:
    """Make the steps again that a state directory has one by one, in their order.

    Generations and chains become what they were, so that workers that run stay in step. A new base
    would have them read what the backup holds for a moment, without what came after it.
    """
    for one in sorted(followers, key=lambda follower: follower.known.synced_at_s, reverse=True):
        positions = {name: held.mark for name, held in one.lists.items()}
        # Events name what was not put back: the comparison of each list says it too.
        steps = Recovery(one.place, lambda *_: None, {}, by)
        await steps.run(store, one.known.identity, positions)


async def _put_back_list(
    store: ListStore,
    name: str,
    followers: Sequence[FollowerState],
    summary: BackupSummary,
    by: By,
    now_s: int,
    stage: Stage,
) -> ListOutcome:
    backup = summary.lists.get(name)
    in_backup = backup.generation if backup else None
    holding = [one for one in followers if name in one.lists]
    if not holding:
        return ListOutcome(name, in_backup, None, in_backup, False, NO_FOLLOWER)
    newest = max(holding, key=lambda one: one.lists[name].mark.generation)
    held = newest.lists[name]
    in_state = held.mark.generation
    try:
        found = await repair.compare(store, name, newest.place, newest.known.identity, held)
        if not found.standing.repairable:
            return _left(found, in_backup, newest.place)
        done = await repair.put_back(store, found, held.live.key, by, now_s, stage)
    except ListStoreDown:
        raise
    except Fault as fault:
        return ListOutcome(name, in_backup, in_state, in_backup, False, f"not put back: {fault}")
    text = f"put back from {newest.place}, {done.count:,} numbers"
    return ListOutcome(name, in_backup, in_state, done.generation, True, text)


def _left(found: Diagnosis, in_backup: int | None, place: Path) -> ListOutcome:
    """Return the outcome of a list that agrees: by its steps, or since the backup has all."""
    held = found.held.mark.generation if found.held else None
    now = found.head.generation if found.head else None
    complete = found.standing in {RepairStatus.AGREES, RepairStatus.AHEAD}
    text = "the backup has all that is known of it" if complete else found.standing.value
    if complete and (in_backup is None or (held or 0) > in_backup):
        text = f"put back from {place}, step by step"
    return ListOutcome(found.name, in_backup, held, now, complete, text)


async def _put_back_allow(
    store: ListStore, followers: Sequence[FollowerState], by: By, refused: list[str]
) -> int:
    if not followers:
        return 0
    newest = max(followers, key=lambda one: one.known.head.generation)
    try:
        loss = await repair.allowlist_loss(store, newest.place)
        if not loss.lost or loss.other:
            return 0
        await repair.put_back_allowlist(store, loss, by)
    except SnapshotUnreadable as fault:
        refused.append(f"the allowlist was not put back: {fault}")
        return 0
    return len(loss.missing) + len(loss.gone)


async def _put_back_trials(
    settings: ListStoreSettings, followers: Sequence[FollowerState], by: By, refused: list[str]
) -> int:
    """Repeat the promotions and demotions that a state directory knows and the backup does not.

    Each gets a generation of now, which is above those that workers know.
    """
    known = []
    for one in followers:
        try:
            known.append(follow_promotions.last_known(one.place).trials)
        except SnapshotUnreadable as fault:
            refused.append(str(fault))
    done = 0
    async with TrialStore.open(settings) as store:
        stored = (await store.read()).trials
        newest = max(known, key=lambda one: one.generation, default=stored)
        if newest.generation <= stored.generation:
            return 0
        for target in sorted({*newest.turned, *stored.turned}):
            before, after = stored.turned.get(target), newest.turned.get(target)
            if before == after:
                continue
            standing = after.standing if after is not None else None
            op = "promote" if standing is TrialStatus.FORCE else "demote"
            told = f"{target}: as a worker knew it: {standing or 'as it is set'}"
            await store.turn(target, before, after, by, op, told)
            done += 1
    return done
