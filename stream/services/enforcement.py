"""`ringfence enforcement run`: the process that counts what lists do and tells their owners."""

import asyncio
import logging
import signal
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.enforcement.decision_counter import ReaderSettings
from stream.enforcement.import_documents import Partner, SightingTerms
from stream.enforcement.rounds import Enforcing, Plan
from stream.exchange.signing import Validity
from stream.exchange.signing_keys import KeyRing
from stream.lists.store.enforcement_keys import DAY_S
from stream.ops import log as logs
from stream.ops.health import HealthServer, Readiness, Turning
from stream.ops.metrics.certificate import CertificateMetrics
from stream.ops.metrics.enforcement import EnforcementMetrics
from stream.ops.tasks import cancelled
from stream.services.worker import CLEAN, exit_code_of, refuse_optimised

log = logging.getLogger(__name__)


def plan_of(settings: Settings, ring: KeyRing, validity: Validity) -> Plan:
    """What the settings say of enforcement. Raises ConfigInvalid."""
    section = settings.enforcement
    agreements_of(settings)
    return Plan(
        kafka=settings.kafka_client(),
        reader=ReaderSettings(settings.calls.home_country, settings.calls.decisions_topic),
        register=settings.register(),
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


def run(settings: Settings, plan: Plan) -> int:
    """Count, publish and read until told to stop; the exit code."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "enforcement"})
    try:
        return asyncio.run(_run(settings, plan))
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


async def _run(settings: Settings, plan: Plan) -> int:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    registry, turning = CollectorRegistry(), Turning(settings.ops.stalled_s)
    metrics = EnforcementMetrics(registry)
    work = Enforcing(plan, metrics)
    CertificateMetrics(registry, settings.certificates("kafka"))
    server = HealthServer(
        settings.ops.http_host,
        settings.enforcement.http_port,
        registry,
        lambda: Readiness(() if work.counting else ("decisions are not counted yet",)),
        lambda: turning.stalled,
    )
    async with work, server:
        log.info("http://%s:%d/metrics /live /ready", settings.ops.http_host, server.port)
        tasks = [asyncio.create_task(one) for one in (turning.run(), work.run(), told.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done():
            tasks[1].result()  # it has no end but a bug, and that is to be seen
        await cancelled(*tasks)
    log.info("stopped; what was counted goes on where it ended")
    return CLEAN
