"""Count decisions, publish documents and read partners', each again and again, or once.

The three do not wait for each other: a partner's server that hangs stops neither the counts nor our
own documents. A failure is reported once, and tried again with back-off.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from stream.appeals.appeal_store import AppealStore
from stream.core.model.enforcement_document import Enforcement
from stream.core.model.errors import Fault
from stream.enforcement.decision_counter import CounterSettings, DecisionCounter, Passed, opened
from stream.enforcement.documents import DocumentSettings, Writer
from stream.enforcement.import_documents import Imported, Importer, ImportSettings, Partner
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.enforcement_counts import DecisionCounts, day_of
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms, now_s
from stream.ops.metrics.exchange_catalogue import EnforcementMetrics
from stream.ops.retry import Backoff
from stream.ops.tasks import together

log = logging.getLogger(__name__)

FIRST_S: Final = 1.0  # seconds until the first retry
MOST_S: Final = 60.0
"""Back-off of work that failed: soon again after a short outage, once a minute in a long one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementPlan:
    """All that the settings say.

    Documents are published every `publish_s`, partners read every `read_s`; both stay `kept_days`,
    and answered appeals `appeals_days`.
    """

    counter: CounterSettings
    documents: DocumentSettings
    imports: ImportSettings
    list_store: ListStoreSettings
    partners: Sequence[Partner]
    kept_days: int
    publish_s: float
    read_s: float
    appeals_days: float


class Enforcing:
    """Does what a plan says. Use `async with Enforcing(plan, metrics) as enforcing`."""

    def __init__(self, plan: EnforcementPlan, metrics: EnforcementMetrics) -> None:
        self._plan, self._metrics = plan, metrics
        for partner in plan.partners:
            for result in ("taken", "refused"):
                metrics.documents.labels(partner.country, result)
            metrics.read.labels(partner.country)
        self._said: dict[str, str] = {}
        self._worked: set[str] = set()
        self.counting = False
        """True once decisions are counted."""

    async def __aenter__(self) -> Self:
        """Open the stores. Raises ListStoreDown, ListStoreUnsafe."""
        plan = self._plan
        self._store = await ListStore.connect(plan.list_store)
        self._feeds = FeedStateStore.open(plan.list_store)
        self.enforced = EnforcementStore.open(plan.list_store)
        self._appeals = AppealStore.open(plan.list_store, plan.appeals_days)
        self._writer = Writer(plan.documents, self.enforced, self._appeals)
        self._importer = Importer(plan.imports, self.enforced, self._store, self._appeals)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._appeals.__aexit__()
        await self.enforced.__aexit__()
        await self._feeds.__aexit__()
        await self._store.close()

    async def run(self) -> None:
        """Count, publish and read until cancelled."""
        plan = self._plan
        await together(
            self._again("counting", self._count_on, 0.0),
            self._again("publishing", self._publish, plan.publish_s),
            *(
                self._again("reading", self._reading(partner), plan.read_s, partner.country)
                for partner in plan.partners
            ),
        )

    async def count(self) -> None:
        """Count the decisions that are there now, once."""
        async with self._counter() as counter:
            await counter.catch_up()

    async def publish(self) -> int:
        """Publish what is new, once; how many documents were."""
        await self._note_ages()
        done = await self._writer.publish(now_ms())
        self._metrics.published.set(now_s())
        for document in done:
            await self._forget(document)
        return len(done)

    async def read(self, partner: Partner) -> Imported:
        """Read what is new of a partner, once."""
        found = await self._importer.read(partner, now_s())
        country, metrics = partner.country, self._metrics
        metrics.read.labels(country).set(now_s())
        metrics.documents.labels(country, "taken").inc(len(found.documents))
        metrics.documents.labels(country, "refused").inc(len(found.refused))
        metrics.sightings.labels(country, "taken").inc(found.sightings)
        metrics.sightings.labels(country, "unlisted").inc(found.unlisted)
        for document in found.documents:
            await self._forget(document)
        return found

    async def _forget(self, document: Enforcement) -> None:
        """Of a list and country that tell something new, what is too old goes."""
        oldest = day_of(now_ms()) - timedelta(days=self._plan.kept_days)
        await self.enforced.forget(document.list, document.country, oldest)

    async def _publish(self) -> None:
        if done := await self.publish():
            log.info("published %d documents", done)

    def _reading(self, partner: Partner) -> Callable[[], Awaitable[None]]:
        async def reading() -> None:
            found = await self.read(partner)
            for why in found.refused.values():
                log.warning("%s: refused: %s", partner.country, why)
            if found.sightings:
                text = "%s found %d of our numbers to be no scammers': the lists doubt them now"
                log.warning(text, partner.country, found.sightings)

        return reading

    def _counter(self) -> AbstractAsyncContextManager[DecisionCounter]:
        return opened(self._plan.counter, self.enforced, self._keys, self._counted)

    async def _count_on(self) -> None:
        async with self._counter() as counter:
            while True:
                self._metrics.left.set(await counter.turn())
                self.counting = True
                self._well("counting")

    async def _keys(self) -> dict[str, bytes]:
        lists = (await self._store.heads()).lists
        keys = self._plan.imports.keys
        return {name: keys[head.circle] for name, head in lists.items() if head.circle in keys}

    def _counted(self, batch: DecisionCounts, passed: Passed) -> None:
        for (_, outcome), many in batch.calls.items():
            self._metrics.calls.labels(outcome).inc(many)
        for why in ("unreadable", "repeated", "too_old"):
            self._metrics.passed.labels(why).inc(getattr(passed, why))

    async def _note_ages(self) -> None:
        """Note for each list that a feed brings how long its owner has been silent."""
        at_ms = now_ms()
        for name, feed in (await self.enforced.feeds()).items():
            confirmed_s = (await self._feeds.state(feed)).confirmed_at_s
            if confirmed_s:
                age_s = max(at_ms // 1000 - confirmed_s, 0)
                await self.enforced.stale(name, day_of(at_ms), age_s)

    async def _again(
        self, what: str, work: Callable[[], Awaitable[None]], every_s: float, whose: str = ""
    ) -> None:
        backoff, name = Backoff(FIRST_S, MOST_S), f"{what} {whose}".strip()
        while True:
            try:
                await work()
            except Fault as fault:
                if name in self._worked:  # an outage begins: the last one's waits do not count
                    self._worked.discard(name)
                    backoff.reset()
                self._metrics.faults.labels(what).inc()
                text = f"{type(fault).__name__}: {fault}"
                if self._said.get(name) != text:
                    self._said[name] = text
                    log.warning("%s: %s", name, text)
                await backoff.pause()
            else:
                self._well(name)
                await asyncio.sleep(every_s)

    def _well(self, name: str) -> None:
        self._worked.add(name)
        if self._said.pop(name, ""):
            log.info("%s goes on", name)
