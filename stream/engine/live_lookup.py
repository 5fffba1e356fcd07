"""The lookup of a process that answers from memory, over live lists and agreements.

Until the lists are there, everything is answered `allow`.
"""

from dataclasses import replace

from prometheus_client import Counter, Gauge

from stream.calls.call_batch import CallBatch
from stream.calls.decide import Decided
from stream.calls.lookup import Lookup, LookupStatus
from stream.config.settings import EngineSettings
from stream.engine.decider import Decider, fields_reader_for
from stream.engine.live_lists import LiveLists, tell
from stream.engine.signatures import Signatures, watching
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.ops.clock import now_ms
from stream.ops.health_server import Readiness
from stream.ops.metrics.catalogue import BoundedSeries
from stream.ops.metrics.shared_catalogue import StirMetrics
from stream.ops.tasks import running


class LiveLookup(LiveLists):
    """Lists, agreements, and the lookup over them."""

    def __init__(
        self,
        settings: EngineSettings,
        lookups: BoundedSeries[Counter],
        followed: Gauge,
        signatures: StirMetrics,
    ) -> None:
        """Count lookups in `lookups` by verdict, rule, list and simulation.

        `followed` shows whether the changes of the list store arrive.
        """
        super().__init__(settings, self._list_event)
        self._lookups, self._followed_gauge = lookups, followed
        self.loaded = self._follows = False
        followed.set(0)
        self._signatures = Signatures.of(settings, signatures.tell)
        self._decider = Decider(
            replace(settings, calls=replace(settings.calls, emit="all")), self.current, self.agreed
        )
        rules = settings.policy.rules.settings()
        self.lookup = Lookup(
            fields_reader_for(settings),
            self._decide,
            lambda: LookupStatus(
                self.loaded, self._followed, rules.with_memory, rules.of_attestation
            ),
            now_ms,
            settings.trunks_by_name(),
            None if self._signatures is None else self._signatures.verifier,
        )

    async def run(self) -> None:
        """Load the lists, then follow the list store. Raises ListStoreUnsafe at the start."""
        await self.load()
        async with running(self._told_when_loaded(), "loaded"), watching(self._signatures):
            await super().run()

    @property
    def readiness(self) -> Readiness:
        """Until there are lists, nothing is blocked."""
        return Readiness(() if self.loaded else ("the lists are not loaded yet",))

    @property
    def _followed(self) -> bool:
        """True if answers rest on all that the list store has now."""
        return self.loaded and self._follows and not self.refresher.behind

    async def _told_when_loaded(self) -> None:
        await self.wait_loaded()
        self.loaded = True

    def _decide(self, batch: CallBatch) -> Decided:
        decided = self._decider.columns(batch)
        for one, count in decided.tally.decisions.items():
            simulated = "true" if one.simulated else "false"
            self._lookups.labels(one.verdict, one.rule, one.list, simulated).inc(count)
        return decided

    def _list_event(self, event: ListEvent) -> None:
        if event.kind in {EventKind.REGISTER_UP, EventKind.REGISTER_DOWN}:
            self._follows = event.kind is EventKind.REGISTER_UP
            self._followed_gauge.set(self._follows)
        tell(event)
