"""Ways to a server: one through which little passes towards it, and one that waits for a request.

All that comes back passes at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_PIECE = 4096


class SlowWay:
    """Counts what passes; `bytes_per_s` bounds each connection towards the server, None nothing."""

    def __init__(self, port: int, bytes_per_s: float | None = None) -> None:
        """`port` is the server's."""
        self.bytes_per_s = bytes_per_s
        self.bytes_back = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far, towards = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [asyncio.ensure_future(self._to(near, towards))]
        ways += [asyncio.ensure_future(self._from(far, back))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            towards.close()
            back.close()
            self._tasks.discard(task)

    async def end(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _to(self, near: asyncio.StreamReader, towards: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await near.read(_PIECE):
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(piece) / self.bytes_per_s)
                towards.write(piece)
                await towards.drain()

    async def _from(self, far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await far.read(2**20):
                self.bytes_back += len(piece)
                back.write(piece)
                await back.drain()


@dataclass
class _Aim:
    """The request that is waited for; `freed` ends the connection of one that is held."""

    key: int
    held: bool
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    freed: asyncio.Event = field(default_factory=asyncio.Event)


class AimedWay(SlowWay):
    """A way to a Kafka broker that passes requests whole, and tells when one of a kind comes."""

    _aim: _Aim | None = None

    @asynccontextmanager
    async def reached(self, key: int, *, held: bool) -> AsyncIterator[None]:
        """Wait for the next request of API `key`: it is held, or has just been handed on.

        One that is held never arrives: its connection ends with the context.
        """
        aim = self._aim = _Aim(key, held)
        try:
            await aim.seen.wait()
            yield
        finally:
            self._aim = None
            aim.freed.set()

    async def _to(self, near: asyncio.StreamReader, towards: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                size = await near.readexactly(4)
                request = await near.readexactly(int.from_bytes(size, "big"))
                aim = self._taken(int.from_bytes(request[:2], "big"))
                if aim is not None and aim.held:
                    aim.seen.set()
                    await aim.freed.wait()
                    return
                towards.write(size + request)
                await towards.drain()
                if aim is not None:
                    aim.seen.set()

    def _taken(self, key: int) -> _Aim | None:
        """Return the aim that a request of API `key` meets; only one meets it."""
        if (aim := self._aim) is None or aim.key != key:
            return None
        self._aim = None
        return aim


@asynccontextmanager
async def opened(listen: int, way: SlowWay) -> AsyncIterator[None]:
    """Let `way` be reached at port `listen`, while the context lasts."""
    server = await asyncio.start_server(way.serve, "127.0.0.1", listen)
    try:
        yield
    finally:
        server.close()
        await way.end()
