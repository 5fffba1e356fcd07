"""`/metrics`, `/live` and `/ready` over HTTP, for Prometheus, systemd, Kubernetes and people."""

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Sized
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web
from prometheus_client import CollectorRegistry

from stream.core.model.errors import UNUSABLE, Fault
from stream.ops.clock import monotonic_s
from stream.ops.metrics.exposition import MetricsPages
from stream.ops.metrics.shared_catalogue import ProcessMetrics
from stream.ops.tasks import running

TURN_S = 0.5
"""Seconds between two notes of the loop's time: a stall is seen half a second late at most."""
IDLE_S = 10.0
"""Seconds until a connection without a request is closed."""


class PortTaken(Fault):
    """The HTTP address of `[ops]` cannot be used."""

    exit_code = UNUSABLE


@dataclass(frozen=True, slots=True)
class Readiness:
    """Parts that are still missing, in an operator's words. Ready if there are none."""

    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Nothing is missing."""
        return not self.missing


class LoopWatchdog:
    """The age of the event loop's last turn: a task of it notes the time, `/live` reads it.

    A loop that hangs answers no request at all, which a probe takes for a failure too. One that
    hung for a while and turns again can report it.
    """

    def __init__(self, stalled_s: float) -> None:
        self._stalled_s = stalled_s
        self._turned_s = monotonic_s()

    async def run(self) -> None:
        """Note the time, until cancelled."""
        while True:
            self._turned_s = monotonic_s()
            await asyncio.sleep(TURN_S)

    @property
    def age_s(self) -> float:
        """Seconds since the loop last turned."""
        return monotonic_s() - self._turned_s

    @property
    def stalled(self) -> bool:
        """The loop has not turned for too long."""
        return self.age_s > self._stalled_s


def tell_systemd(state: str) -> None:
    """Send a state to the systemd that started this process, as sd_notify(3) does; else nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setblocking(False)
        # An @ stands for the zero byte of an abstract address.
        notify.sendto(state.encode(), re.sub("^@", "\0", address))


class HealthServer:
    """The three pages. Use `async with`, which may raise PortTaken; `port` is known inside."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        readiness: Callable[[], Readiness],
        stalled: Callable[[], bool],
    ) -> None:
        self._address = (host, port)
        self._pages = MetricsPages(registry)
        ProcessMetrics(registry)
        self._readiness = readiness
        self._stalled = stalled
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=IDLE_S
        )
        self._open = contextlib.AsyncExitStack()
        self.port = port

    async def __aenter__(self) -> Self:
        host, port = self._address
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "it is set up"
        try:
            self.port = await self._open.enter_async_context(paced_server(server, host, port))
        except OSError as error:
            await self._runner.cleanup()
            raise PortTaken(
                f"{host}:{port} cannot be used for /metrics ({error.strerror}): "
                "set http_host and http_port in [ops] (port 0: a free one)"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()
        await self._runner.cleanup()

    @property
    def connections(self) -> Sized:
        """Those that are open."""
        return () if self._runner.server is None else self._runner.server.connections

    async def _metrics(self, request: web.Request) -> web.Response:
        made = await self._pages.page(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=made.body, headers={"Content-Type": made.content_type})

    async def _live(self, _: web.Request) -> web.Response:
        stalled = self._stalled()
        return web.json_response({"live": not stalled}, status=503 if stalled else 200)

    async def _ready(self, _: web.Request) -> web.Response:
        readiness = self._readiness()
        return web.json_response(
            {"ready": readiness.ready, "missing": readiness.missing},
            status=200 if readiness.ready else 503,
        )


log = logging.getLogger(__name__)

PACE_S: Final = 0.001
"""Seconds between two connections: the loop decides calls meanwhile."""
OPEN_MAX: Final = 256
"""Connections at once; more wait in the kernel's queue."""
LIFE_S: Final = 60.0
"""Seconds that a connection may stay: one that is idle, or takes no answer, makes room."""
_BACKLOG: Final = 1024  # many scrapers may connect at once
_FULL_S: Final = 0.05
"""Seconds until a full server looks for room again."""
_RETRY_S: Final = 1.0
"""Seconds until the next try after an error: without files left to open it would spin."""


@contextlib.asynccontextmanager
async def paced_server(server: web.Server, host: str, port: int) -> AsyncIterator[int]:
    """Serve within the block; gives the port. Raises OSError.

    asyncio's own server takes all that wait in one turn of the loop. A thousand scrapers at once
    would stop decisions for a quarter of a second. Here connections are let in one at a time, and
    the loop turns between two.
    """
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
        # Polled: aiohttp has no event for a connection that ends.
        while len(server.connections) >= OPEN_MAX:  # noqa: ASYNC110
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
