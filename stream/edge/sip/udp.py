"""The UDP socket: reads what is there, has it answered together, sends the answers."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

from stream.edge.sip.responder import Responder, SipTransport, Unanswered
from stream.edge.sip.response import Address
from stream.ops.clock import monotonic_s
from stream.ops.health_server import PortTaken

TOGETHER_MAX: Final = 256
"""Datagrams read before other work of the process gets its turn: about 20 ms if all are questions,
1 ms if they are a flood, so that one of 100,000 a second leaves room for a trunk's."""
PACE_S: Final = 0.001
"""A batch costs about as much as ten messages more: with this wait a core answers several times as
many, and nobody waits for longer than it and a batch."""
DATAGRAM_BYTES: Final = 65_535
RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel for datagrams that wait: 2,000 calls a second for a second. It may give
less (net.core.rmem_max)."""


class UdpServer:
    """Answers on one bound socket, from `start` until `stop`.

    What comes within a millisecond of the last answers waits in the kernel, to be answered
    together.
    """

    def __init__(self, bound: socket.socket, responder: Responder) -> None:
        self._socket = bound
        self._responder = responder
        self._answered_s = 0.0
        self._later: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to read."""
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def stop(self) -> None:
        """No more; what was read is answered."""
        if self._later is not None:
            self._later.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._answered_s + PACE_S - loop.time()
        if wait_s <= 0:
            self._read()
        else:
            loop.remove_reader(self._socket)
            self._later = loop.call_later(wait_s, self._after)

    def _after(self) -> None:
        self._later = None
        self._read()
        self.start()

    def _read(self) -> None:
        came_s = monotonic_s()
        messages = list(self._waiting())
        answers = self._responder.answers(messages, SipTransport.UDP, came_s)
        for made in answers:
            if made is None:
                continue
            try:
                self._socket.sendto(made.data, made.to)
            except OSError:  # no room, no route, or the kernel tells of an earlier one
                self._responder.unanswered(SipTransport.UDP, Unanswered.NOT_SENT)
        self._answered_s = asyncio.get_running_loop().time()
        self._responder.metrics.took(SipTransport.UDP, len(messages), monotonic_s() - came_s)

    def _waiting(self) -> Iterator[tuple[bytes, Address]]:
        """Datagrams that are there, a bounded number."""
        for _ in range(TOGETHER_MAX):
            try:
                data, (host, port, *_) = self._socket.recvfrom(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an answer that could not be delivered (ICMP): the next one is read
                continue
            yield data, Address(host, port)


def bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket of SIP's address, for datagrams or a stream. Raises PortTaken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=kind, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        try:
            if kind is socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                with contextlib.suppress(OSError):
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            made.setblocking(False)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise PortTaken(
            f"{host}:{port} cannot be used for SIP ({error.strerror}): set host and port in [sip] "
            "(port 0: a free one)"
        ) from error
    return made
