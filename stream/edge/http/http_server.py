"""uvicorn with our limits, signals and log."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from ssl import SSLContext
from typing import Any, Final, cast

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from stream.core.model.errors import ConfigInvalid
from stream.edge.http.middleware import RETRY_S
from stream.edge.http.problems import MEDIA_TYPE, ProblemError, ProblemKind
from stream.edge.http.settings import ServeSettings
from stream.ops.health_server import PortTaken
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.renewed_tls import RenewedContext
from stream.ops.runtime import make_room
from stream.ops.tasks import cancelled

UNSENT_BYTES: Final = 64 * 1024
"""Bytes of an answer that are sent at once, without waiting for more of it."""
WAITING_MAX: Final = 64
"""Requests of one connection that wait for the answers before theirs. Each costs some 5 KB, and one
read of 256 KB can hold ten thousand of them."""
CHUNK_BYTES: Final = 24
"""Overhead of a chunk: its size in 16 digits and two line ends, rounded up."""

Direct = Callable[[RequestResponseCycle], bool]
"""Begins to answer a request by itself. False: the application has to."""


class _JoinedWrites:
    """A transport that joins all writes of one turn of the loop.

    uvicorn writes the head of an answer and then its body. Each is a system call, which costs more
    than deciding a lookup.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._bytes = 0
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it at the turn's end; much data at once, so that backpressure reaches the writer."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._bytes += len(data)
        if self._bytes >= UNSENT_BYTES:
            self._flush()

    def close(self) -> None:
        """Close when all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held, self._bytes = self._held, [], 0
        if held:
            self._transport.write(b"".join(held))


class Connection(HttpToolsProtocol):
    """One client's connection, with limits that uvicorn lacks.

    It needs bounded memory. It closes on a client that sends a byte a second or nothing, reads no
    answer, or sends endless chunk extensions or trailers. No trailer field becomes a header,
    `Upgrade` is not followed, and few requests of a connection wait for answers.
    """

    def __init__(
        self,
        settings: ServeSettings,
        metrics: ServeMetrics,
        direct: Direct | None = None,
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._direct = direct
        self._settings = settings
        self._metrics = metrics
        self._head_bytes = 0
        self._in_head = True
        self._begun = False
        self._upgrading = False
        # Of the current body: its bytes in this read, its chunks, and the bytes around them.
        self._body_bytes = 0
        self._chunks = 0
        self._around_bytes = 0
        self._refused = False
        self._untaken: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, unless there are too many."""
        super().connection_made(cast("asyncio.Transport", _JoinedWrites(transport, self.loop)))
        self._metrics.connections.set(len(self.connections))
        if len(self.connections) > self._settings.connections_max:
            text = f"{self._settings.connections_max} connections are open, which is the most"
            self._refuse(ProblemKind.TOO_MANY_CONNECTIONS, text, retry_after_s=RETRY_S)
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel its timers."""
        self._no_more_waiting()
        if self._untaken is not None:
            self._untaken.cancel()
        super().connection_lost(exc)
        self._metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; bound the head, and the bytes around a body."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        body_of = None if self._in_head else self.scope
        self._body_bytes = 0
        self._parse(data)
        self._stay_within_limits(len(data), body_of)

    def _stay_within_limits(self, read: int, body_of: object) -> None:
        """Check what a read of so many bytes left unfinished."""
        if self._refused:
            return
        if self._in_head:
            # Without a head, too: a client that only sends line ends would never time out.
            if self._begun or self._head_bytes:
                if self._head_bytes > self._settings.header_bytes_max:
                    self._head_too_large()
                elif self._due is None:
                    self._expect_head()
        elif body_of is self.scope:
            # Counted only if the whole read is of one body. At the two ends of a body the size of
            # a read bounds the rest, and a pipelined request would be counted too.
            self._around_bytes += read - self._body_bytes
            if self._around_bytes > self._settings.header_bytes_max + CHUNK_BYTES * self._chunks:
                self._around_too_large()

    def on_message_begin(self) -> None:
        """Begin a request, perhaps after another in the same bytes."""
        super().on_message_begin()
        self._in_head = self._begun = True
        self._chunks = self._around_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; drop one after a body (a trailer).

        The parser reports both alike. A trailer that acts as a header (`Authorization`) would pass
        every proxy that checks headers (RFC 9110, 6.5.1). It also costs memory that no limit
        counts.
        """
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, and begin to answer."""
        if self._refused:
            return
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._settings.header_bytes_max:
            self._head_too_large()
            return
        wrong = _wrong_in(self.headers, self.parser.get_http_version())
        if wrong:
            self._refuse(ProblemKind.MALFORMED, wrong)
            return
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        if len(self.pipeline) >= WAITING_MAX:
            text = f"{WAITING_MAX} requests of a connection may wait for the answers before theirs"
            self._refuse(ProblemKind.BUSY, text, retry_after_s=RETRY_S)
            return
        self._in_head, self._begun, self._head_bytes = False, False, 0
        self._no_more_waiting()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begin to answer the request whose turn it is."""
        if self._direct is None:
            super()._start_asgi_task(cycle, app)
        else:
            # Not in a callback of the parser: a bug in one passes for a fault of the client.
            self.loop.call_soon(self._begin, self._direct, cycle, app)

    def _begin(self, direct: Direct, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        begun = False
        try:
            # A client that reads nothing waits in the application's way, which bounds its answers.
            begun = not self.flow.write_paused and direct(cycle)
        finally:
            # After a bug, too: the loop logs it, and the application answers 500.
            if not begun:
                super()._start_asgi_task(cycle, app)

    def on_chunk_header(self) -> None:
        """Count a chunk of the body."""
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; the next one begins with a head."""
        if not self._refused and not self._upgrading:
            self._in_head = True
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Give a slow client `answer_s_max` to read more of its answer."""
        super().pause_writing()
        within_s = self._settings.answer_s_max
        self._untaken = self._untaken or self.loop.call_later(within_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock: the client has read some."""
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP, for example contradicting lengths."""
        if not self._refused:
            self._refuse(ProblemKind.MALFORMED, msg)

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if not self._refused:
                self._without_upgrade(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("what came is no request of HTTP/1.1")

    def _without_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its `Upgrade` (RFC 9110, 7.8).

        The parser stops at the end of such a head, and takes the body after it for a new request:
        request smuggling. Java's own client asks for h2c with every request, so a refusal would
        lock its users out.
        """
        if self.parser.get_method() == b"CONNECT":
            self._refuse(ProblemKind.METHOD, "this is no proxy")
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(b"".join([*lines, b"\r\n", rest]))

    def _expect_head(self) -> None:
        self._due = self.loop.call_later(self._settings.header_s_max, self._head_too_slow)

    def _no_more_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _head_too_slow(self) -> None:
        within_s = self._settings.header_s_max
        self._refuse(ProblemKind.TOO_SLOW, f"no request came within {within_s:g} s")

    def _head_too_large(self) -> None:
        most = self._settings.header_bytes_max
        text = f"address and headers may have {most} bytes ([serve] header_bytes_max)"
        self._refuse(ProblemKind.HEADERS_TOO_LARGE, text)

    def _around_too_large(self) -> None:
        most = self._settings.header_bytes_max
        text = f"extensions of chunks and trailers may have {most} bytes ([serve] header_bytes_max)"
        self._refuse(ProblemKind.HEADERS_TOO_LARGE, text)

    def _refuse(self, kind: ProblemKind, detail: str, retry_after_s: int | None = None) -> None:
        """Answer with the problem and close; bytes that still come are dropped."""
        self._refused = True
        self._no_more_waiting()
        self._metrics.problems.labels(kind).inc()
        if self.transport.is_closing():
            return
        problem = ProblemError(kind, detail, retry_after_s=retry_after_s)
        body = problem.body("")
        lines = [
            STATUS_LINE[problem.status],
            b"content-type: %s\r\ncontent-length: %d\r\n" % (MEDIA_TYPE.encode(), len(body)),
            *(f"{name}: {value}\r\n".encode() for name, value in problem.headers.items()),
            b"connection: close\r\n\r\n",
        ]
        # If an earlier request is still being answered, only close: the bytes would mix.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        begun = cycle is not None and cycle.more_body and not cycle.response_started
        its_own = begun and not self.pipeline
        if cycle is None or cycle.response_complete or its_own:
            self.transport.write(b"".join([*lines, body]))
        if cycle is not None and begun:
            cycle.disconnected = True  # uvicorn drops what its handler still sends
        self.transport.close()


def _wrong_in(headers: Sequence[tuple[bytes, bytes]], version: str) -> str:
    """Return a fault that the parser accepts and a server must not (RFC 9112, 3.2, 6.1), or "".

    Two servers that read one request differently allow request smuggling.
    """
    if version not in {"1.0", "1.1"}:
        return "takes HTTP/1.1 and HTTP/1.0"
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        return "a request names its Host once"
    if sum(name == b"content-length" for name, _ in headers) > 1:
        return "a request says its Content-Length once"
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":
        return "a request of HTTP/1.0 has no Transfer-Encoding"
    return "takes no Transfer-Encoding but chunked" if codings not in ([], [b"chunked"]) else ""


class Handshakes:
    """The TLS handshakes that are under way, bounded in time and, with open connections, in number.

    asyncio's own server starts one for each connection that it accepts, gives each a minute, and
    reports none. Silent peers would take all files that this process may open.
    """

    def __init__(self, context: SSLContext, settings: ServeSettings, metrics: ServeMetrics) -> None:
        self._context, self._settings = context, settings
        self._failed = metrics.handshakes_failed
        for reason in ("too_many", "slow", "failed"):
            self._failed.labels(reason)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, raw: asyncio.Transport, connection: Connection) -> None:
        """Begin the handshake of an accepted connection, or close it where there are too many."""
        if len(connection.connections) + len(self._tasks) >= self._settings.connections_max:
            self._failed.labels("too_many").inc()
            raw.abort()
            return
        raw.pause_reading()  # the handshake reads from the first byte
        task = asyncio.create_task(self._run(raw, connection), name="handshake")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End those under way."""
        await cancelled(*self._tasks)

    async def _run(self, raw: asyncio.Transport, connection: Connection) -> None:
        early = _Early()
        within_s = self._settings.header_s_max
        try:
            secured = await asyncio.get_running_loop().start_tls(
                raw,
                early,
                self._context,
                server_side=True,
                ssl_handshake_timeout=within_s,
                ssl_shutdown_timeout=within_s,
            )
        except OSError as error:  # SSLError and ConnectionError are such
            is_slow = isinstance(error, ConnectionAbortedError)  # asyncio's word for the time limit
            self._failed.labels("slow" if is_slow else "failed").inc()
            raw.abort()
            return
        if secured is None or early.is_lost:
            return
        secured.set_protocol(connection)
        connection.connection_made(secured)
        if early.data:
            connection.data_received(bytes(early.data))


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of a handshake, until the connection takes it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True


class _Accepted(asyncio.Protocol):
    """A connection that was accepted, before its handshake."""

    def __init__(self, handshakes: Handshakes, connection: Connection) -> None:
        self._handshakes, self._connection = handshakes, connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._handshakes.begin(cast("asyncio.Transport", transport), self._connection)


BACKLOG: Final = 2048
"""Connections that wait in the kernel to be accepted."""
ACCEPTED_AT_ONCE: Final = 64
"""Connections accepted in one turn of the loop. asyncio accepts as many as may wait. Then open
connections would wait for all of them, seconds if tens of thousands arrive."""


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers; `listening` is set at the start."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and set `listening`."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    settings: ServeSettings,
    metrics: ServeMetrics,
    *,
    shutdown_s: float,
    shared: bool = False,
    direct: Direct | None = None,
) -> AsyncIterator[int]:
    """Serve `app` within the block; give the port. Running requests get `shutdown_s` to end.

    `shared`: other processes of ours serve at the same address; the kernel spreads connections.
    `direct` is asked for each request before `app`.

    Raises PortTaken, or ConfigInvalid where the certificate cannot be used or this process may not
    open as many connections.
    """
    make_room("serve.connections_max", settings.connections_max)
    listening = _listening(settings, shared=shared)
    proxies = settings.trusted_proxies
    connection = partial(Connection, settings, metrics, direct)
    made: Callable[..., asyncio.Protocol] = connection
    handshakes: Handshakes | None = None
    try:
        if settings.cert_file:
            # In place of uvicorn's own, which reads the files once.
            context = RenewedContext.of_server(settings.cert_file, settings.key_file)
            handshakes = Handshakes(context, settings, metrics)
            made = partial(_accepted, handshakes, connection)
        config = uvicorn.Config(
            app,
            http=cast("Any", made),
            ws="none",
            lifespan="off",
            loop="asyncio",
            backlog=ACCEPTED_AT_ONCE,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            timeout_keep_alive=max(1, round(settings.idle_s_max)),
            timeout_graceful_shutdown=max(1, round(shutdown_s)),
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        listening.close()
        raise ConfigInvalid((f"serve: cert_file and key_file: {error}",)) from error
    server = _Server(config)
    # No TaskGroup: uvicorn ends by itself on `should_exit`, within its own time.
    running = asyncio.create_task(server.serve([listening]), name="http")
    try:
        await server.listening.wait()
        listening.listen(BACKLOG)  # asyncio set it to ACCEPTED_AT_ONCE
        yield listening.getsockname()[1]
        server.should_exit = True
        await asyncio.wait({running})
        running.result()
    finally:
        await cancelled(running)
        if handshakes is not None:
            await handshakes.stop()
        listening.close()


def _accepted(
    handshakes: Handshakes, made: Callable[..., Connection], **given: Any
) -> asyncio.Protocol:
    return _Accepted(handshakes, made(**given))


def _listening(settings: ServeSettings, *, shared: bool) -> socket.socket:
    """Return the bound socket. Raises PortTaken."""
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
