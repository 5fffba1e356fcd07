"""`ringfence enforcement run`: count what lists do, and report it to their owners."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.enforcement.decision_counter import CounterSettings
from stream.enforcement.import_documents import Partner, SightingTerms
from stream.enforcement.rounds import EnforcementPlan, Enforcing
from stream.exchange.signing import Validity
from stream.exchange.signing_keys import KeyRing
from stream.lists.store.enforcement_counts import DAY_S
from stream.ops.metrics.enforcement import EnforcementMetrics
from stream.services import service
from stream.services.service import Service, Words


def plan_of(settings: Settings, ring: KeyRing, validity: Validity) -> EnforcementPlan:
    """Return the part of the settings that concerns enforcement. Raises ConfigInvalid."""
    section = settings.enforcement
    agreements_of(settings)
    return EnforcementPlan(
        kafka=settings.kafka_client(),
        reader=CounterSettings(settings.calls.home_country, settings.calls.decisions_topic),
        list_store=settings.list_store(),
        circle_keys=settings.circle_keys(),
        folder=Path(settings.exchange.dir),
        ring=ring,
        validity=validity,
        agreements=lambda: agreements_of(settings),
        partners=[
            Partner(country, partner.url, Path(partner.root))
            for country, partner in sorted(section.partners.items())
        ],
        state=Path(settings.exchange.state_dir) / "enforcement",
        terms=SightingTerms(
            confidence=section.sighting_confidence,
            life_s=int(section.sighting_days * DAY_S),
            at_once=section.sightings_max,
        ),
        kept_days=section.kept_days,
        publish_s=section.publish_s,
        read_s=section.read_s,
        answer_s=settings.appeals.answer_s,
        appeals_days=settings.appeals.kept_days,
    )


def run(settings: Settings, plan: EnforcementPlan) -> int:
    """Count, publish and read until told to stop; the exit code."""
    return service.run(settings, lambda: _run(settings, plan), process="enforcement")


async def _run(settings: Settings, plan: EnforcementPlan) -> int:
    registry = CollectorRegistry()
    enforcing = Enforcing(plan, EnforcementMetrics(registry))
    process = Service(
        settings,
        settings.enforcement.http_port,
        registry,
        lambda: () if enforcing.counting else ("decisions are not counted yet",),
        words=Words(stopped="stopped; what was counted goes on where it ended"),
        uses=("kafka",),
    )

    async def work() -> None:
        async with enforcing:
            await enforcing.run()

    return await process.run(work)
