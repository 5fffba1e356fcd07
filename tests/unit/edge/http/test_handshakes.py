"""TLS handshakes of `ringfence serve`: bounded in time and number, and counted."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stream.edge.http.http_server import serving
from stream.ops.metrics.http_catalogue import ServeMetrics
from tests.support.certificates import HOST, authority, signed
from tests.support.http_service import serve_settings
from tests.support.waiting import HANGS_S

pytestmark = pytest.mark.needs_openssl
HELLO = bytes.fromhex("16030100c8010000c40303") + b"\0" * 4
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def certified(tmp_path: Path) -> Path:
    """A folder with an authority and a server's certificate."""
    authority(tmp_path)
    signed(tmp_path, "server", HOST)
    return tmp_path


class Server:
    """A server by TLS, and its metrics."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        files = {name: str(folder / f"server{end}.pem") for name, end in FILES.items()}
        self._limits: dict[str, Any] = files | limits
        self._registry = CollectorRegistry()
        self.metrics = ServeMetrics(self._registry)
        self.client = ssl.create_default_context(cafile=folder / "ca.pem")

    def serving(self) -> Any:
        settings = serve_settings(host="127.0.0.1", **self._limits)
        return serving(ok, settings, self.metrics, shutdown_s=1.0)

    def failed(self, reason: str) -> float:
        name = "ringfence_http_handshakes_failed_total"
        return self._registry.get_sample_value(name, {"reason": reason}) or 0.0


FILES = {"cert_file": "", "key_file": "-key"}


async def ok(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers ok."""
    del scope, receive
    head = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"ok"})


async def answer(port: int, context: ssl.SSLContext | None, sent: bytes) -> bytes:
    """Everything that comes back, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    with closing(writer):
        writer.write(sent)
        async with asyncio.timeout(HANGS_S):
            return await reader.read()


@contextmanager
def closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def test_a_request_is_answered_by_tls(certified: Path) -> None:
    """The request may come with the end of the handshake; what follows is as without TLS."""
    server = Server(certified)
    async with server.serving() as port:
        assert (await answer(port, server.client, REQUEST)).endswith(b"ok")


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["silent", "amid its first message"])
async def test_a_peer_that_says_no_more_is_closed(certified: Path, sent: bytes) -> None:
    """It gets `header_s_max` for its handshake, however much it has said, and is counted."""
    server = Server(certified, header_s_max=0.2)
    async with server.serving() as port:
        assert await answer(port, None, sent) == b""
        assert server.failed("slow") == 1


async def test_a_byte_now_and_then_buys_no_time(certified: Path) -> None:
    """The whole handshake has one limit: a peer that sends it byte by byte is closed."""
    server = Server(certified, header_s_max=0.3)
    async with server.serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer):
            for byte in HELLO * 100:
                if reader.at_eof():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            with suppress(ConnectionResetError):  # bytes that came after the end reset it
                assert await reader.read() == b""
        assert server.failed("slow") == 1


async def test_no_more_handshakes_than_connections(certified: Path) -> None:
    """Beyond `connections_max` a connection is closed at once; as one ends, the next is served."""
    server = Server(certified, connections_max=3, header_s_max=HANGS_S)
    async with server.serving() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await answer(port, server.client, REQUEST)
        assert server.failed("too_many") == 1
        silent[0][1].close()
        await silent[0][1].wait_closed()
        while True:
            try:
                assert (await answer(port, server.client, REQUEST)).endswith(b"ok")
                break
            except (ConnectionError, ssl.SSLError):  # the server has not seen the end yet
                await asyncio.sleep(0.01)
        for _, writer in silent:
            writer.close()


async def test_what_is_no_tls_is_counted(certified: Path) -> None:
    """A request in clear, and a client that does not trust the certificate."""
    server = Server(certified)
    async with server.serving() as port:
        await answer(port, None, REQUEST)
        assert server.failed("failed") == 1
        with pytest.raises(ssl.SSLError):
            await answer(port, ssl.create_default_context(), REQUEST)
