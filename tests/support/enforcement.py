"""KH lists, TH enforces: decisions of TH on Kafka, a repository of TH, KH that reads it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from stream.appeals.actions import AppealContext
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.enforcement_document import Enforcement
from stream.enforcement.decision_counter import CounterSettings
from stream.enforcement.documents import DocumentSettings
from stream.enforcement.import_documents import ImportSettings, Partner, SightingTerms
from stream.enforcement.rounds import EnforcementPlan, Enforcing
from stream.exchange import repository
from stream.lists.store.enforcement_counts import day_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms
from stream.ops.metrics.exchange_catalogue import EnforcementMetrics
from tests.support import calls as calls_lab
from tests.support.exchange import BY, LIST, Lab
from tests.support.repositories import VALIDITY, Country

AGREED = Path(__file__).parents[2] / "config" / "agreements"


class World:
    """Both countries' enforcement, and their lists between them."""

    def __init__(
        self, folder: Path, lab: Lab, calls: calls_lab.Lab, agreements: Agreements
    ) -> None:
        self.folder, self.lab, self.calls, self.agreements = folder, lab, calls, agreements
        self.repository = Country(folder / "th-made", "TH")
        repository.add_list(self.repository.folder, self.repository.by, "TH/enforcement")
        self.root = folder / "th.root.json"
        self.root.write_bytes(self.repository.root)
        self.partner = Partner("TH", str(self.repository.folder), self.root)

    def plan(self, home: str, url: str, **more: Any) -> EnforcementPlan:
        def agreements() -> Agreements:
            return self.agreements

        keys, made, topic = {"plain": b""}, self.repository, self.calls.topics.decisions
        folder = more.pop("folder", made.folder)
        state = more.pop("state", self.folder / "state" / home)
        fields: dict[str, Any] = {
            "counter": CounterSettings(self.calls.kafka, home, topic),
            "documents": DocumentSettings(home, folder, made.ring, VALIDITY, agreements),
            "imports": ImportSettings(
                home=home,
                state=state,
                terms=SightingTerms(confidence=50, life_s=86_400, at_once=2),
                appeals=lambda: AppealContext(home, keys, agreements(), 3600),
                keys=keys,
            ),
            "list_store": ListStoreSettings(url),
            "partners": [self.partner],
            "kept_days": 400,
            "publish_s": 60.0,
            "read_s": 60.0,
            "appeals_days": 30.0,
        }
        return EnforcementPlan(**{**fields, **more})

    async def decide(self, *values: bytes) -> None:
        """TH's workers decided so."""
        async with AIOKafkaProducer(bootstrap_servers=self.calls.bootstrap) as producer:
            for value in values:
                key = msgspec.json.decode(value)["number"].encode()
                await producer.send_and_wait(self.calls.topics.decisions, value, key=key)

    @asynccontextmanager
    async def th(self, **more: Any) -> AsyncIterator[Enforcing]:
        async with enforcing(self.plan("TH", self.lab.urls[1], **more)) as work:
            yield work

    @asynccontextmanager
    async def kh(self, **more: Any) -> AsyncIterator[Enforcing]:
        async with enforcing(self.plan("KH", self.lab.urls[0], **more)) as work:
            yield work

    async def kept(self, work: Enforcing) -> Sequence[Enforcement]:
        """Return the stored state of TH's enforcement today."""
        today = day_of(now_ms())
        return await work.enforced.documents(LIST, "TH", today, today)


@asynccontextmanager
async def enforcing(plan: EnforcementPlan) -> AsyncIterator[Enforcing]:
    async with Enforcing(plan, EnforcementMetrics(CollectorRegistry())) as work:
        yield work


@asynccontextmanager
async def world(
    folder: Path,
    urls: Sequence[str],
    broker: Any,
    agreements: Callable[[], Agreements],
    shares: Shared = Shared.NUMBERS,
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        (folder / "lists").mkdir()
        lab = await stack.enter_async_context(Lab(folder / "lists", urls, shares))
        calls = await calls_lab.lab(broker, partitions=2)
        async with await ListStore.connect(ListStoreSettings(urls[1])) as register:
            await register.create(LIST, "plain", BY)
        yield World(folder, lab, calls, agreements())
