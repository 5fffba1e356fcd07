"""The parts that all pages share, and how a process puts them together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request

from stream.appeals.actions import AppealContext
from stream.appeals.appeal_store import AppealStore
from stream.config.agreement_files import AgreementFolder
from stream.config.feed_files import around_of, feed_context
from stream.config.settings import InsightSettings
from stream.core.filters.blocklists import Blocklists
from stream.edge.http.api.commands import OwnCommands
from stream.edge.http.api.file_intake import FileIntake
from stream.edge.http.api.idempotency import AnswersOnce
from stream.edge.http.api.list_changes import ListChanger
from stream.edge.http.api.push_intake import PushIntake
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import Auth, RateLimit
from stream.edge.http.decision_store import DecisionStore, DecisionStoreMetrics
from stream.edge.http.settings import ServeSettings
from stream.insight.explain.explain import contacts_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.redis_client import client
from stream.ops.clock import now_s
from stream.ops.monitor.collect import Monitor
from stream.ops.tasks import running
from stream.web.live_figures import LiveFigures
from stream.web.page_caches import FeedFolder, RecentDecisions, TrialCounting
from stream.web.sessions import Sessions
from stream.web.store_watch import StoreWatch


@dataclass(slots=True, kw_only=True)
class PageParts:
    """The parts that pages share; one set in each process.

    `agreements` is the folder as last read, `appeals` has decisions by id and appeals,
    `commands` makes changes, `push` takes files in. `blocklists` are the lists as this process has
    them.
    """

    settings: InsightSettings
    sessions: Sessions
    agreements: AgreementFolder
    appeals: AppealService
    live: LiveFigures
    recent: RecentDecisions
    feeds: FeedFolder
    commands: OwnCommands
    push: PushIntake
    blocklists: Callable[[], Blocklists]
    counting: TrialCounting
    now_s: Callable[[], int]
    _list_store: ListStore | None = field(init=False, default=None)
    _connecting: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    async def list_store(self) -> ListStore:
        """Return the list store, connected once. Raises ListStoreDown, ListStoreUnsafe."""
        async with self._connecting:  # two at once would each connect, and one stay open
            if self._list_store is None:
                self._list_store = await ListStore.connect(self.settings.list_store())
            return self._list_store

    async def close(self) -> None:
        """Close the connection to the list store."""
        if self._list_store is not None:
            await self._list_store.close()


def page_parts_of(request: Request) -> PageParts:
    """Return the parts of the application that serves `request`."""
    found = request.app.state.page_parts
    assert isinstance(found, PageParts)
    return found


@asynccontextmanager
async def opened(
    settings: InsightSettings,
    serve: ServeSettings,
    watch: Monitor,
    guard: Auth,
    agreements: AgreementFolder,
    redress: AppealService,
    blocklists: Callable[[], Blocklists],
    arguments: Sequence[str] = (),
) -> AsyncIterator[PageParts]:
    """Open the parts of all pages; `arguments` are those of every command, such as --config.

    `watch` reads the metrics of all processes.
    """
    redis = client(settings.list_store())
    commands = OwnCommands(arguments)
    feeds = FeedFolder(Path(settings.feeds.dir), feed_context(settings), settings.list_store())
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
        appeals=redress,
        live=LiveFigures(watch, serve.watchers_max),
        recent=RecentDecisions(settings.kafka_client(), settings.calls.decisions_topic),
        feeds=feeds,
        commands=commands,
        push=PushIntake(
            feeds=feeds.setups,
            files=FileIntake(Path(settings.lists.state_dir), serve.files_at_once),
            once=AnswersOnce(redis, serve.once_max),
            commands=commands,
            changer=ListChanger(
                connect=lambda: ListStore.connect(settings.list_store()),
                around=lambda: around_of(settings, agreements.reading.agreements),
                own=settings.feeds.own_numbers,
                prefixes=settings.lists.prefixes(),
            ),
            home=settings.calls.home_country,
        ),
        blocklists=blocklists,
        counting=TrialCounting(settings),
        now_s=now_s,
    )
    parts.live.store = StoreWatch(feeds, redress.store, parts.list_store).look
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
    metrics: DecisionStoreMetrics,
    agreements: AgreementFolder,
) -> AsyncIterator[AppealService]:
    """Open the decisions by id and the appeals of the list store."""
    redis = client(settings.list_store())
    kept = DecisionStore(redis, metrics, serve.decisions_days, serve.decisions_max)
    contacts = await asyncio.to_thread(contacts_of, settings)
    try:
        async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as store:
            yield AppealService(
                decisions=kept,
                store=store,
                connect=lambda: ListStore.connect(settings.list_store()),
                context=lambda: AppealContext(
                    settings.calls.home_country,
                    settings.circle_keys(),
                    agreements.reading.agreements,
                    settings.appeals.answer_s,
                ),
                contacts=contacts,
                rate_limit=RateLimit(serve.questions_per_minute),
            )
    finally:
        await kept.close()
