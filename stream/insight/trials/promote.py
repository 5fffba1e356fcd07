"""Trials read from Kafka and the list store, and their promotion: audited, live at once."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from stream.appeals.appeal_store import AppealStore
from stream.config.settings import InsightSettings
from stream.core.model.agreement import Agreements
from stream.core.model.errors import ChangeConflict
from stream.core.model.on_trial import NO_TRIALS, Target, TrialKind, TrialStatus, Turned
from stream.insight.trials.status import Here, Stands, TrialCounts, standings
from stream.kafka.call_events import Observe
from stream.kafka.decision_history import past_decisions
from stream.kafka.topic_reader import Progress
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import StoredPromotions, TrialStore


@dataclass(frozen=True, slots=True)
class Standings:
    """The status of everything that can be on trial, as the list store has it."""

    stored: StoredPromotions
    all: tuple[Stands, ...]

    def of(self, target: Target) -> Stands | None:
        """One of them; None: nothing is known by that name."""
        return next((one for one in self.all if one.target == target), None)


async def standings_now(
    settings: InsightSettings, list_store: ListStore, agreements: Agreements, at_s: int
) -> Standings:
    """Read the status of everything. Raises ListStoreDown, SnapshotUnreadable."""
    async with TrialStore.open(settings.list_store()) as trials:
        stored = await trials.read()
    here = Here(
        policy=settings.policy.settings(),
        names=sorted((await list_store.heads()).lists),
        agreements=agreements,
        trials=stored.over(NO_TRIALS),
        country=settings.calls.home_country,
        at_s=at_s,
    )
    return Standings(stored, standings(here))


async def figures_between(
    settings: InsightSettings, from_ms: int, until_ms: int, observe: Observe, progress: Progress
) -> TrialCounts:
    """Count the decisions of a span of time, read in no group. Raises TopicMissing, SourceDown."""
    figures, topic = TrialCounts(), settings.calls.decisions_topic
    span = (from_ms, until_ms)
    found = past_decisions(settings.kafka_client(), topic, span, observe, progress)
    async with aclosing(found):
        async for decisions in found:
            for decision in decisions:
                figures.add(decision)
    return figures


async def appeals_about(
    settings: InsightSettings, targets: list[Target], since_s: int
) -> Mapping[Target, int]:
    """Count the appeals since then that name each list. Raises ListStoreDown."""
    async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as appeals:
        return {
            target: len(await appeals.about(target.name, since_s))
            for target in targets
            if target.kind is TrialKind.LIST
        }


OPS: Final = {TrialStatus.FORCE: "promote", TrialStatus.TRIAL: "demote"}
"""The name of each step, as a command and in the audit."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """The outcome of a step; `now` is the status after it."""

    before: Stands
    now: Stands
    generation: int


async def turn(
    settings: InsightSettings,
    list_store: ListStore,
    agreements: Agreements,
    target: Target,
    standing: TrialStatus,
    by: By,
    figures: Mapping[str, int],
    at_s: int,
) -> Promotion:
    """Put `target` to `standing`. `figures` are what its trial came to, kept with the step.

    Raises ChangeConflict where there is nothing to do, or another person was first; ListStoreDown,
    SnapshotUnreadable. In each case nothing was changed.
    """
    standings = await standings_now(settings, list_store, agreements, at_s)
    before = standings.of(target)
    if before is None:
        raise ChangeConflict(
            f"there is no {target.kind} {target.name} here; `ringfence simulate list --all` has "
            "what can be on trial"
        )
    if before.standing is standing:
        how = "on trial" if standing is TrialStatus.TRIAL else "in force"
        raise ChangeConflict(f"{target} is {how} already; nothing was changed")
    # Where the settings say the same, nothing needs to go before them.
    as_set = before.set_on_trial is (standing is TrialStatus.TRIAL)
    after = Turned(
        standing=standing, at_s=at_s, actor=by.actor, reason=by.reason, figures=dict(figures)
    )
    told = ", ".join(f"{name} {count}" for name, count in figures.items())
    detail = f"{target}: {before.standing} to {standing}" + (f"; {told}" if told else "")
    async with TrialStore.open(settings.list_store()) as trials:
        generation = await trials.turn(
            target,
            before.turned,
            None if as_set else after,
            by,
            OPS[standing],
            detail,
            standings.stored.unread.get(target),
        )
    now = (await standings_now(settings, list_store, agreements, at_s)).of(target)
    assert now is not None, "what was turned is known"
    return Promotion(before, now, generation)
