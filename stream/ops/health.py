"""`/metrics`, `/live` and `/ready` over HTTP, for Prometheus, systemd, Kubernetes and people."""

import asyncio
import contextlib
from collections.abc import Callable, Sized
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry

from stream.core.model.errors import UNUSABLE, Fault
from stream.ops.accept_pacing import paced
from stream.ops.clock import monotonic_s
from stream.ops.metrics.exposition import Pages
from stream.ops.metrics.process import ProcessMetrics

TURN_S = 0.5
IDLE_S = 10.0
"""A connection without a request is closed after this."""


class PortTaken(Fault):
    """The HTTP address of `[ops]` cannot be used."""

    exit_code = UNUSABLE


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is still missing, in an operator's words. Ready if that is nothing."""

    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Nothing is missing."""
        return not self.missing


class Turning:
    """The age of the event loop's last turn: a task of it notes the time, `/live` reads it.

    A loop that hangs answers no request at all, which is the same to whoever asks. One that hung
    for a while and turns again can say so.
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


class HealthServer:
    """The three pages. Use `async with`; `port` is known inside.

    Raises PortTaken on entering.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        readiness: Callable[[], Readiness],
        stalled: Callable[[], bool],
    ) -> None:
        self._address = (host, port)
        self._pages = Pages(registry)
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
            self.port = await self._open.enter_async_context(paced(server, host, port))
        except OSError as error:
            await self._runner.cleanup()
            raise PortTaken(
                f"{host}:{port} cannot be used for /metrics ({error.strerror}): "
                "set http_host and http_port in [ops] (port 0: a free one)"
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
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
