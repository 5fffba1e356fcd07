"""`ringfence serve-sip`, put together: SIP in front of the lists, until told to stop."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.edge.http.decision_store import KeptDecisions, KeptSettings
from stream.edge.sip.responder import Responder, Transport, Unanswered
from stream.edge.sip.tcp import TcpDoor
from stream.edge.sip.udp import UdpDoor, bound
from stream.engine.decider import emergency_for
from stream.engine.live_lookup import Memory
from stream.lists.store.redis_client import client
from stream.ops import log as logs
from stream.ops.health import HealthServer, Turning
from stream.ops.metrics.bounded_labels import Named
from stream.ops.metrics.sip import SipMetrics
from stream.ops.tasks import running, until
from stream.services.worker import CLEAN, exit_code_of, refuse_optimised

log = logging.getLogger(__name__)

_LOOPBACK = ("127.", "::1", "localhost")


def run(settings: Settings) -> int:
    """Answer SIP until told to stop; the exit code."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "serve-sip"})
    try:
        return asyncio.run(_Answering(settings).run())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


class _Answering:
    """One process's life."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = metrics = SipMetrics(
            self._registry, Named(settings.ops.lists_max, settings.policy.lists)
        )
        for transport in Transport:
            for reason in Unanswered:
                metrics.unanswered.labels(transport, reason)
        self._told = asyncio.Event()
        self._turning = Turning(settings.ops.stalled_s)
        self._memory = Memory(settings, metrics.lookups, metrics.followed)
        self._responder = Responder(
            settings.sip,
            self._memory.lookup,
            settings.trunks_by_name(),
            emergency_for(settings),
            lambda: self._memory.loaded,
            metrics,
        )

    async def run(self) -> int:
        """Until told to stop. Raises Faults."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        sip, ops = self._settings.sip, self._settings.ops
        if not sip.trunks and not sip.host.startswith(_LOOPBACK):
            log.warning(
                "[sip.trunks] names no address, so all who ask are strangers, %g a second together",
                sip.strangers_per_s,
            )
        self._memory.agreements.start()
        health = HealthServer(
            ops.http_host,
            sip.health_port,
            self._registry,
            lambda: self._memory.readiness,
            lambda: self._turning.stalled,
        )
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(self._kept())
            tcp = TcpDoor(self._responder, sip)
            jobs = [
                await stack.enter_async_context(running(job, name))
                for name, job in (
                    ("turning", self._turning.run()),
                    ("lists", self._memory.run()),
                    ("look", self._memory.look()),
                    ("asked", kept.run()),
                    ("slow", tcp.run()),
                )
            ]
            await stack.enter_async_context(health)
            await stack.enter_async_context(self._doors(tcp))
            log.info("http://%s:%d/metrics /live /ready", ops.http_host, health.port)
            await until(self._told, jobs)
        log.info("stopped")
        return CLEAN

    @asynccontextmanager
    async def _doors(self, tcp: TcpDoor) -> AsyncIterator[None]:
        """Both sockets, on one port."""
        sip = self._settings.sip
        listening = bound(sip.host, sip.port, socket.SOCK_STREAM)
        port = listening.getsockname()[1]
        try:
            udp = UdpDoor(bound(sip.host, port, socket.SOCK_DGRAM), self._responder)
        except Fault:
            listening.close()
            raise
        udp.start()
        try:
            await tcp.start(listening)
            log.info("sip:%s:%d is answered, by UDP and TCP", sip.host, port)
            yield
        finally:
            udp.stop()
            await tcp.stop()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[KeptDecisions]:
        """Decisions by id, in the register, for the pages of `ringfence serve`."""
        serve = self._settings.serve
        redis = client(self._settings.register())
        limits = KeptSettings(serve.decisions_days, serve.decisions_max)
        kept = KeptDecisions(redis, limits, self._metrics)
        self._memory.keep = kept.asked
        try:
            yield kept
        finally:
            await redis.aclose()

    def _stop(self, why: str) -> None:
        log.info("%s: stopping", why)
        self._told.set()
