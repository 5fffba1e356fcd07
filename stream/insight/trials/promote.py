"""The one step that takes something from trial into force, or back: audited, and live at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stream.config.settings import Settings
from stream.core.model.agreement import Agreements
from stream.core.model.errors import ChangeConflict
from stream.core.model.trials import Standing, Target, Turned
from stream.insight.trials.count_decisions import standings_now
from stream.insight.trials.status import Stands
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import TrialBook

OPS: Final = {Standing.FORCE: "promote", Standing.TRIAL: "demote"}
"""What each step is called, as a command and in the audit."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did; `now` is how the thing stands after it."""

    before: Stands
    now: Stands
    generation: int


async def turn(
    settings: Settings,
    register: ListStore,
    agreements: Agreements,
    target: Target,
    standing: Standing,
    by: By,
    figures: Mapping[str, int],
    at_s: int,
) -> Done:
    """Put `target` to `standing`. `figures` are what its trial came to, kept with the step.

    Raises ChangeConflict where there is nothing to do, or somebody else was first; ListStoreDown,
    SnapshotUnreadable. In each case nothing was changed.
    """
    standings = await standings_now(settings, register, agreements, at_s)
    before = standings.of(target)
    if before is None:
        raise ChangeConflict(
            f"there is no {target.kind} {target.name} here; `ringfence simulate ls --all` has what "
            "can be on trial"
        )
    if before.standing is standing:
        how = "on trial" if standing is Standing.TRIAL else "in force"
        raise ChangeConflict(f"{target} is {how} already; nothing was changed")
    # Where the settings say the same, nothing needs to go before them.
    as_set = before.set_on_trial is (standing is Standing.TRIAL)
    after = Turned(
        standing=standing, at_s=at_s, actor=by.actor, reason=by.reason, figures=dict(figures)
    )
    told = ", ".join(f"{name} {count}" for name, count in figures.items())
    detail = f"{target}: {before.standing} to {standing}" + (f"; {told}" if told else "")
    async with TrialBook.open(settings.list_store()) as book:
        generation = await book.turn(
            target,
            before.turned,
            None if as_set else after,
            by,
            OPS[standing],
            detail,
            standings.booked.unread.get(target),
        )
    now = (await standings_now(settings, register, agreements, at_s)).of(target)
    assert now is not None, "what was turned is known"
    return Done(before, now, generation)
