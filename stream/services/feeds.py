"""`ringfence feeds run`: follow every feed, each in a task of its own.

Every few seconds the feed files are read again: a new or changed one takes effect without a
restart. A removed one ends its feed; its entries stay until they expire. One that cannot be used
leaves the feed as it was, and is logged.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.appeals.actions import AppealContext, keep_watch
from stream.appeals.appeal_store import AppealCounts
from stream.config.agreement_files import AgreementFolder
from stream.config.feed_files import around_of, feed_context, read_feed
from stream.config.sections import feed_paths
from stream.config.settings import Settings
from stream.core.model.agreement import Agreements
from stream.core.model.appeal import OPEN
from stream.core.model.errors import CRASHED, ConfigInvalid, Fault
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.follow.feed_fetcher import PRELOADED
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.subprocess_job import prepare
from stream.feeds.follow.workplace import Workplace
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.list_store import ListStore
from stream.lists.store.rebuild import Rebuild, RebuildSettings, keep_rebuilt
from stream.lists.store.redis_client import keep_told
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.feed_catalogue import FeedMetrics
from stream.ops.private_files import FileStamp, file_stamp
from stream.ops.stored_format import check_folder
from stream.ops.tasks import cancelled, supervised
from stream.services import service
from stream.services.service import Service, Words, once_up

log = logging.getLogger(__name__)


def run(
    settings: Settings, environ: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> int:
    """Follow all feeds until a signal; return the exit code, CRASHED if a bug ended one.

    `arguments` are those of every process that rebuilds a list.
    """
    environ = os.environ if environ is None else environ

    async def main() -> int:
        check_folder(Path(settings.lists.state_dir))
        prepare(PRELOADED)
        return await FeedsService(settings, environ, arguments).run()

    return service.run(settings, main, process="feeds")


def workplace_of(
    settings: Settings,
    states: FeedStateStore,
    metrics: FeedMetrics | None = None,
    agreements: Callable[[], Agreements] | None = None,
) -> Workplace:
    """Return the parts that followers share; `metrics` None: nobody asks for them."""
    return Workplace(
        settings=settings.feeds,
        list_store=settings.list_store(),
        state_dir=Path(settings.lists.state_dir),
        kernels=settings.ops.kernels_folder(settings.lists.state_dir),
        around=around_of(settings),
        states=states,
        metrics=metrics or FeedMetrics(CollectorRegistry()),
        places=asyncio.Semaphore(settings.feeds.parallel),
        agreements=agreements,
    )


MEMORY_S = 10.0
"""Seconds between two readings of the memory that Redis uses."""


class FeedsService(Service):
    """All feeds of the folder that the settings name."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> None:
        super().__init__(
            settings,
            settings.feeds.http_port,
            words=Words(
                stopping="versions that are worked on are given up and come again",
                late="feeds that did not stop are left behind",
            ),
            uses=("redis",),
        )
        self._rebuilds = RebuildSettings(settings.lists.rebuild_changes, arguments)
        self._environ = environ
        self._folder = Path(settings.feeds.dir)
        self._metrics = FeedMetrics(self.registry, settings.ops.lists_max)
        self._followed: dict[str, tuple[Follower, asyncio.Task[None]]] = {}
        self._marks: dict[str, FileStamp] = {}
        self._wrong: dict[str, str] = {}
        self._reached = False
        self._agreements = AgreementFolder(settings.agreements.folder())

    async def _work(self) -> None:
        settings = self.settings
        feed_paths(self._folder)  # without a folder there is nothing to follow, now or later
        self._agreements.start()
        list_store = settings.list_store()
        async with await once_up(lambda: ListStore.connect(list_store)):
            self._reached = True  # a Redis that could lose entries is refused at the start
        async with FeedStateStore.open(list_store) as states:
            self._place = workplace_of(
                settings, states, self._metrics, lambda: self._agreements.reading.agreements
            )
            self._metrics.register_up.set(1)
            try:
                await self._look_at_files()
                log.info(
                    "feeds followed=%d broken=%d folder=%s",
                    *(len(self._followed), len(self._wrong), self._folder),
                )
                await self._follow_all(list_store)
            finally:  # also if it is stopped during the first look
                await cancelled(*(task for _, task in self._followed.values()))

    async def _follow_all(self, list_store: ListStoreSettings) -> None:
        settings, appeals = self.settings, self.settings.appeals
        home = settings.calls.home_country
        context = AppealContext(home, settings.circle_keys(), Agreements(), appeals.answer_s)
        await supervised(
            self._watch_files(),
            rebuilding=keep_rebuilt(list_store, self._rebuilds, self._rebuilt),
            appeals=keep_watch(list_store, context, appeals.kept_days, self._appeals),
            reading=keep_told(list_store, self._metrics.redis.told, MEMORY_S),
        )

    async def _watch_files(self) -> None:
        """Watch feed files and followers, until the process is asked to end."""
        stopping = self.stopping
        self.ends_by(lambda: None)
        while not stopping.is_set():
            try:
                async with asyncio.timeout(self.settings.feeds.reload_s):
                    await stopping.wait()
            except TimeoutError:
                await self._reload()
            self._look_for_dead()

    def _rebuilt(self, done: Rebuild) -> None:
        outcome = "failed" if done.code else "done"
        self._metrics.rebuilds.labels(done.name, outcome).inc()
        level = logging.WARNING if done.code else logging.INFO
        log.log(level, "%s: rebuild after %d changes: %s", done.name, done.changes, done.said)

    def _appeals(
        self, standing: AppealCounts | None, closed: Sequence[str], fault: Fault | None
    ) -> None:
        """Show how many appeals wait. `fault`: why that is unknown now."""
        if fault is not None:
            log.warning("appeals cannot be read: %s", fault)
        for name in closed:
            log.info("appeal redressed list=%s: the list's owner took the number off", name)
        if standing is not None:
            for state in OPEN:
                self._metrics.appeals.labels(state).set(standing.by_state[state])
            self._metrics.appeals_overdue.set(standing.overdue)

    def _look_for_dead(self) -> None:
        """Start the followers again that a bug ended; the others go on.

        Therefore followers are in no TaskGroup, which would end them all.
        """
        for name, (follower, task) in list(self._followed.items()):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.critical(
                    "%s: feed crashed: unhandled exception; it restarts", name, exc_info=error
                )
                self._follow(follower.setup)
                self.code = CRASHED

    def _follow(self, setup: FeedSetup) -> None:
        name = setup.feed.name
        self._marks[name] = file_stamp(setup.path)
        self._metrics.file_wrong.set(name, 0)
        follower = Follower(setup, self._place)
        task = asyncio.create_task(follower.run(), name=f"feed {name}")
        self._followed[name] = (follower, task)

    async def _reload(self) -> None:
        """Take up changed agreements and feed files."""
        if await asyncio.to_thread(self._agreements.look):
            for wrong in self._agreements.reading.errors.values():
                log.error("agreements: the last good reading counts: %s", "; ".join(wrong))
        await self._look_at_files()

    async def _look_at_files(self) -> None:
        """Take up new and changed files; a broken one concerns its feed alone."""
        try:
            paths = await asyncio.to_thread(feed_paths, self._folder)
        except ConfigInvalid as error:
            self._say_wrong("", str(error))
            return
        for name in self._followed.keys() - paths.keys():
            _, task = self._followed.pop(name)
            await cancelled(task)
            self._metrics.forget(name)
            log.info(
                "feed removed feed=%s: its file is gone; its reports stay until they expire, or "
                "until `ringfence feeds forget %s`",
                *(name, name),
            )
        for name in self._wrong.keys() - paths.keys() - {""}:
            del self._wrong[name]
            self._metrics.forget(name)
        for name, path in paths.items():
            mark = file_stamp(path)
            if self._marks.get(name) == mark and name in self._followed:
                continue
            if self._marks.get(name) == mark and name in self._wrong:
                continue
            self._marks[name] = mark
            await self._read_again(name, path)

    async def _read_again(self, name: str, path: Path) -> None:
        try:
            context = feed_context(self.settings)
            setup = await asyncio.to_thread(read_feed, path, self._environ, context)
        except ConfigInvalid as error:
            self._metrics.file_wrong.set(name, 1)
            self._say_wrong(name, str(error))
            return
        known = name in self._wrong or name in self._followed
        self._wrong.pop(name, None)
        if name in self._followed:
            await cancelled(self._followed.pop(name)[1])
        self._follow(setup)
        if known:
            log.info("feed file changed feed=%s: it is read again", name)

    def _say_wrong(self, name: str, why: str) -> None:
        if self._wrong.get(name) != why:
            self._wrong[name] = why
            goes_on = "the feeds of the last good reading are followed"
            if name and name not in self._followed:
                goes_on = "this feed is not followed, the others are"
            log.error("feed files: %s: %s", goes_on, why)

    def _missing(self) -> tuple[str, ...]:
        if not self._reached:
            return ("the list store does not answer yet",)
        followed = self._followed.items()
        return tuple(f"{name}: not tried yet" for name, (one, _) in followed if not one.tried)
