"""A way to a server through which little passes towards it, and all that comes back at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_PIECE = 4096


class SlowWay:
    """Counts what passes; `bytes_per_s` bounds each connection towards the server, None nothing."""

    def __init__(self, port: int, bytes_per_s: float) -> None:
        """`port` is the server's."""
        self.bytes_per_s: float | None = bytes_per_s
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


@asynccontextmanager
async def slow_way(listen: int, port: int, bytes_per_s: float) -> AsyncIterator[SlowWay]:
    """The way from port `listen` to the server at `port`, while the context lasts."""
    way = SlowWay(port, bytes_per_s)
    server = await asyncio.start_server(way.serve, "127.0.0.1", listen)
    try:
        yield way
    finally:
        server.close()
        await way.end()
