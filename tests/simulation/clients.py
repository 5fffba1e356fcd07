"""Clients of a door in a simulation: connections that ask in order, and who waits too long."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.simulation.network import Pipe
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.doors import Door

BLANK = b"\r\n\r\n"
"""The end of the head of a message, of HTTP as of SIP."""
ANSWER_S = 3.0
"""So long a client waits at most where nothing is broken; and after what was broken is whole."""
_GIVES_UP_S = 5.0
"""So long a switch holds its call for an answer."""


@dataclass
class Asked:
    """A request on its way, about `numbers`. `statuses` are the answers that it may get."""

    data: bytes
    statuses: frozenset[int]
    numbers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The names of its calls, which come back."""
    sent_s: float = 0.0


@dataclass(eq=False)
class Line(asyncio.Protocol):
    """A client's end of one connection: what it asked in order, and the answers that came."""

    owner: "Clients"
    waiting: deque[Asked] = field(default_factory=deque)
    transport: Any = None
    closed: bool = False
    reads: bool = True
    damaged: bool = False
    """True once it sent what is no request, or left: what comes then is looked at no more."""
    connected_s: float = 0.0
    _held: bytes = b""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.connected_s = self.owner.world.loop.time()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (size := self.owner.whole(self._held)) > 0:
            answer, self._held = self._held[:size], self._held[size:]
            self.owner.answered(self, answer)
            self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.waiting.clear()
        self._news.set()

    def send(self, *requests: Asked) -> None:
        """Ask, in one write."""
        for request in requests:
            request.sent_s = self.owner.world.loop.time()
            self.waiting.append(request)
        self.transport.write(b"".join(request.data for request in requests))

    async def answers(self) -> bool:
        """Wait until all is answered; return False: it was closed, or nobody waits longer."""
        try:
            async with asyncio.timeout(_GIVES_UP_S):
                while self.waiting and not self.closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return not self.closed


class Clients:
    """All clients of one door. A subclass knows the protocol."""

    kinds: Sequence[str]
    """Names of methods: one is drawn for each who comes."""

    def __init__(
        self, world: World, door: "Door", numbers: Sequence[str], bug: Callable[[str], None]
    ) -> None:
        self.world, self.door, self.numbers, self.rng = world, door, numbers, world.rng
        self.bug = bug
        self.hosts: list[str] = []
        self.quiet_s = 0.0
        """When the last fault ended, as far as the last look knew."""
        self.answers = 0
        self._lines: list[Line] = []
        self._named = 0

    def whole(self, held: bytes) -> int:
        """Return the size of the answer at the beginning of `held`; 0: it is not whole yet."""
        raise NotImplementedError

    def answered(self, line: Line, answer: bytes) -> None:
        """Take an answer of a connection, and hold it against the reference."""
        raise NotImplementedError

    async def ask_all(self) -> None:
        """Ask about every number, and wait for the answers."""
        raise NotImplementedError

    def come(self) -> None:
        """Let a client come, of a drawn kind."""
        talks = getattr(self, f"_{self.rng.choice(self.kinds)}")
        self.world.process(self.rng.choice(self.hosts)).run(talks())

    def _name(self) -> str:
        self._named += 1
        return f"{self.door.name}-{self._named}"

    async def _connected(self) -> Line | None:
        """Return a connection; None: there is none to be had."""
        line = Line(self)
        try:
            await self.world.loop.create_connection(lambda: line, self.door.name, self.door.port)
        except OSError:
            return None
        self._lines.append(line)
        return line

    def _leave(self, line: Line) -> None:
        line.damaged = True
        line.transport.close()
        self._lines.remove(line)

    def _half(self, line: Line, requests: Iterable[Asked]) -> None:
        """Send the beginning of some requests alone."""
        data = b"".join(request.data for request in requests)
        line.damaged = True
        line.transport.write(data[: self.rng.randint(1, len(data) - 1)])

    async def _piecemeal(self, line: Line, request: Asked) -> None:
        """Send a request by and by, in time."""
        cuts = [0, *sorted(self.rng.sample(range(1, len(request.data)), 3)), len(request.data)]
        for first, last in pairwise(cuts):
            if last == len(request.data):
                request.sent_s = self.world.loop.time()
                line.waiting.append(request)
            line.transport.write(request.data[first:last])
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))

    async def _late(self, line: Line, requests: Iterable[Asked]) -> None:
        """Ask much, and read nothing for a while."""
        line.reads = False
        line.transport.pause_reading()
        line.send(*requests)
        await asyncio.sleep(self.rng.uniform(0.5, 4.0))
        line.transport.resume_reading()
        await asyncio.sleep(ANSWER_S)
        line.reads = True
        await line.answers()

    async def _lost(self, line: Line, request: Asked) -> None:
        """Let a firewall forget the connection; the client gives up."""
        line.send(request)
        line.damaged = True
        await asyncio.sleep(self.rng.expovariate(20))
        self.world.network.forget(line.transport)
        await line.answers()

    async def _sends_garbage(self) -> None:
        """Send bytes that are no request, and the end of one."""
        if (line := await self._connected()) is None:
            return
        line.damaged = True
        line.transport.write(self.rng.randbytes(self.rng.randint(1, 300)) + BLANK)
        await asyncio.sleep(1.0)
        self._leave(line)

    def wrong(self, request: Asked, verdicts: Sequence[tuple[str, bool | None]]) -> str:
        """Return what is wrong with an answer that came now; "": nothing.

        A verdict comes with whether it was given without lists, None: that is not said.
        """
        taken = list(self.door.between(request.sent_s, self.world.loop.time()))
        for number, (verdict, is_open) in zip(request.numbers, verdicts, strict=True):
            may = {
                ("block" if number in was.blocked else "allow", was.loaded is False)
                for was in taken
            }
            if not any(verdict == one and is_open in (open_, None) for one, open_ in may):
                return f"{number} is answered {verdict} {is_open}, and may be {sorted(may)}"
        return ""

    def check(self, quiet_s: float) -> None:
        """Look who waits for longer than faults until `quiet_s` explain."""
        now_s, self.quiet_s = self.world.loop.time(), quiet_s
        for line in self._lines:
            if not line.waiting or not line.reads or line.damaged or line.closed:
                continue
            if line.transport.peer.silent:
                # Its host lost power: TCP would send again until that is up, and resets. Here the
                # client gives up (seed 300183).
                continue
            # From when it has all: 2,500 requests take nine seconds at 100 kB/s (seed 200).
            since_s = max(line.waiting[0].sent_s, line.transport.arrives_s, quiet_s)
            if now_s - since_s > ANSWER_S:
                asked = line.waiting[0].data.split(b"\r\n")[0].decode()
                self.bug(f"{line.transport} waits for {now_s - since_s:.1f} s: {asked}")

    def open(self) -> list[Pipe]:
        """Return the ends of clients' connections that the door has open."""
        ends = [pipe for pipe in self.world.network.connections(self.door.name) if pipe.lives]
        return [pipe for pipe in ends if pipe.port == self.door.port]

    def left(self) -> str:
        """Return who is there yet; "": nobody."""
        if self._lines:
            return f"{len(self._lines)} clients wait: {self._lines[0].transport}"
        ends = self.open()
        return f"{self.door.name} has connections open: {ends[0]}" if ends else ""
