"""SIP over TLS: the same answers, and handshakes that are bounded like connections."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stream.edge.sip.tcp import TcpServer
from stream.edge.sip.udp import bound
from stream.ops.renewed_tls import RenewedContext
from tests.support.certificates import HOST as NAMED
from tests.support.certificates import authority, signed
from tests.support.sip import BLOCKED, INNOCENT, message, responder, sip_settings
from tests.support.waiting import until

HOST = "127.0.0.1"
pytestmark = pytest.mark.needs_openssl


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate and a switch's, of one authority, and one of another."""
    folder: Path = tmp_path_factory.mktemp("tls")
    authority(folder)
    authority(folder, "other")
    signed(folder, "server", NAMED)
    signed(folder, "switch", NAMED)
    signed(folder, "stranger", NAMED, by="other")
    return folder


@asynccontextmanager
async def serving(
    files: Path, *, clients: bool = False, **changed: Any
) -> AsyncIterator[tuple[TcpServer, int]]:
    """A server by TLS, and its port."""
    own, key = (str(files / name) for name in ("server.pem", "server-key.pem"))
    context = RenewedContext.of_server(own, key, str(files / "ca.pem") if clients else "")
    server = TcpServer(responder(**changed), sip_settings(**changed), context)
    listening = bound(HOST, 0, socket.SOCK_STREAM)
    port = listening.getsockname()[1]
    await server.start(listening)
    try:
        yield server, port
    finally:
        await server.stop()


def client_of(files: Path, name: str = "") -> ssl.SSLContext:
    """A switch's context; with `name` it shows that certificate."""
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    if name:
        context.load_cert_chain(files / f"{name}.pem", files / f"{name}-key.pem")
    return context


async def codes(port: int, context: ssl.SSLContext, *messages: bytes) -> list[int]:
    """The status of each message, sent together over one connection."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    writer.write(b"".join(messages))
    try:
        return [int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]) for _ in messages]
    finally:
        await closed(writer)


async def cut_off(server: TcpServer, why: str, count: int) -> None:
    """Wait until so many connections were cut off for that reason."""
    value = server.responder.metrics.cut_off.labels(why)._value
    await until(lambda: value.get() == count, f"{count} connections are cut off: {why}")


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection that the server may have closed."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_messages_are_answered_in_order(files: Path) -> None:
    """As over TCP; counted as TLS."""
    via = ["SIP/2.0/TLS 192.0.2.7:5061;branch=b"]
    asked = [message(BLOCKED, via=via), message(INNOCENT, via=via), message(method="OPTIONS")]
    async with serving(files) as (server, port):
        assert await codes(port, client_of(files), *asked * 50) == [603, 404, 200] * 50
        answered = server.responder.metrics.answers.labels("tls", "603")
        assert answered._value.get() == 50


async def test_sips_goes_on_to_sips(files: Path) -> None:
    """With 302 the next hop is asked by TLS as well (RFC 3261, 26.4.4)."""
    async with serving(files, answer_allow=302, next_hop="gw.example") as (_, port):
        reader, writer = await asyncio.open_connection(HOST, port, ssl=client_of(files))
        writer.write(message(INNOCENT, "sips:+66812345678@sbc.example"))
        answer = await reader.readuntil(b"\r\n\r\n")
        await closed(writer)
        assert b"Contact: <sips:+66812345678@gw.example>" in answer


async def test_a_switch_needs_a_certificate_where_authorities_are_named(files: Path) -> None:
    """None, or another authority's, ends the handshake."""
    async with serving(files, clients=True) as (server, port):
        assert await codes(port, client_of(files, "switch"), message()) == [404]
        for name in ("", "stranger"):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await codes(port, client_of(files, name), message())
        await cut_off(server, "handshake", 2)


async def test_one_who_speaks_no_tls_is_cut_off(files: Path) -> None:
    """No byte of SIP in clear is answered."""
    async with serving(files) as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(message(BLOCKED))
        with suppress(ConnectionError):
            assert b"SIP/2.0" not in await reader.read()
        await closed(writer)
        await cut_off(server, "handshake", 1)
        assert await codes(port, client_of(files), message()) == [404]


async def test_handshakes_count_as_connections(files: Path) -> None:
    """Those who begin none are bounded in number and time, and leave room when they go."""
    limits: dict[str, Any] = {"connections_each_max": 3, "message_s_max": 0.5}
    async with serving(files, **limits) as (server, port):
        idle = [await asyncio.open_connection(HOST, port) for _ in range(5)]
        await cut_off(server, "too_many", 2)
        await cut_off(server, "handshake", 3)
        await until(lambda: not server._open, "their room is free")
        for _, writer in idle:
            await closed(writer)


async def test_a_renewed_certificate_counts(files: Path, tmp_path: Path) -> None:
    """At the next connection, without a restart."""
    for name in ("server.pem", "server-key.pem", "ca.pem"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    async with serving(tmp_path) as (_, port):
        assert await codes(port, client_of(files), message()) == [404]
        for part in (".pem", "-key.pem"):
            (tmp_path / f"server{part}").write_bytes((files / f"stranger{part}").read_bytes())
        with pytest.raises(ssl.SSLCertVerificationError):
            await codes(port, client_of(files), message())
