"""`ringfence feeds run`: every feed followed by a task of its own, until told to stop.

Feed files are looked at every few seconds: a new or changed one takes effect without a restart, a
removed one ends its feed (its entries stay until they expire), and one that can not be used leaves
the feed as it was and says so.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.appeals.actions import Desk
from stream.appeals.appeal_store import Standing
from stream.appeals.overdue import keep_watch
from stream.config.agreement_files import AgreementFolder, agreements_of
from stream.config.feed_files import FeedSetup, feed_paths, house_of, read_feed
from stream.config.settings import Settings
from stream.core.model.agreement import Agreements
from stream.core.model.appeal import OPEN
from stream.core.model.errors import ConfigInvalid, Fault
from stream.feeds.assess import Surroundings
from stream.feeds.state_store import FeedBook
from stream.feeds.subprocess_job import prepare
from stream.lists.store.list_store import Register
from stream.lists.store.rebuild import Rebuild, RebuildSettings, keep_rebuilt
from stream.lists.store.redis_client import keep_told
from stream.ops import log as logs
from stream.ops.clock import Deadline
from stream.ops.file_stamp import mark_of
from stream.ops.health import HealthServer, Readiness, Turning
from stream.ops.metrics.feed import FeedMetrics
from stream.ops.tasks import cancelled
from stream.services.feed_follower import PRELOADED, Follower, Workplace
from stream.services.worker import CLEAN, CRASHED, exit_code_of, refuse_optimised

log = logging.getLogger(__name__)


def run(
    settings: Settings, environ: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> int:
    """Follow all feeds until told to stop; the exit code.

    `arguments` are those of every process that rebuilds a list.
    """
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "feeds"})
    prepare(PRELOADED)
    try:
        environ = os.environ if environ is None else environ
        return asyncio.run(FeedsRun(settings, environ, arguments).run())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


def around_of(settings: Settings) -> Surroundings:
    """What feeds are judged by besides their files. Raises ConfigInvalid."""
    emergency = {land: frozenset(texts) for land, texts in settings.policy.emergency.items()}
    home = settings.calls.home_country
    return Surroundings(
        keys=settings.circle_keys(),
        emergency=emergency,
        home=home,
        agreements=agreements_of(settings),
    )


MEMORY_S = 10.0
"""How often Redis is asked for its memory."""


class FeedsRun:
    """All feeds of the folder that the settings name."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> None:
        self._settings = settings
        self._rebuilds = RebuildSettings(settings.lists.rebuild_changes, arguments)
        self._environ = environ
        self._folder = Path(settings.feeds.dir)
        self._registry = CollectorRegistry()
        self._metrics = FeedMetrics(self._registry, settings.ops.lists_max)
        self._followed: dict[str, tuple[Follower, asyncio.Task[None]]] = {}
        self._marks: dict[str, tuple[int, int]] = {}
        self._wrong: dict[str, str] = {}
        self._agreements = AgreementFolder(settings.agreements.folder())
        self._told = asyncio.Event()
        self._deadline = Deadline()
        self._turning = Turning(settings.ops.stalled_s)

    async def run(self) -> int:
        """Until told to stop: CLEAN, or CRASHED if a bug ended a follower. Raises Faults."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        settings = self._settings
        feed_paths(self._folder)  # without a folder there is nothing to follow, now or later
        self._agreements.start()
        async with await Register.connect(settings.register()):
            pass  # a Redis that could lose entries is refused at the start
        ops, feeds = settings.ops, settings.feeds
        server = HealthServer(
            ops.http_host,
            feeds.http_port,
            self._registry,
            self._readiness,
            lambda: self._turning.stalled,
        )
        async with FeedBook.open(settings.register()) as book, server:
            log.info("http://%s:%d/metrics /live /ready", ops.http_host, server.port)
            self._place = Workplace(
                settings=feeds,
                register=settings.register(),
                state_dir=Path(settings.lists.state_dir),
                around=around_of(settings),
                book=book,
                metrics=self._metrics,
                places=asyncio.Semaphore(feeds.parallel),
                agreements=lambda: self._agreements.reading.agreements,
            )
            self._metrics.register_up.set(1)
            await self._look_at_files()
            log.info(
                "feeds followed=%d broken=%d folder=%s",
                *(len(self._followed), len(self._wrong), self._folder),
            )
            return await self._watch()

    def _stop(self, why: str) -> None:
        self._deadline.start(self._settings.ops.shutdown_s)
        log.info("%s: stopping; versions that are worked on are given up and come again", why)
        self._told.set()

    async def _watch(self) -> int:
        """Look at feed files and followers, until told to stop."""
        turning = asyncio.create_task(self._turning.run())
        rebuilding = asyncio.create_task(
            keep_rebuilt(self._settings.register(), self._rebuilds, self._rebuilt)
        )
        settings = self._settings
        keys, answer_s = settings.circle_keys(), settings.appeals.answer_s
        desk = Desk(settings.calls.home_country, keys, Agreements(), answer_s)
        watching = asyncio.create_task(
            keep_watch(settings.register(), desk, settings.appeals.kept_days, self._appeals)
        )
        reading = asyncio.create_task(
            keep_told(settings.register(), self._metrics.redis.told, MEMORY_S)
        )
        code = CLEAN
        try:
            while not self._told.is_set():
                try:
                    async with asyncio.timeout(self._settings.feeds.reload_s):
                        await self._told.wait()
                except TimeoutError:
                    await self._reload()
                code = max(code, self._dead())
        finally:
            tasks = [task for _, task in self._followed.values()]
            try:
                async with asyncio.timeout(self._deadline.left_s):
                    await cancelled(turning, rebuilding, watching, reading, *tasks)
            except TimeoutError:
                # Nothing is lost: what was begun comes again.
                log.critical("the deadline came first: feeds that did not stop are left behind")
                logging.shutdown()
                os._exit(CRASHED)
        return code

    def _rebuilt(self, done: Rebuild) -> None:
        outcome = "failed" if done.code else "done"
        self._metrics.rebuilds.labels(done.name, outcome).inc()
        level = logging.WARNING if done.code else logging.INFO
        log.log(level, "%s: rebuild after %d changes: %s", done.name, done.changes, done.said)

    def _appeals(
        self, standing: Standing | None, closed: Sequence[str], fault: Fault | None
    ) -> None:
        """How many appeals wait; `fault`: why that is not known now."""
        if fault is not None:
            log.warning("appeals can not be looked at: %s", fault)
        for name in closed:
            log.info("%s: the list's owner took the number off: redressed", name)
        if standing is not None:
            for state in OPEN:
                self._metrics.appeals.labels(state).set(standing.by_state[state])
            self._metrics.appeals_overdue.set(standing.overdue)

    def _dead(self) -> int:
        """A follower ends only by a bug: that feed is told as crashed, the others go on."""
        for name, (follower, task) in list(self._followed.items()):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.critical("%s: a bug ended this feed; it begins again", name, exc_info=error)
                self._follow(follower.setup)
                return CRASHED
        return CLEAN

    def _follow(self, setup: FeedSetup) -> None:
        name = setup.feed.name
        self._marks[name] = mark_of(setup.path)
        self._metrics.file_wrong.set(name, 0)
        follower = Follower(setup, self._place)
        task = asyncio.create_task(follower.run(), name=f"feed {name}")
        self._followed[name] = (follower, task)

    async def _reload(self) -> None:
        """What changed among the agreements and the feed files takes effect."""
        if await asyncio.to_thread(self._agreements.look):
            for wrong in self._agreements.reading.errors.values():
                log.error("agreements: what was read before goes on counting: %s", "; ".join(wrong))
        await self._look_at_files()

    async def _look_at_files(self) -> None:
        """New and changed files take effect, at the start all; a broken one is its feed's alone."""
        try:
            paths = await asyncio.to_thread(feed_paths, self._folder)
        except ConfigInvalid as error:
            self._say_wrong("", str(error))
            return
        for name in self._followed.keys() - paths.keys():
            _, task = self._followed.pop(name)
            await cancelled(task)
            log.info(
                "feed removed feed=%s: its file is gone; its reports stay until they expire, or "
                "until `ringfence feeds forget %s`",
                *(name, name),
            )
        for name in self._wrong.keys() - paths.keys() - {""}:
            del self._wrong[name]
            self._metrics.file_wrong.set(name, 0)
        for name, path in paths.items():
            mark = mark_of(path)
            if self._marks.get(name) == mark and name in self._followed:
                continue
            if self._marks.get(name) == mark and name in self._wrong:
                continue
            self._marks[name] = mark
            await self._read_again(name, path)

    async def _read_again(self, name: str, path: Path) -> None:
        try:
            house = house_of(self._settings)
            setup = await asyncio.to_thread(read_feed, path, self._environ, house)
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
            log.info("%s: read anew", name)

    def _say_wrong(self, name: str, why: str) -> None:
        if self._wrong.get(name) != why:
            self._wrong[name] = why
            goes_on = "what was read before goes on being followed"
            if name and name not in self._followed:
                goes_on = "this feed is not followed, the others are"
            log.error("feed files: %s: %s", goes_on, why)

    def _readiness(self) -> Readiness:
        missing = [
            f"{name}: not tried yet" for name, (f, _) in self._followed.items() if not f.tried
        ]
        return Readiness(tuple(missing))
