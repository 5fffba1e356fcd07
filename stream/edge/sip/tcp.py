"""SIP over TCP and TLS: connections bounded in number, size and time, answered in order."""

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Final

from stream.edge.sip.message import PONG, Lost, SipFraming
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.response import Address, Unanswered
from stream.edge.sip.settings import SipSettings
from stream.ops.clock import monotonic_s
from stream.ops.tasks import cancelled

BACKLOG: Final = 256
"""Connections that wait in the kernel to be accepted."""
UNSENT_BYTES_MAX: Final = 256 * 1024
"""A peer that leaves more of its answers unread is cut off: they fill our memory."""
SWEEP_S: Final = 1.0
"""Interval of the check for slow and idle connections: no timer for each message."""
TOGETHER_MAX: Final = 64
"""Messages of one connection decided together, about 5 ms; then the others get a turn."""


class TcpServer:
    """The connections to one listening socket; with a `context` by TLS."""

    def __init__(
        self, responder: Responder, settings: SipSettings, context: SSLContext | None = None
    ) -> None:
        self.responder = responder
        self.settings = settings
        self.context = context
        self.transport = SipTransport.TCP if context is None else SipTransport.TLS
        self._handshakes: set[asyncio.Task[None]] = set()
        self._open: set[_Connection] = set()
        self._each: Counter[str] = Counter()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        kind = _Connection if self.context is None else _Handshake
        self._server = await loop.create_server(lambda: kind(self), sock=listening, backlog=BACKLOG)

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        await cancelled(*self._handshakes)
        for connection in list(self._open):
            connection.close()
        if self._server is not None:
            await self._server.wait_closed()

    async def run(self) -> None:
        """Cut off slow and idle connections, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = monotonic_s()
            for connection in list(self._open):
                if connection.is_over(now_s):
                    connection.abort("slow")

    def admits(self, connection: "_Connection") -> bool:
        """Count the connection in, if there is room; return whether there is."""
        settings, host = self.settings, connection.source.host
        room = len(self._open) < settings.connections_max
        if not room or self._each[host] >= settings.connections_each_max:
            self.responder.metrics.cut_off.labels("too_many").inc()
            return False
        self._open.add(connection)
        self._each[host] += 1
        self.responder.metrics.connections.inc()
        return True

    def secure(self, connection: "_Secured", raw: asyncio.Transport) -> None:
        """Begin the handshake of an admitted connection."""
        task = asyncio.create_task(self._handshake(connection, raw), name="handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: "_Secured", raw: asyncio.Transport) -> None:
        assert self.context is not None, "only TLS has handshakes"
        try:
            secured = await asyncio.get_running_loop().start_tls(
                raw,
                connection,
                self.context,
                server_side=True,
                ssl_handshake_timeout=self.settings.message_s_max,
                ssl_shutdown_timeout=SWEEP_S,
            )
        except OSError:  # SSLError, TimeoutError and ConnectionError are such
            self.responder.metrics.cut_off.labels("handshake").inc()
            raw.abort()
            self.gone(connection)
        else:
            assert secured is not None, "its protocol has been connected"
            connection.secured(secured)

    def gone(self, connection: "_Connection") -> None:
        """Count a closed connection out."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        host = connection.source.host
        self._each[host] -= 1
        if not self._each[host]:
            del self._each[host]
        self.responder.metrics.connections.dec()


class _Connection(asyncio.Protocol):
    """The connection of one peer."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._framing = SipFraming(server.settings.message_bytes_max)
        self._transport: Any = None
        self._heard_s = self._began_s = monotonic_s()
        self.source = Address("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit it or cut it off."""
        self.begins(transport)

    def begins(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether it is admitted; else it is cut off."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer:  # else the peer has closed it already
            self.source = Address(peer[0], peer[1])
        if not peer or not self._server.admits(self):
            self._transport.abort()
            return False
        made = transport.get_extra_info("socket")
        with suppress(OSError):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    def data_received(self, data: bytes) -> None:
        """Answer the messages that a part of the stream completes."""
        came_s = self._heard_s = monotonic_s()
        if not self._framing.waiting:
            self._began_s = came_s
        self._framing.feed(data)
        count = 0
        while not self._transport.is_closing():
            messages, is_lost = self._messages()
            self._pong()
            count += len(messages)
            self._answer([(message, self.source) for message in messages], came_s)
            if is_lost:
                self._server.responder.metrics.cut_off.labels("unframed").inc()
                self._transport.close()
            if len(messages) < TOGETHER_MAX:
                break
        self._server.responder.metrics.took(self._server.transport, count, monotonic_s() - came_s)

    def _messages(self) -> tuple[list[bytes], bool]:
        """Return whole messages, a bounded number, and whether no more can follow."""
        found: list[bytes] = []
        try:
            while len(found) < TOGETHER_MAX:
                message = self._framing.next()
                if message is None:
                    break
                found.append(message)
                self._began_s = self._heard_s
        except Lost as lost:
            return [*found, lost.message], True
        return found, False

    def _answer(self, messages: list[tuple[bytes, Address]], came_s: float) -> None:
        answers = self._server.responder.answers(messages, self._server.transport, came_s)
        self._transport.write(b"".join(made.data for made in answers if made is not None))
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.abort("unread")

    def _pong(self) -> None:
        pings, self._framing.pings = self._framing.pings, 0
        if pings:
            self._server.responder.unanswered(self._server.transport, Unanswered.KEEP_ALIVE, pings)
            self._transport.write(PONG * pings)

    def is_over(self, now_s: float) -> bool:
        """Return whether a message takes too long, or nothing has come for too long."""
        settings = self._server.settings
        if self._framing.waiting and now_s - self._began_s > settings.message_s_max:
            return True
        return now_s - self._heard_s > settings.idle_s_max

    def abort(self, why: str) -> None:
        """Cut off."""
        self._server.responder.metrics.cut_off.labels(why).inc()
        self._transport.abort()

    def close(self) -> None:
        """Close it after the answers are sent."""
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        del exc
        self._server.gone(self)


class _Handshake(asyncio.Protocol):
    """A new connection by TLS: admitted before its handshake, which costs a signature."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit it, then begin the handshake."""
        assert isinstance(transport, asyncio.Transport), "sockets have both ways"
        connection = _Secured(self._server)
        if connection.begins(transport):
            transport.pause_reading()  # the handshake reads from the first byte
            self._server.secure(connection, transport)


class _Secured(_Connection):
    """The connection of one peer by TLS."""

    def __init__(self, server: TcpServer) -> None:
        super().__init__(server)
        self._is_secure = False
        self._early = bytearray()

    def secured(self, transport: asyncio.BaseTransport) -> None:
        """Answer by `transport` from now on."""
        self._transport, self._is_secure = transport, True
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Answer; what comes with the end of the handshake waits, lest it be answered in clear."""
        if self._is_secure:
            super().data_received(data)
        else:
            self._early += data
