"""`ringfence serve-sip`: answer SIP requests from the lists."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
from stream.ops.metrics.bounded_labels import Named
from stream.ops.metrics.sip import SipMetrics
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import Service, Words

log = logging.getLogger(__name__)

_LOOPBACK = ("127.", "::1", "localhost")


def run(settings: Settings) -> int:
    """Answer SIP until told to stop; the exit code."""
    return service.run(settings, lambda: _Answering(settings).run(), process="serve-sip")


class _Answering:
    """The lookup, and the sockets in front of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = metrics = SipMetrics(
            self._registry, Named(settings.ops.lists_max, settings.policy.lists)
        )
        for transport in Transport:
            for reason in Unanswered:
                metrics.unanswered.labels(transport, reason)
        self._memory = Memory(settings, metrics.lookups, metrics.followed)
        self._responder = Responder(
            settings.sip,
            self._memory.lookup,
            settings.trunks_by_name(),
            emergency_for(settings),
            lambda: self._memory.loaded,
            metrics,
        )

        self._service = Service(
            settings,
            settings.sip.health_port,
            self._registry,
            lambda: self._memory.readiness.missing,
            words=Words(),
        )

    async def run(self) -> int:
        """Answer until told to stop; the exit code. Raises Faults."""
        sip = self._settings.sip
        if not sip.trunks and not sip.host.startswith(_LOOPBACK):
            log.warning(
                "[sip.trunks] names no address, so all who ask are strangers, %g a second together",
                sip.strangers_per_s,
            )
        self._memory.agreements.start()
        return await self._service.run(self._work)

    async def _work(self) -> None:
        tcp = TcpDoor(self._responder, self._settings.sip)
        async with self._kept() as kept:
            await supervised(
                self._answer(tcp),
                lists=self._memory.run(),
                agreements=self._memory.look(),
                asked=kept.run(),
                slow=tcp.run(),
            )

    async def _answer(self, tcp: TcpDoor) -> None:
        async with self._doors(tcp):
            await self._service.until_stopping()

    @asynccontextmanager
    async def _doors(self, tcp: TcpDoor) -> AsyncIterator[None]:
        """Listen by UDP and TCP, on one port."""
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
        redis = client(self._settings.list_store())
        limits = KeptSettings(serve.decisions_days, serve.decisions_max)
        kept = KeptDecisions(redis, limits, self._metrics)
        self._memory.lookup.keep = kept.asked
        try:
            yield kept
        finally:
            await redis.aclose()
