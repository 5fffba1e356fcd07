"""What a process that answers from memory holds: lists and agreements, kept up, and the lookup.

The lists are loaded as a worker loads them: the last good ones from the state directory, then the
register, whose changes are followed. Until they are there, everything is answered `allow`.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace

from prometheus_client import Counter, Gauge

from stream.calls.call_batch import CallBatch
from stream.calls.decide import Decided
from stream.calls.lookup import Lookup, LookupStatus
from stream.config.agreement_files import AgreementFolder
from stream.config.settings import EngineSettings
from stream.engine.decider import Decider, fields_reader_for, use_kernels
from stream.engine.list_follower import refresher_for
from stream.engine.worker_metrics import tell
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.lists.follower.refresh import Refresher
from stream.ops.clock import now_ms
from stream.ops.gc import settle
from stream.ops.health import Readiness
from stream.ops.metrics.bounded_labels import Each
from stream.ops.tasks import every, running

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """Lists, agreements, and the lookup over them.

    `lookups` counts by verdict, rule, list and simulation; `followed` is whether the register's
    changes are.
    """

    settings: EngineSettings
    lookups: Each[Counter]
    followed: Gauge
    agreements: AgreementFolder = field(init=False)
    refresher: Refresher = field(init=False)
    lookup: Lookup = field(init=False)
    loaded: bool = field(init=False, default=False)
    _decider: Decider = field(init=False)
    _follows: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        settings = self.settings
        untold = settings.policy.rules.settings().with_memory
        self.followed.set(0)
        self.agreements = AgreementFolder(settings.agreements.folder())
        self.refresher = refresher_for(settings, self._list_event)
        self._decider = Decider(
            replace(settings, calls=replace(settings.calls, emit="all")),
            lambda: self.refresher.current,
            lambda: self.agreements.reading.agreements,
        )
        self.lookup = Lookup(
            fields_reader_for(settings),
            self._decide,
            lambda: LookupStatus(self.loaded, self._followed, untold),
            now_ms,
            settings.trunks_by_name(),
        )

    async def run(self) -> None:
        """Load the lists, then follow the register. Raises ListStoreUnsafe at the start."""
        await asyncio.gather(
            asyncio.to_thread(use_kernels, self.settings),
            asyncio.to_thread(self.refresher.load_last_good),
        )
        async with running(self._told_when_loaded(), "loaded"):
            await self.refresher.run()

    async def look(self) -> None:
        """Take up changed agreements, until cancelled."""
        await every(self.settings.agreements.reload_s, self.agreements.look)

    @property
    def readiness(self) -> Readiness:
        """Until there are lists, nothing is blocked."""
        return Readiness(() if self.loaded else ("the lists are not loaded yet",))

    @property
    def _followed(self) -> bool:
        """Whether answers rest on what the register has now: all of it."""
        return self.loaded and self._follows and not self.refresher.behind

    async def _told_when_loaded(self) -> None:
        await self.refresher.wait_loaded()
        settle()
        self.loaded = True
        log.info("lookups are answered from %d lists", len(self.refresher.current.lists))

    def _decide(self, batch: CallBatch) -> Decided:
        decided = self._decider.columns(batch)
        for one, count in decided.tally.decisions.items():
            simulated = "true" if one.simulated else "false"
            self.lookups.labels(one.verdict, one.rule, one.list, simulated).inc(count)
        return decided

    def _list_event(self, event: ListEvent) -> None:
        if event.kind in {EventKind.REGISTER_UP, EventKind.REGISTER_DOWN}:
            self._follows = event.kind is EventKind.REGISTER_UP
            self.followed.set(self._follows)
        tell(event)
