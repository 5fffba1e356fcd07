"""`ringfence enforcement run`: count what lists do, and report it to their owners."""

from contextlib import AsyncExitStack
from pathlib import Path

from stream.appeals.actions import AppealContext
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.enforcement.decision_counter import CounterSettings
from stream.enforcement.documents import DocumentSettings
from stream.enforcement.import_documents import ImportSettings, Partner, SightingTerms
from stream.enforcement.rounds import EnforcementPlan, Enforcing
from stream.exchange.signing import Validity
from stream.exchange.signing_keys import KeyRing
from stream.lists.store.enforcement_counts import DAY_S
from stream.ops.metrics.exchange_catalogue import EnforcementMetrics
from stream.services import service
from stream.services.service import Service, Words, once_up


def plan_of(settings: Settings, ring: KeyRing, validity: Validity) -> EnforcementPlan:
    """Return the part of the settings that concerns enforcement. Raises ConfigInvalid."""
    section, home = settings.enforcement, settings.calls.home_country
    agreements_of(settings)
    keys = settings.circle_keys()
    answer_s = settings.appeals.answer_s
    return EnforcementPlan(
        counter=CounterSettings(settings.kafka_client(), home, settings.calls.decisions_topic),
        documents=DocumentSettings(
            country=home,
            folder=Path(settings.exchange.dir),
            ring=ring,
            validity=validity,
            agreements=lambda: agreements_of(settings),
        ),
        imports=ImportSettings(
            home=home,
            state=Path(settings.exchange.state_dir) / "enforcement",
            terms=SightingTerms(
                confidence=section.sighting_confidence,
                life_s=int(section.sighting_days * DAY_S),
                at_once=section.sightings_max,
            ),
            appeals=lambda: AppealContext(home, keys, agreements_of(settings), answer_s),
            keys=keys,
        ),
        list_store=settings.list_store(),
        partners=[
            Partner(country, partner.url, Path(partner.root))
            for country, partner in sorted(section.partners.items())
        ],
        kept_days=section.kept_days,
        publish_s=section.publish_s,
        read_s=section.read_s,
        appeals_days=settings.appeals.kept_days,
    )


def run(settings: Settings, plan: EnforcementPlan) -> int:
    """Count, publish and read until a signal; return the exit code."""
    return service.run(settings, lambda: _Counting(settings, plan).run(), process="enforcement")


class _Counting(Service):
    """The rounds of enforcement: count, publish, read."""

    def __init__(self, settings: Settings, plan: EnforcementPlan) -> None:
        super().__init__(
            settings,
            settings.enforcement.http_port,
            words=Words(stopped="stopped; what was counted goes on where it ended"),
            uses=("kafka", "redis"),
        )
        self._enforcing = Enforcing(plan, EnforcementMetrics(self.registry))

    def _missing(self) -> tuple[str, ...]:
        return () if self._enforcing.counting else ("decisions are not counted yet",)

    async def _work(self) -> None:
        async with AsyncExitStack() as stack:
            await once_up(lambda: stack.enter_async_context(self._enforcing))
            await self._enforcing.run()
