"""`ringfence serve-sip`: answer SIP requests from the lists."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.edge.http.decision_store import DecisionStore
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.response import Unanswered
from stream.edge.sip.tcp import TcpServer
from stream.edge.sip.udp import UdpServer, bound
from stream.engine.decider import emergency_for
from stream.engine.live_lookup import LiveLookup
from stream.lists.store.redis_client import client
from stream.ops.metrics.catalogue import BoundedLabels
from stream.ops.metrics.sip_catalogue import SipMetrics
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import LOOPBACK, Service

log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Answer SIP until a signal; return the exit code."""
    return service.run(settings, lambda: _Answering(settings).run(), process="serve-sip")


class _Answering(Service):
    """The lookup, and the sockets in front of it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.sip.health_port, uses=("redis",))
        self._metrics = metrics = SipMetrics(
            self.registry, BoundedLabels(settings.ops.lists_max, settings.policy.lists)
        )
        for transport in SipTransport:
            for reason in Unanswered:
                metrics.unanswered.labels(transport, reason)
        self._live = LiveLookup(settings, metrics.lookups, metrics.followed, metrics.signatures)
        self._responder = Responder(
            settings.sip,
            self._live.lookup,
            settings.trunks_by_name(),
            emergency_for(settings),
            lambda: self._live.loaded,
            metrics,
        )
        if not settings.sip.trunks and not settings.sip.host.startswith(LOOPBACK):
            log.warning(
                "[sip.trunks] names no address, so all who ask are unknown sources, "
                "%g a second together",
                settings.sip.strangers_per_s,
            )
        self._live.agreements.start()

    def _missing(self) -> tuple[str, ...]:
        return self._live.readiness.missing

    async def _work(self) -> None:
        tcp = TcpServer(self._responder, self.settings.sip)
        async with self._kept() as kept:
            await supervised(
                self._answer(tcp),
                lists=self._live.run(),
                agreements=self._live.watch_agreements(),
                asked=kept.run(),
                slow=tcp.run(),
            )

    async def _answer(self, tcp: TcpServer) -> None:
        """Listen by UDP and TCP, on one port, until the process is asked to end."""
        sip = self.settings.sip
        listening = bound(sip.host, sip.port, socket.SOCK_STREAM)
        port = listening.getsockname()[1]  # port 0: UDP takes the one that TCP was given
        try:
            udp = UdpServer(bound(sip.host, port, socket.SOCK_DGRAM), self._responder)
        except Fault:
            listening.close()
            raise
        udp.start()
        try:
            await tcp.start(listening)
            log.info("sip:%s:%d is answered, by UDP and TCP", sip.host, port)
            await self.until_stopping()
        finally:
            udp.stop()
            await tcp.stop()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[DecisionStore]:
        """Open the decisions by id of the list store, for the pages of `ringfence serve`."""
        serve = self.settings.serve
        redis = client(self.settings.list_store())
        kept = DecisionStore(redis, self._metrics, serve.decisions_days, serve.decisions_max)
        self._live.lookup.keep = kept.asked
        try:
            yield kept
        finally:
            await redis.aclose()
