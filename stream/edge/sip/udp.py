"""SIP over UDP: read the waiting datagrams, answer them together, send the answers."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from stream.edge.sip.message import MESSAGE_BYTES_MAX
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.response import Address, Unanswered
from stream.ops.clock import monotonic_s
from stream.ops.health_server import PortTaken

TOGETHER_MAX: Final = 256
"""Datagrams read before other work of the process gets a turn. They take about 20 ms if all are
questions, and 1 ms if they are a flood. A flood of 100,000 a second leaves room for the trunks."""
PACE_S: Final = 0.001
"""A batch itself costs about as much as ten messages. With this wait a core answers several times
as many, and a message waits at most for it and one batch."""
RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""The kernel's buffer for waiting datagrams: 2,000 calls a second for a second. The kernel may
grant less (net.core.rmem_max)."""
LATE_S: Final = 1.0
"""From this age of a waiting datagram on, its answer is useless. The switch has asked again twice
(RFC 3261, timer A), or let the call go on. Answering it makes the next ones late too."""
FRESH_S: Final = 0.1
"""Age down to which waiting datagrams are then left out, or until none waits. Otherwise each would
be answered just before it is late, as long as more arrive than are answered."""
STAMP_OPTION: Final = 35
"""SO_TIMESTAMPNS of Linux, which Python does not name: the kernel's time of each datagram."""
_STAMP: Final = struct.Struct("=qq")
_ANCILLARY_BYTES: Final = 128  # room for two control messages: time stamp and own address
INFO_OPTION: Final = 8
"""IP_PKTINFO of Linux, which Python 3.11 does not name: interface and own address of a datagram."""
_INFO: Final = struct.Struct("=i4s4s")
_INFO_V6: Final = struct.Struct("=16si")
_TELL_ADDRESS: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, INFO_OPTION),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
}
Ancillary = list[tuple[int, int, bytes]]
MEMORY_OPTION: Final = 55
"""SO_MEMINFO of Linux, which Python does not name: nine counts of 32 bits about a socket."""
_MEMORY: Final = struct.Struct("=9I")


class UdpServer:
    """Server of one bound socket, from `start` until `stop`.

    Datagrams within a millisecond of the last answers wait in the kernel, and are answered
    together.
    """

    def __init__(
        self, bound: socket.socket, responder: Responder, clock: Callable[[], float] | None = None
    ) -> None:
        """`clock` gives seconds since the epoch, as the kernel's times are; None: the machine's."""
        self._socket = bound
        self._clock = clock or time.time
        self._is_late = False
        self._responder = responder
        self._answered_s = 0.0
        self._lost = 0
        self._later: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Read the socket when it is readable."""
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def stop(self) -> None:
        """Stop reading and close the socket; what was read is answered."""
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
        try:
            self._read()
        finally:  # a fault of ours costs this batch, and never all that comes after it
            self.start()

    def _read(self) -> None:
        came_s = monotonic_s()
        messages: list[tuple[bytes, Address]] = []
        ways: list[Ancillary] = []
        for data, source, way in self._waiting():
            messages.append((data, source))
            ways.append(way)
        self._count_lost()
        answers = self._responder.answers(messages, SipTransport.UDP, came_s)
        for made, way in zip(answers, ways, strict=True):
            if made is None:
                continue
            try:
                self._socket.sendmsg((made.data,), way, 0, made.to)
            except OSError:  # no room, no route, or the kernel reports an earlier datagram
                self._responder.unanswered(SipTransport.UDP, Unanswered.NOT_SENT)
        self._answered_s = asyncio.get_running_loop().time()
        self._responder.metrics.took(SipTransport.UDP, len(messages), monotonic_s() - came_s)

    def _count_lost(self) -> None:
        """Count datagrams that the kernel dropped, since its buffer was full.

        Nothing else shows them: no sender hears of it, and the call goes on unasked. It costs a
        system call a batch, under a microsecond.
        """
        with contextlib.suppress(OSError):  # another kernel has no such option
            held = self._socket.getsockopt(socket.SOL_SOCKET, MEMORY_OPTION, _MEMORY.size)
            *_, lost = _MEMORY.unpack(held)
            if lost != self._lost:
                count = (lost - self._lost) % (1 << 32)  # the kernel's count begins again at 2^32
                self._responder.unanswered(SipTransport.UDP, Unanswered.OVERFLOW, count)
                self._lost = lost

    def _waiting(self) -> Iterator[tuple[bytes, Address, Ancillary]]:
        """Yield the waiting datagrams, a bounded number, without those that are too old.

        Each comes with its source and the way of its answer, see `_way_back`.
        """
        now_s = self._clock()
        for _ in range(TOGETHER_MAX):
            try:
                data, ancillary, _, (host, port, *_) = self._socket.recvmsg(
                    MESSAGE_BYTES_MAX, _ANCILLARY_BYTES
                )
            except BlockingIOError:
                self._is_late = False  # none waits: the next one is answered at once
                return
            except OSError:  # ICMP about an earlier answer; the next read has a datagram
                continue
            if self._too_late(now_s - _came_s(ancillary, now_s)):
                self._responder.unanswered(SipTransport.UDP, Unanswered.OVERFLOW)
            else:
                yield data, Address(host, port), _way_back(ancillary)

    def _too_late(self, age_s: float) -> bool:
        """Return whether a datagram of that age is left out."""
        self._is_late = age_s > (FRESH_S if self._is_late else LATE_S)
        return self._is_late


def _way_back(ancillary: Ancillary) -> Ancillary:
    """Return what makes an answer leave from the address that was asked (RFC 3581, 4).

    The kernel would take its own choice of this machine's addresses, and a switch drops an answer
    from another than it asked. [] where the socket has one address.
    """
    for level, kind, data in ancillary:
        if (level, kind, len(data)) == (socket.IPPROTO_IP, INFO_OPTION, _INFO.size):
            _, own, _ = _INFO.unpack(data)
            return [(level, kind, _INFO.pack(0, own, bytes(4)))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            own, _ = _INFO_V6.unpack(data)
            return [(level, kind, _INFO_V6.pack(own, 0))]
    return []


def _came_s(ancillary: Ancillary, now_s: float) -> float:
    """Return the kernel's time of a datagram; `now_s` where it does not say."""
    for _, kind, data in ancillary:
        if kind == STAMP_OPTION and len(data) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(data)
            return float(seconds + nanoseconds / 1e9)
    return now_s


def bound(host: str, port: int, kind: socket.SocketKind, *, shared: bool = False) -> socket.socket:
    """Bind a socket of SIP's address, for datagrams or a stream. Raises PortTaken.

    `shared`: other processes of ours bind the same; the kernel gives each sender to one of them.
    """
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
                with contextlib.suppress(OSError):  # another kernel has no such option
                    made.setsockopt(socket.SOL_SOCKET, STAMP_OPTION, 1)
                if ip_address(str(address[0]).partition("%")[0]).is_unspecified:
                    with contextlib.suppress(OSError):
                        made.setsockopt(*_TELL_ADDRESS[family], 1)
            if shared:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
