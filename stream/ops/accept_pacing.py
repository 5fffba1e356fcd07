"""HTTP beside a loop that decides calls: connections are let in one at a time, and not for ever.

asyncio's own server takes all that wait in one turn of the loop: a thousand scrapers at once would
stop decisions for a quarter of a second. Here each is one short piece of work, and between two the
loop turns.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from stream.ops.tasks import running

log = logging.getLogger(__name__)

PACE_S: Final = 0.001
OPEN_MAX: Final = 256
"""Connections at once; more wait in the kernel's queue."""
LIFE_S: Final = 60.0
"""So long one may stay: who asks for nothing, or takes no answer, makes room for others."""
_BACKLOG: Final = 1024
_FULL_S: Final = 0.05
_RETRY_S: Final = 1.0


@contextlib.asynccontextmanager
async def paced(server: web.Server, host: str, port: int) -> AsyncIterator[int]:
    """Serve within the block; gives the port. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    try:
        async with running(_let_in(server, listening), "health pages"):
            yield listening.getsockname()[1]
    finally:
        listening.close()


async def _let_in(server: web.Server, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        while len(server.connections) >= OPEN_MAX:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(_FULL_S)
        try:
            connection, _ = await loop.sock_accept(listening)
            transport, _ = await loop.connect_accepted_socket(server, connection)
        except OSError as error:  # gone again, or no file is left to open
            log.warning("a connection to the health pages was not taken: %s", error)
            await asyncio.sleep(_RETRY_S)
            continue
        loop.call_later(LIFE_S, transport.abort)
        await asyncio.sleep(PACE_S)
