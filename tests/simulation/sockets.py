"""Sockets that servers of ours bind, in memory: for a stream, or for datagrams.

A stream is listened at by the loop. A datagram comes late, twice, behind a later one, or never; it
waits in the kernel of a process that is paused, and is lost where too many wait.
"""

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any, NoReturn, Self

from stream.edge.sip.udp import MEMORY_OPTION, STAMP_OPTION
from tests.simulation.loop import BEGIN_S, Process
from tests.simulation.network import Network, link_of

_WAITING_MAX = 500
"""Datagrams that wait in the kernel at most."""

Place = tuple[str, int]


class BoundSocket:
    """A socket of one process. `refuse` is called with what no simulated socket can do."""

    def __init__(
        self,
        network: Network,
        process: Process,
        kind: socket.SocketKind,
        refuse: Callable[[str], NoReturn],
    ) -> None:
        self.network, self.loop, self.process, self.kind = network, network.loop, process, kind
        self._refuse = refuse
        self._place: Place = (process.name, 0)
        self._context = copy_context()
        self._read: Callable[[], object] | None = None
        self._due = False
        self._waiting: deque[tuple[bytes, float, Place]] = deque()
        self._lost = 0
        self._lost_to: set[Place] = set()

    def __getattr__(self, name: str) -> Any:
        self._refuse(f"a socket's {name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def setsockopt(self, *_: object) -> None:
        """Options change nothing here."""

    def setblocking(self, flag: bool) -> None:
        """Nothing blocks here."""

    def listen(self, backlog: int) -> None:
        """The loop listens."""

    def bind(self, address: tuple[Any, ...]) -> None:
        """Take a port of the process' host."""
        self._place = (self.process.name, address[1] or self.network.free_port())
        if self.kind is socket.SOCK_DGRAM:
            self.network.bound[self._place] = self
            self.process.ends[self._gone] = None

    def getsockname(self) -> Place:
        """Return host and port."""
        return self._place

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Return what Linux counts of a socket: datagrams that found no room."""
        assert (level, option) == (socket.SOL_SOCKET, MEMORY_OPTION)
        return struct.pack("=9I", *(0,) * 8, self._lost)

    def close(self) -> None:
        """Give the port back; what waits is lost."""
        self._read = None
        if self.network.bound.get(self._place) is self:
            del self.network.bound[self._place]
            self.process.ends.pop(self._gone, None)

    def _gone(self, _: bool) -> None:
        self.close()

    # Datagrams.

    def reads(self, callback: Callable[[], object] | None) -> bool:
        """Call it while datagrams wait; None: no more. Return whether there was one before."""
        before, self._read = self._read, callback
        self._context = copy_context()
        self._look()
        return before is not None

    def _look(self) -> None:
        if self._read is not None and self._waiting and not self._due:
            self._due = True
            self.loop.call_soon(self._call, context=self._context)

    def _call(self) -> None:
        self._due = False
        if self._read is not None and self._waiting:
            self._read()
            self._look()

    def recvmsg(self, size: int, _: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Place]:
        """Return the next datagram with its kernel's time. Raises BlockingIOError."""
        if not self._waiting:
            raise BlockingIOError
        data, came_s, source = self._waiting.popleft()
        stamp = struct.pack("=qq", int(came_s), int(came_s % 1 * 1e9))
        return data[:size], [(socket.SOL_SOCKET, STAMP_OPTION, stamp)], 0, source

    def sendmsg(self, parts: Iterable[bytes], _: object, __: int, to: Place) -> None:
        """Send a datagram, from the one address that a host has here."""
        self.sendto(b"".join(parts), to)

    def sendto(self, data: bytes, to: Place) -> None:
        """Send a datagram: it arrives in its own time, if it does."""
        network, rng = self.network, self.loop.rng
        weather = network.slowed.get(link_of(self._place[0], to[0]), network.weather)
        if (self._place[0], to[0]) in network.blocked:
            return
        # Never two in a row: how long a client waits at most can be said then.
        if to not in self._lost_to and rng.random() < weather.lost:
            self._lost_to.add(to)
            return
        self._lost_to.discard(to)
        for _ in range(1 + (rng.random() < weather.twice)):
            at_s = self.loop.time() + rng.expovariate(1 / weather.delay_s)
            self.loop.call_at(at_s, _arrive, network, data, self._place, to, context=Context())

    def take(self, data: bytes, source: Place) -> None:
        """Let the kernel have a datagram: it waits until it is read."""
        if len(self._waiting) >= _WAITING_MAX:
            self._lost += 1
            return
        past_s = self.loop.past_s
        came_s = BEGIN_S + past_s + self.process.clock.seconds(past_s)
        self._waiting.append((data, came_s, source))
        self._look()


def _arrive(network: Network, data: bytes, source: Place, to: Place) -> None:
    bound = network.bound.get(to)
    if bound is not None:
        bound.take(data, source)
