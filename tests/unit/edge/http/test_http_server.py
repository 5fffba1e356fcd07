"""One client's connection, byte by byte: what it may hold, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from uvicorn import Config
from uvicorn.server import ServerState

from stream.edge.http.http_server import WAITING_MAX, Connection
from stream.edge.http.settings import ServeSettings
from stream.edge.http.tokens import ClientRole
from stream.ops.metrics.http_catalogue import ServeMetrics
from tests.support.http_service import TOKENS, parts_for, serve_settings, served
from tests.unit.edge.http.test_limits import raw, until
from tests.unit.edge.http.test_limits import router as usual

MOST = 4096
CHUNKED = b"POST /echo/1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
READ = 64 * 1024
ENDLESS: dict[str, Callable[[], bytes]] = {
    "many trailers": lambda: b"a: b\r\n" * 1000,
    "one long trailer": lambda: b"b" * READ,
    "a chunk's extension": lambda: b"b" * READ,
    "zeros of a chunk's size": lambda: b"0" * READ,
}
BEFORE = {
    "many trailers": b"0\r\n",
    "one long trailer": b"0\r\na: ",
    "a chunk's extension": b"3;a=",
    "zeros of a chunk's size": b"",
}
router = APIRouter()


@router.post("/heads")
async def heads(request: Request) -> Any:
    """Return an application's view of a request when all of it is there."""
    body = await request.body()
    return {
        "body": body.decode(),
        "names": sorted({name.decode() for name, _ in request.scope["headers"]}),
        "token": request.headers.get("authorization"),
        "session": request.cookies.get("ringfence"),
    }


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and takes notes of what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name in {"peername", "sockname"} else default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Asked:
    """An application that answers 204, and what it was asked: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, list[tuple[bytes, bytes]], bytes]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go_on.wait()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.requests.append((scope["method"], scope["path"], scope["headers"], body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected(
    settings: ServeSettings | None = None,
) -> AsyncIterator[tuple[Connection, Wire, Asked]]:
    """A connection without a network."""
    asked, wire = Asked(), Wire()
    config = Config(asked, lifespan="off", ws="none", log_config=None, access_log=False)
    config.load()
    made = Connection(
        settings or serve_settings(header_bytes_max=MOST),
        ServeMetrics(CollectorRegistry()),
        config=config,
        server_state=ServerState(),
        app_state={},
    )
    made.connection_made(wire)
    yield made, wire, asked
    made.connection_lost(None)
    await turns()


async def turns(count: int = 200) -> None:
    """Let everything that is ready go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def fed(pieces: Sequence[bytes]) -> tuple[list[Any], Wire]:
    """Return the application's requests, and a copy of the wire, after these reads."""
    async with connected() as (connection, wire, asked):
        for piece in pieces:
            connection.data_received(piece)
            await turns(5)
        await turns()
        seen = Wire()
        seen.written, seen.closed = wire.written, wire.closed
        return asked.requests, seen


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_stands_around_a_body_is_bounded(what: str) -> None:
    """Trailers, extensions and sizes of chunks without end are refused within the limit of a head
    and two reads, and nothing of them is kept.
    """
    async with connected() as (connection, wire, asked):
        connection.data_received(CHUNKED + BEFORE[what])
        sent = 0
        while not wire.closed and sent < 10 * READ:
            piece = ENDLESS[what]()
            connection.data_received(piece)
            sent += len(piece)
            await turns(2)
        assert wire.closed
        assert sent <= MOST + 2 * READ
        await turns()
        assert wire.written.startswith(b"HTTP/1.1 431 ")
        assert b"header_bytes_max" in wire.written
        assert not asked.requests
        assert len(connection.headers) == 2


async def test_small_chunks_are_no_attack() -> None:
    """A body in chunks of one byte each, with the longest size of each, goes through."""
    size = b"0" * 15 + b"1\r\nx\r\n"
    pieces = [CHUNKED, *[size * 100] * 100, b"0\r\n\r\n"]
    requests, wire = await fed(pieces)
    assert requests[0][3] == b"abc" + b"x" * 10_000
    assert wire.written.startswith(b"HTTP/1.1 204 ")


async def test_no_trailer_becomes_a_header() -> None:
    """Neither a token, a session nor an id behind a body is one, in one piece or many."""
    token = TOKENS[ClientRole.PARTNER].encode()
    trailers = (
        b"0\r\nAuthorization: Bearer %b\r\nCookie: ringfence=x\r\nX-Request-Id: t\r\n"
        b"Content-Type: text/plain\r\nExpect: 100-continue\r\n\r\n" % token
    )
    top = b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served(parts_for(serve_settings()), router, usual) as http:
        for cut in (0, 1, len(trailers) // 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
            writer.write(b"POST /heads" + top + b"2\r\nhi\r\n" + trailers[:cut])
            await writer.drain()
            await until(http.parts, "ringfence_http_bodies_bytes 2.0") if cut else None
            writer.write(trailers[cut:])
            answer = await reader.read()
            writer.close()
            told = answer.partition(b"\r\n\r\n")[2]
            assert b'"body":"hi"' in told
            assert b'"names":["connection","host","transfer-encoding"]' in told
            assert b'"token":null,"session":null' in told
            assert b"x-request-id: t\r\n" not in answer
            assert b"100 Continue" not in answer
        answer = await raw(http.port, b"GET /mine" + top + trailers)
        assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_an_upgrade_is_not_followed(framing: str) -> None:
    """Java's client asks for h2c with each request: it is answered as HTTP/1.1, and what stands in
    its body is its body, never a request of somebody.
    """
    inside = b"GET /mine HTTP/1.1\r\nhost: x\r\nauthorization: Bearer rf_x\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inside), inside) if framing == "chunks" else inside
    length = (
        b"transfer-encoding: chunked"
        if framing == "chunks"
        else b"content-length: %d" % len(inside)
    )
    sent = (
        b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n%b\r\n\r\n%bGET /b?c HTTP/1.1\r\nhost: x\r\n\r\n"
    ) % (length, body)
    for pieces in (
        [sent],
        [sent[:150], sent[150:]],
        [sent[at : at + 1] for at in range(len(sent))],
    ):
        requests, wire = await fed(pieces)
        assert [(method, path, read) for method, path, _, read in requests] == [
            ("POST", "/a", inside),
            ("GET", "/b", b""),
        ]
        assert wire.written.count(b"HTTP/1.1 204 ") == 2
        assert b" 101 " not in wire.written


async def test_requests_that_wait_for_answers_are_bounded() -> None:
    """One read may hold ten thousand requests; beyond a few dozen the connection is closed."""
    one = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    async with connected() as (connection, wire, asked):
        asked.go_on.clear()
        connection.data_received(one * 10_000)
        assert wire.closed
        assert len(connection.pipeline) == WAITING_MAX
        asked.go_on.set()
    requests, wire = await fed([one * WAITING_MAX])
    assert len(requests) == WAITING_MAX
    assert not wire.closed


async def test_a_refusal_never_stands_before_the_answer_that_is_due() -> None:
    """With an answer still to come for the request before, the connection is only closed: else the
    client would take the refusal for that answer.
    """
    async with connected() as (connection, wire, asked):
        asked.go_on.clear()
        connection.data_received(b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n" + CHUNKED + b"0\r\na: ")
        for _ in range(3):
            connection.data_received(b"b" * READ)
        assert wire.closed
        await turns()
        assert wire.written == b""
        asked.go_on.set()


async def test_line_ends_keep_no_connection_open() -> None:
    """A client that sends only line ends gets the answer of a client that sends nothing."""
    async with connected(serve_settings(header_s_max=0.1)) as (connection, wire, _):
        connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await turns()
        assert b" 204 " in wire.written
        connection.data_received(b"\r\n")
        async with asyncio.timeout(30):
            while not wire.closed:
                connection.data_received(b"\r\n")
                await asyncio.sleep(0.01)
        assert b" 408 " in wire.written


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/0.9\r\nhost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n",
    ],
)
async def test_other_forms_of_http_are_refused(wrong: bytes) -> None:
    """Versions, framings and line foldings that another server could read otherwise are no
    requests here.
    """
    requests, wire = await fed([wrong])
    assert not requests
    assert wire.closed
    assert wire.written.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


_FIELD = st.sampled_from(
    [b"a: b", b"authorization: Bearer x", b"upgrade: h2c", b"x-y: " + b"z" * 99]
)
_CHUNK = st.binary(min_size=1, max_size=40)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Right requests behind each other, with and without bodies, upgrades and trailers."""
    sent = b""
    for number in range(draw(st.integers(1, 4))):
        lines = [b"POST /%d HTTP/1.1" % number, b"Host: x", *draw(st.lists(_FIELD, max_size=3))]
        if draw(st.booleans()):
            lines.append(b"Connection: Upgrade")
        chunks = draw(st.lists(_CHUNK, max_size=3))
        if draw(st.booleans()):
            lines.append(b"Transfer-Encoding: chunked")
            body = b"".join(b"%x;e=f\r\n%b\r\n" % (len(one), one) for one in chunks)
            trailers = b"".join(b"%b\r\n" % one for one in draw(st.lists(_FIELD, max_size=3)))
            body += b"0\r\n" + trailers + b"\r\n"
        else:
            body = b"".join(chunks)
            lines.append(b"Content-Length: %d" % len(body))
        sent += b"\r\n".join(lines) + b"\r\n\r\n" + body
    return sent


@given(messages(), st.lists(st.integers(0, 2000), max_size=8))
async def test_where_reads_are_cut_changes_nothing(sent: bytes, cuts: list[int]) -> None:
    """The application is asked the same whatever the network makes of the bytes, and of each
    request it sees the head's fields alone.
    """
    places = sorted({min(cut, len(sent)) for cut in cuts})
    pieces = [sent[a:b] for a, b in zip([0, *places], [*places, len(sent)], strict=True)]
    whole, wire = await fed([sent])
    cut, _ = await fed(pieces)
    assert cut == whole
    assert not wire.closed
    assert wire.written.count(b"HTTP/1.1 204 ") == len(whole)
    for _, _, headers, _ in whole:
        at = [name for name, _ in headers]
        assert at[0] == b"host"
        assert at[-1] in {b"transfer-encoding", b"content-length"}, "no field comes behind"
        assert b"upgrade" not in at or b"connection" not in at
