"""uvicorn as this project runs it: our limits, our signals, our log."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from stream.core.model.errors import ConfigInvalid
from stream.edge.http.http_connection import connections_of
from stream.edge.http.settings import ServeSettings
from stream.ops.health import PortTaken
from stream.ops.metrics.serve import ServeMetrics
from stream.ops.tasks import cancelled

OTHER_FILES: Final = 512
"""Files that a process opens besides its clients' connections: lists, tables, Kafka, Redis."""
BACKLOG: Final = 2048
"""Connections that wait to be taken."""
AT_ONCE: Final = 64
"""Connections that are taken in one turn of the loop. asyncio takes as many as may wait: those who
are connected would wait for all of them, seconds when tens of thousands come."""


class _Server(uvicorn.Server):
    """Signals are the composition's, and the start is told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    settings: ServeSettings,
    metrics: ServeMetrics,
    *,
    shutdown_s: float,
    shared: bool = False,
) -> AsyncIterator[int]:
    """Serve `app` within the block; gives the port. Requests that run get `shutdown_s` to end.

    `shared`: other processes of ours serve at the same address; the kernel spreads connections.

    Raises PortTaken, or ConfigInvalid where the certificate cannot be used or this process may not
    open as many connections.
    """
    _make_room(settings.connections_max)
    listening = _listening(settings, shared=shared)
    proxies = settings.trusted_proxies
    try:
        config = uvicorn.Config(
            app,
            http=connections_of(settings, metrics),
            ws="none",
            lifespan="off",
            loop="asyncio",
            backlog=AT_ONCE,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            timeout_keep_alive=max(1, round(settings.idle_s_max)),
            timeout_graceful_shutdown=max(1, round(shutdown_s)),
            ssl_certfile=settings.cert_file or None,
            ssl_keyfile=settings.key_file or None,
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        listening.close()
        raise ConfigInvalid((f"serve: cert_file and key_file: {error}",)) from error
    server = _Server(config)
    running = asyncio.create_task(server.serve([listening]), name="http")
    try:
        await server.listening.wait()
        listening.listen(BACKLOG)  # asyncio set it to AT_ONCE
        yield listening.getsockname()[1]
        server.should_exit = True
        await asyncio.wait({running})
        running.result()
    finally:
        await cancelled(running)
        listening.close()


def _make_room(connections: int) -> None:
    """Let this process open so many, as far as it may. Else `connections_max` would promise an
    answer to connections that the kernel does not even give us.
    """
    wanted = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard < wanted and hard != resource.RLIM_INFINITY:
        text = (
            f"serve.connections_max: {connections} need {wanted} open files, and this process may "
            f"open {hard}: raise LimitNOFILE= of its unit (or ulimit -n), or lower connections_max"
        )
        raise ConfigInvalid((text,))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listening(settings: ServeSettings, *, shared: bool) -> socket.socket:
    """The bound socket."""
    host, port = settings.host, settings.port
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(kind, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise PortTaken(
            f"{host}:{port} cannot be used ({error.strerror}): set host and port in [serve] "
            "(port 0: a free one)"
        ) from error
    return listening
