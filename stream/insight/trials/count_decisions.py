"""The figures of things on trial, gathered: decisions from Kafka, the rest from the register."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from stream.appeals.appeal_store import AppealBook
from stream.config.settings import Settings
from stream.core.model.agreement import Agreements
from stream.core.model.trials import NO_TRIALS, Kind, Target
from stream.insight.trials.status import Here, Stands, standings
from stream.insight.trials.trial_counts import Figures
from stream.kafka.call_events import Observe
from stream.kafka.decision_history import whole_decision_in
from stream.kafka.topic_reader import Progress, past_records
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import Booked, TrialBook


@dataclass(frozen=True, slots=True)
class Standings:
    """Where everything stands, as the register has it."""

    booked: Booked
    all: tuple[Stands, ...]

    def of(self, target: Target) -> Stands | None:
        """One of them; None: nothing is known by that name."""
        return next((one for one in self.all if one.target == target), None)


async def standings_now(
    settings: Settings, register: ListStore, agreements: Agreements, at_s: int
) -> Standings:
    """Where everything stands. Raises ListStoreDown, SnapshotUnreadable."""
    async with TrialBook.open(settings.list_store()) as book:
        booked = await book.read()
    here = Here(
        policy=settings.policy.settings(),
        names=sorted((await register.heads()).lists),
        agreements=agreements,
        trials=booked.over(NO_TRIALS),
        country=settings.calls.home_country,
        at_s=at_s,
    )
    return Standings(booked, standings(here))


async def figures_between(
    settings: Settings, from_ms: int, until_ms: int, observe: Observe, progress: Progress
) -> Figures:
    """What decisions of a span of time say; read in no group. Raises TopicMissing, SourceDown."""
    figures = Figures()
    records = past_records(
        settings.kafka_client(),
        [settings.calls.decisions_topic],
        from_ms,
        until_ms,
        observe,
        progress,
    )
    async with aclosing(records):
        async for batch in records:
            for value in batch.values:
                decision = None if value is None else whole_decision_in(value)
                if decision is not None:
                    figures.add(decision)
    return figures


async def appeals_about(
    settings: Settings, targets: list[Target], since_s: int
) -> Mapping[Target, int]:
    """How many appeals since then name each list. Raises ListStoreDown."""
    async with AppealBook.open(settings.list_store(), settings.appeals.kept_days) as book:
        return {
            target: len(await book.about(target.name, since_s))
            for target in targets
            if target.kind is Kind.LIST
        }
