"""`ringfence serve-sip`: answer SIP requests from the lists."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid
from stream.edge.http.decision_store import DecisionStore
from stream.edge.sip.card import RejectionCard
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.response import Unanswered
from stream.edge.sip.settings import SipSettings
from stream.edge.sip.tcp import TcpServer
from stream.edge.sip.udp import UdpServer, bound
from stream.engine.decider import emergency_for
from stream.engine.live_lookup import LiveLookup
from stream.lists.store.redis_client import client
from stream.ops.clock import now_s
from stream.ops.metrics.catalogue import BoundedLabels
from stream.ops.metrics.sip_catalogue import SipMetrics
from stream.ops.renewed_tls import RenewedContext
from stream.ops.runtime import make_room
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import LOOPBACK, Service, WorkerPlace

log = logging.getLogger(__name__)


def run(settings: Settings, place: WorkerPlace | None = None) -> int:
    """Answer SIP until a signal; return the exit code. `place` None: this is the only process."""
    return service.run(
        settings, lambda: _Answering(settings, place).run(), place, process="serve-sip"
    )


class _Answering(Service):
    """The lookup, and the sockets in front of it."""

    def __init__(self, settings: Settings, place: WorkerPlace | None) -> None:
        super().__init__(settings, settings.sip.health_port, place=place, uses=("redis", "sip"))
        self._metrics = metrics = SipMetrics(
            self.registry, BoundedLabels(settings.ops.lists_max, settings.policy.lists)
        )
        for transport in SipTransport:
            for reason in Unanswered:
                metrics.unanswered.labels(transport, reason)
        self._live = LiveLookup(settings, metrics.lookups, metrics.followed, metrics.signatures)
        card = RejectionCard.of(settings.sip.card, now_s)
        self._responder = Responder(
            settings.sip,
            self._live.lookup,
            settings.trunks_by_name(),
            emergency_for(settings),
            lambda: self._live.loaded,
            metrics,
            None if card is None else card.call_info,
        )
        if not settings.sip.trunks and not settings.sip.host.startswith(LOOPBACK):
            log.warning(
                "[sip.trunks] names no address, so all who ask are unknown sources, "
                "%g a second together",
                settings.sip.strangers_per_s,
            )
        self._live.agreements.start()
        self._closed: tuple[str, ...] = (f"port {settings.sip.port} is not open yet",)
        self._tcp = TcpServer(self._responder, settings.sip)
        self._tls = _secured(self._responder, settings.sip)
        kinds = 1 if self._tls is None else 2
        make_room("sip.connections_max", settings.sip.connections_max, kinds)

    def _missing(self) -> tuple[str, ...]:
        # Lists may be loaded before the port is open: requests sent here then would be refused.
        return (*self._live.readiness.missing, *self._closed)

    async def _work(self) -> None:
        slow = {"slow": self._tcp.run()}
        if self._tls is not None:
            slow["slow_tls"] = self._tls.run()
        async with self._kept() as kept:
            await supervised(
                self._answer(),
                lists=self._live.run(),
                agreements=self._live.watch_agreements(),
                asked=kept.run(),
                **slow,
            )

    async def _answer(self) -> None:
        """Listen by UDP and TCP, on one port, and by TLS, until the process is asked to end."""
        async with AsyncExitStack() as stack:
            listening = self._bound(stack, self.settings.sip.port, socket.SOCK_STREAM)
            port = listening.getsockname()[1]  # port 0: UDP takes the one that TCP was given
            datagrams = self._bound(stack, port, socket.SOCK_DGRAM)
            secured = None
            if self._tls is not None:
                secured = self._bound(stack, self.settings.sip.tls_port, socket.SOCK_STREAM)
            udp = UdpServer(datagrams, self._responder)
            udp.start()
            stack.callback(udp.stop)
            stack.push_async_callback(self._tcp.stop)
            await self._tcp.start(listening)
            host = self.settings.sip.host
            log.info("sip:%s:%d is answered, by UDP and TCP", host, port)
            if self._tls is not None and secured is not None:
                stack.push_async_callback(self._tls.stop)
                await self._tls.start(secured)
                log.info("sips:%s:%d is answered, by TLS", host, secured.getsockname()[1])
            self._closed = ()
            await self.until_stopping()

    def _bound(self, stack: AsyncExitStack, port: int, kind: socket.SocketKind) -> socket.socket:
        shared = self.place is not None
        return stack.enter_context(bound(self.settings.sip.host, port, kind, shared=shared))

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
            await kept.close()


def _secured(responder: Responder, settings: SipSettings) -> TcpServer | None:
    """Return the server by TLS; None: there is no certificate. Raises ConfigInvalid."""
    if not settings.cert_file:
        return None
    files = (settings.cert_file, settings.key_file, settings.client_ca_file)
    try:
        context = RenewedContext.of_server(*files)
    except OSError as error:  # ssl.SSLError is one
        text = f"sip: cert_file, key_file and client_ca_file: {error}"
        raise ConfigInvalid((text,)) from error
    return TcpServer(responder, settings, context)
