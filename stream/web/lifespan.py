"""The pages' parts, and what is kept for redress, put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from stream.appeals.actions import Desk
from stream.appeals.appeal_store import AppealStore
from stream.config.agreement_files import AgreementFolder
from stream.config.feed_files import house_of
from stream.config.settings import InsightSettings
from stream.core.filters.blocklists import Blocklists
from stream.edge.http.appeal_service import Redress
from stream.edge.http.auth import Guard, Pace
from stream.edge.http.decision_store import KeptDecisions, KeptMetrics, KeptSettings
from stream.edge.http.settings import ServeSettings
from stream.lists.store.list_store import ListStore
from stream.lists.store.redis_client import client
from stream.ops.clock import now_s
from stream.ops.monitor.collect import Watch
from stream.ops.tasks import running
from stream.web.commands import Commands
from stream.web.feed_index import FeedsKnown
from stream.web.live_feed import Live
from stream.web.page_context import PageParts
from stream.web.recent_decisions import Recent
from stream.web.sessions import Sessions
from stream.web.trial_cache import counting_of


@asynccontextmanager
async def opened(
    settings: InsightSettings,
    serve: ServeSettings,
    watch: Watch,
    guard: Guard,
    agreements: AgreementFolder,
    redress: Redress,
    blocklists: Callable[[], Blocklists],
    arguments: Sequence[str] = (),
) -> AsyncIterator[PageParts]:
    """The parts as long as the block lasts; `arguments` are those of every command, e.g. --config.

    `watch` reads the metrics of all processes.
    """
    redis = client(settings.list_store())
    parts = PageParts(
        settings=settings,
        sessions=Sessions(
            redis=redis,
            still=guard.still,
            now_s=now_s,
            idle_s=serve.session_idle_s,
            whole_s=serve.session_s,
        ),
        agreements=agreements,
        redress=redress,
        live=Live(watch, serve.watchers_max),
        recent=Recent(settings.kafka_client(), settings.calls.decisions_topic),
        feeds=FeedsKnown(Path(settings.feeds.dir), house_of(settings), settings.list_store()),
        commands=Commands(arguments),
        blocklists=blocklists,
        counting=counting_of(settings),
        now_s=now_s,
    )
    try:
        async with running(parts.live.run(), "live"), running(parts.recent.run(), "recent"):
            yield parts
    finally:
        await parts.close()
        await redis.aclose()


@asynccontextmanager
async def redress_at(
    settings: InsightSettings,
    serve: ServeSettings,
    metrics: KeptMetrics,
    agreements: AgreementFolder,
) -> AsyncIterator[Redress]:
    """Decisions by id and appeals, in the register."""
    redis = client(settings.list_store())
    kept = KeptDecisions(redis, KeptSettings(serve.decisions_days, serve.decisions_max), metrics)
    try:
        async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as book:
            yield Redress(
                kept=kept,
                book=book,
                connect=lambda: ListStore.connect(settings.list_store()),
                desk=lambda: Desk(
                    settings.calls.home_country,
                    settings.circle_keys(),
                    agreements.reading.agreements,
                    settings.appeals.answer_s,
                ),
                contacts={name: owner.contact for name, owner in settings.owners.items()},
                pace=Pace(serve.questions_per_minute),
            )
    finally:
        await redis.aclose()
