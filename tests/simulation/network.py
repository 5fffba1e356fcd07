"""The network of a simulation: connections in memory that misbehave as real ones do.

Bytes arrive late, in pieces and in order; a connection is cut at any byte. A link between two hosts
can be blocked, in one direction too: what is sent waits, as TCP sends it again, and arrives when
the link is back. It can be slow. A connection can be forgotten by what lies between: nothing passes
any more, and nobody hears of it. Who reads nothing is not written to without an end.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from tests.simulation.loop import PROCESS, Process, VirtualLoop

_NEXT_S = 1e-9
"""Between two pieces of one connection: they arrive in order."""
_SYN_S = 127.0
"""So long a kernel tries to reach a host that does not answer (Linux, tcp_syn_retries = 6)."""
_KERNEL_BYTES = 256 * 1024
"""Bytes of a connection that both kernels and the way between them hold."""
_HIGH_BYTES, _LOW_BYTES = 64 * 1024, 16 * 1024
"""Bytes beyond those, above which a writer has to wait and below which it goes on: asyncio's."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The usual behaviour of the network.

    `delay_s`: mean delay of a piece. `pieces`: chance that a write arrives in several.
    `cut`: chance that a connection breaks at a write, with what is on its way. `bytes_s`: speed.
    `lost`, `twice`: chances that a datagram never comes, or comes twice.
    """

    delay_s: float = 0.0005
    pieces: float = 0.3
    cut: float = 0.0
    bytes_s: float = 1e9
    lost: float = 0.0
    twice: float = 0.0


class _Sign(Enum):
    END = auto()
    RESET = auto()


class _Socket:
    """As much of a socket as clients and servers look at."""

    family = socket.AF_INET

    def __init__(self, name: tuple[str, int], peer: tuple[str, int] = ("", 0)) -> None:
        self._name, self._peer = name, peer
        self.user_timeout_s = 0.0
        """0: the kernel tries as long as it tries, a quarter of an hour."""

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def getpeername(self) -> tuple[str, int]:
        return self._peer

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Other options change nothing here."""
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            self.user_timeout_s = value / 1000

    def fileno(self) -> int:
        return -1


class Pipe(asyncio.Transport):
    """One end of a connection. `context` is that of the process to which it belongs."""

    peer: "Pipe"

    def __init__(
        self, network: "Network", protocol: Any, ours: tuple[str, int], theirs: tuple[str, int]
    ) -> None:
        self._socket = _Socket(ours, theirs)
        super().__init__({"peername": theirs, "sockname": ours, "socket": self._socket})
        self.network, self.loop, self.protocol = network, network.loop, protocol
        self.host, self.port = ours[0], ours[1]
        self.link = link_of(ours[0], theirs[0])
        self.context: Context = copy_context()
        self.process: Process | None = self.context.get(PROCESS)
        self.closing = self.dead = self.silent = self.forgotten = False
        self.arrives_s = 0.0
        """When all that was sent so far has arrived."""
        self._paused = self._waits = False
        self._untaken = 0
        self._unread: list[bytes | _Sign] = []
        self.held: list[bytes | _Sign] = []
        self._unacknowledged: deque[float] = deque()
        """When each piece was sent that the other kernel has not acknowledged."""
        self._watched = False
        network.pipes[self] = None
        if self.process is not None:
            self.process.ends[self.crash] = None

    # The side that sends.

    def write(self, data: Any) -> None:
        if self.closing or self.dead or not data:
            return
        weather, rng, rest = self.network.weather, self.loop.rng, bytes(data)
        self._untaken += len(rest)
        if self._untaken > _KERNEL_BYTES + _HIGH_BYTES and not self._waits:
            self._waits = True
            self.protocol.pause_writing()
        while rest:
            if rng.random() < weather.pieces:
                size = 1 + rng.randrange(len(rest))
                self._send(rest[:size])
                rest = rest[size:]
                self.loop.torn += bool(rest)
            else:
                self._send(rest)
                break
        if weather.cut and rng.random() < weather.cut:
            self.loop.note("cut", self)
            self.cut()

    @property
    def lives(self) -> bool:
        """True if its process is there."""
        return self.process is None or self.process.alive

    def taken(self, size: int) -> None:
        """Count what the other end has read."""
        self._untaken -= size
        if self._waits and self.get_write_buffer_size() < _LOW_BYTES:
            self._waits = False
            self.loop.call_soon(self._go_on, context=self.context)

    def _go_on(self) -> None:
        if not self.dead and not self._waits:
            self.protocol.resume_writing()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}-{self.peer.host}:{self.peer.port}"

    def _send(self, what: bytes | _Sign) -> None:
        if self._socket.user_timeout_s and isinstance(what, bytes):
            if not self._watched:
                self._watched = True
                self.loop.call_later(self._socket.user_timeout_s, self._give_up, context=Context())
            self._unacknowledged.append(self.loop.time())
        if self.forgotten:
            return
        network, loop = self.network, self.loop
        weather = network.weather
        if network.slowed:
            weather = network.slowed.get(self.link, weather)
        at_s = loop.time() + loop.rng.expovariate(1 / weather.delay_s)
        if isinstance(what, bytes):
            at_s += len(what) / weather.bytes_s
        self.arrives_s = max(self.arrives_s + _NEXT_S, at_s)
        loop.call_at(self.arrives_s, self.peer.arrive, what, context=Context())

    def acknowledged(self) -> None:
        """Take the other kernel's word that it has the oldest piece."""
        if self._unacknowledged:
            self._unacknowledged.popleft()

    def _give_up(self) -> None:
        """Break the connection if its oldest piece was not acknowledged for so long (RFC 5482)."""
        if self.dead or not self._unacknowledged:
            self._watched = False
            return
        ends_s = self._unacknowledged[0] + self._socket.user_timeout_s
        if self.loop.time() < ends_s:
            self.loop.call_at(ends_s, self._give_up, context=Context())
        else:
            error = TimeoutError("simulated: nothing is acknowledged")
            self.loop.call_soon(self._lose, error, context=self.context)

    def write_eof(self) -> None:
        self._send(_Sign.END)

    def can_write_eof(self) -> bool:
        return True

    # The side that receives.

    def arrive(self, what: bytes | _Sign) -> None:
        """Take what the link brings, unless it is blocked or nobody lives here any more."""
        if self.forgotten:
            return
        blocked = self.network.blocked
        if self.held or (blocked and (self.peer.host, self.host) in blocked):
            self.held.append(what)
            return
        if isinstance(what, bytes) and self.network.answers(self.host):
            back = blocked.get((self.host, self.peer.host))
            if back is None:
                self.peer.acknowledged()
            else:
                back.add_done_callback(lambda _: self.peer.acknowledged())
        if self.dead:
            return
        if not self.lives:
            # Silent after a loss of power; a host that is up again answers with a reset.
            if what is not _Sign.RESET and (not self.silent or self.network.answers(self.host)):
                self.dead = True
                self._send(_Sign.RESET)
        else:
            self.loop.call_soon(self._take, what, context=self.context)

    def released(self) -> None:
        """Take what waited behind a blocked link, if the kernel that sends it again is there.

        Else a host without power commits a position, seconds later (seed 110009670).
        """
        held, self.held = self.held, []
        if self.peer.silent:
            return
        for what in held:
            self.arrive(what)

    def _take(self, what: bytes | _Sign) -> None:
        if self.dead:
            return
        if what is _Sign.RESET:
            self._lose(ConnectionResetError("simulated"))
        elif self._paused or self._unread:  # it comes behind what waits
            self._unread.append(what)
        else:
            self._hand(what)

    def _hand(self, what: bytes | _Sign) -> None:
        if what is _Sign.END:
            if not self.protocol.eof_received():
                self.close()
        elif isinstance(what, bytes):
            self.peer.taken(len(what))
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                self._fill(what)
            else:
                self.protocol.data_received(what)

    def _fill(self, piece: bytes) -> None:
        while piece and not self.dead:
            room = self.protocol.get_buffer(-1)
            part, piece = piece[: len(room)], piece[len(room) :]
            room[: len(part)] = part
            self.protocol.buffer_updated(len(part))

    # How it ends.

    def cut(self) -> None:
        """Break the connection for both, with what is on its way."""
        self.network.cuts += 1
        for end in (self, self.peer):
            self.loop.call_soon(end._lose, ConnectionResetError("cut"), context=end.context)

    def crash(self, reset: bool) -> None:
        """Its process is gone: its kernel tells the other side, or nobody does."""
        self.silent = not reset
        if reset and not self.dead:
            self._send(_Sign.RESET)

    def _lose(self, error: Exception | None) -> None:
        if not self.dead:
            self.dead = self.closing = True
            self._forget()
            self.protocol.connection_lost(error)

    def _forget(self) -> None:
        self.network.pipes.pop(self, None)
        if self.process is not None:
            self.process.ends.pop(self.crash, None)

    def close(self) -> None:
        if not self.closing and not self.dead:
            self.closing = True
            self._send(_Sign.END)
            self.loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        if not self.dead:
            self.closing = True
            self._send(_Sign.RESET)
            self.loop.call_soon(self._lose, None, context=self.context)

    def is_closing(self) -> bool:
        return self.closing or self.dead

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.loop.call_soon(self._read_on, context=self.context)

    def _read_on(self) -> None:
        while self._unread and not self._paused and not self.dead:
            self._hand(self._unread.pop(0))

    def is_reading(self) -> bool:
        return not self._paused

    def get_write_buffer_size(self) -> int:
        return max(0, self._untaken - _KERNEL_BYTES)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are asyncio's own."""


class Listening(asyncio.AbstractServer):
    """A server of one process; it is gone with it. It serves from the beginning to its end."""

    def __init__(self, network: "Network", factory: Callable[[], Any], address: tuple[str, int]):
        self.network, self.factory, self.address = network, factory, address
        self.context = copy_context()
        self.sockets = [_Socket(address)]
        network.listening[address] = self
        process = self.context.get(PROCESS)
        if process is not None:
            process.ends[self._gone] = None

    def _gone(self, reset: bool) -> None:
        self.close()

    def close(self) -> None:
        if self.network.listening.get(self.address) is self:
            del self.network.listening[self.address]

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.network.loop

    def is_serving(self) -> bool:
        return self.network.listening.get(self.address) is self

    async def start_serving(self) -> None:
        """It does already."""

    async def serve_forever(self) -> None:
        await self.network.loop.create_future()

    async def wait_closed(self) -> None:
        """Closing takes no time."""


class Network:
    """All links and connections of one history."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.loop, self.weather = loop, weather
        self.listening: dict[tuple[str, int], Listening] = {}
        self.blocked: dict[tuple[str, str], asyncio.Future[None]] = {}
        """Ways on which nothing passes: from a host to a host."""
        self.slowed: dict[tuple[str, str], Weather] = {}
        """Links between two hosts that have a weather of their own."""
        self.cuts = 0
        self.off: set[str] = set()
        self.pipes: dict[Pipe, None] = {}
        self.bound: dict[tuple[str, int], Any] = {}
        """Sockets that take datagrams."""
        self._port = 20_000
        loop.network = self

    def listen(self, factory: Callable[[], Any], port: int | None) -> Listening:
        """Listen for the process that runs now, on its host."""
        process = PROCESS.get()
        return Listening(
            self, factory, (process.name if process else "here", port or self.free_port())
        )

    async def connect(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Pipe, Any]:
        """Connect the process that runs now. Raises ConnectionRefusedError, TimeoutError."""
        process = PROCESS.get()
        ours = (process.name if process else "here", self.free_port())
        try:
            async with asyncio.timeout(_SYN_S):
                # There and back, again where the way is blocked or the host is off.
                await asyncio.sleep(self.loop.rng.expovariate(0.5 / self.weather.delay_s))
                ways = ((ours[0], host), (host, ours[0]))
                while shut := [self.blocked[way] for way in ways if way in self.blocked]:
                    await asyncio.wait(shut)
                if host in self.off:
                    await asyncio.sleep(_SYN_S)
        except TimeoutError as error:
            raise TimeoutError(f"{host}:{port} does not answer") from error
        listening = self.listening.get((host, port))
        if listening is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        here = factory()
        there = listening.context.run(listening.factory)
        client = Pipe(self, here, ours, (host, port))
        server = listening.context.run(Pipe, self, there, (host, port), ours)
        client.peer, server.peer = server, client
        self.loop.call_soon(there.connection_made, server, context=server.context)
        here.connection_made(client)
        return client, here

    def block(self, one: str, other: str, *, both: bool = True) -> None:
        """Let nothing pass from one host to another; `both`: nor back."""
        self.loop.note("block", one, other, "" if both else "one way")
        for way in ((one, other), (other, one))[: 1 + both]:
            self.blocked.setdefault(way, self.loop.create_future())

    def heal(self, one: str, other: str) -> None:
        """Let pass what was held back, and what comes, in both directions."""
        for source, target in ((one, other), (other, one)):
            way = self.blocked.pop((source, target), None)
            if way is None:
                continue
            self.loop.note("heal", source, target)
            way.set_result(None)
            for pipe in [pipe for pipe in self.pipes if pipe.host == target]:
                if pipe.peer.host == source:
                    pipe.released()

    def slow(self, one: str, other: str, weather: Weather) -> None:
        """Give a link a weather of its own."""
        self.loop.note("slow", one, other, weather)
        self.slowed[link_of(one, other)] = weather

    def hurry(self, one: str, other: str) -> None:
        """Let a link be as the others."""
        self.loop.note("hurry", one, other)
        self.slowed.pop(link_of(one, other), None)

    def forget(self, pipe: Pipe) -> None:
        """Let nothing pass on a connection any more; neither end learns of it."""
        self.loop.note("forget", pipe)
        pipe.forgotten = pipe.peer.forgotten = True

    def answers(self, host: str) -> bool:
        """Return whether a kernel answers at `host`."""
        return host not in self.off

    def connections(self, host: str) -> Iterable[Pipe]:
        """Return the ends of connections at `host`."""
        return [pipe for pipe in self.pipes if pipe.host == host]

    def calm(self) -> None:
        """End all misbehaviour; what is broken stays broken."""
        self.weather = replace(self.weather, cut=0.0, bytes_s=1e9, lost=0.0, twice=0.0)
        for one, other in list(self.blocked):
            self.heal(one, other)
        self.slowed.clear()
        self.off.clear()

    def leave_behind(self) -> None:
        """Forget all connections: histories end in the middle of things."""
        for pipe in self.pipes:
            pipe.closing = pipe.dead = True
        self.pipes.clear()

    def free_port(self) -> int:
        """Return a port that nobody has."""
        self._port += 1
        return self._port


def link_of(one: str, other: str) -> tuple[str, str]:
    """Return the name of the link between two hosts."""
    return (one, other) if one <= other else (other, one)
