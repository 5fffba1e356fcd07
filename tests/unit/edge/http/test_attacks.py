"""Paths, headers, lengths and pace of those who mean harm. A real server, on the loopback."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import load
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.edge.http import blocklist as module
from stream.edge.http.blocklist import BlockedNumber, Blocklist
from stream.edge.http.tokens import ClientRole
from stream.edge.sinks.number_policy import NumberPolicy
from stream.ops.monitor.collect import Monitor
from stream.web import install
from stream.web.page_context import opened
from tests.support.http_service import TOKENS, NoAppeals, bearer, parts_for, serve_settings, served
from tests.support.lookups import LISTS, lookup_rules
from tests.unit.edge.http.test_limits import head, raw, router, until

EVIL = "evil.example"
ENTIRE = [
    "/assets/../../../etc/passwd",
    "/assets/..%2f..%2f..%2fetc%2fpasswd",
    "/assets/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%5c..%5cetc%5cpasswd",
    "/assets/style.css%00.js",
    "/assets//etc/passwd",
    "/runbook/../../config/default.toml",
    "/lists/..%2f..%2fconfig/default.toml",
    "/lists/TH/%2e%2e%2f%2e%2e%2fnational",
    "/v1/decisions/..%2f..%2f..%2fetc%2fpasswd",
    "/docs/%00",
    "/live%ff%fe",
    f"//{EVIL}/",
    f"//{EVIL}/lists",
    f"/\\{EVIL}",
    f"/%2f{EVIL}",
    "/.git/config",
    "/lists?page=" + "9" * 400,
    "/lists?sort=%27%3b--&page=-1",
    "/" + "a/" * 3000,
    "/%",
    "/%zz",
    "/?%0d%0aSet-Cookie:%20x=1",
    "/lists%0d%0aSet-Cookie:%20x=1",
    f"/sign-in?next=//{EVIL}/",
    f"/sign-in?next=https://{EVIL}/",
    f"/sign-in?next=/%0d%0aLocation:%20https://{EVIL}/",
    f"/sign-in?next=/%5c{EVIL}",
]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The whole application with its pages, and no register behind it."""
    parts = parts_for(serve_settings(refusals_per_minute=100_000))
    nobody = "127.0.0.1:1"
    settings = load(
        [],
        {
            "RINGFENCE_REDIS__URL": f"redis://{nobody}/0",
            "RINGFENCE_KAFKA__BOOTSTRAP_SERVERS": nobody,
        },
    )
    redress: Any = NoAppeals()  # nothing here gets as far
    async with (
        opened(
            settings,
            settings.serve,
            Monitor(()),
            parts.auth,
            AgreementFolder(None),
            redress,
            lambda: EMPTY_BLOCKLISTS,
        ) as pages,
        served(parts, router, more=lambda app: install(app, pages)) as http,
    ):
        yield http.port


async def asked(port: int, line: str, *headers: str) -> tuple[int, bytes, bytes]:
    """Status, headers and body of what comes back for that request line."""
    lines = [line, *(headers or ("Host: x",)), "Connection: close"]
    answer = await raw(port, ("\r\n".join(lines) + "\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), top, body


async def test_no_path_leads_out_or_elsewhere(port: int) -> None:
    """Whatever is asked for is found among our routes or not at all: no file of this machine, no
    header of the asker's, and nobody is sent to another site.
    """
    for path in ENTIRE:
        status, top, body = await asked(port, f"GET {path} HTTP/1.1")
        assert status in {200, 303, 400, 401, 404, 431, 503}, (path, status)
        assert b"root:" not in body, path
        assert b"bootstrap_servers" not in body, path
        lines = [line.lower() for line in top.split(b"\r\n")]
        assert not any(line.startswith(b"set-cookie: x=") for line in lines), path
        for line in lines:
            if line.startswith(b"location:"):
                assert line.removeprefix(b"location: ").startswith(b"/"), path
                assert not line.removeprefix(b"location: ").startswith((b"//", b"/\\")), path
        if path.startswith("/sign-in"):
            assert b'name="next" value="/"' in body, path


async def test_a_request_for_another_host_is_answered_by_ours(port: int) -> None:
    """A Host of their choice, twice or in the request line, changes no answer and no redirect."""
    for line, headers in (
        ("GET /live HTTP/1.1", [f"Host: {EVIL}"]),
        ("GET /live HTTP/1.1", ["Host: x", f"X-Forwarded-Host: {EVIL}"]),
        (f"GET http://{EVIL}/live HTTP/1.1", ["Host: x"]),
        ("GET /lists HTTP/1.1", [f"Host: {EVIL}"]),
        (f"GET http://{EVIL}/lists HTTP/1.1", [f"Host: {EVIL}"]),
    ):
        status, top, body = await asked(port, line, *headers)
        assert status in {200, 303, 503}, line
        assert EVIL.encode() not in top + body, line
    for line, headers in (
        ("GET /live HTTP/1.1", []),
        ("GET /live HTTP/1.1", ["Host: x", f"Host: {EVIL}"]),
        (f"CONNECT {EVIL}:443 HTTP/1.1", ["Host: x"]),
        ("TRACE /live HTTP/1.1", ["Host: x", "Cookie: secret=1"]),
        ("OPTIONS * HTTP/1.1", ["Host: x"]),
        ("PRI * HTTP/2.0", ["Host: x"]),
    ):
        status, top, body = await asked(port, line, *(headers or ("X: y",)))
        assert 400 <= status < 500, line
        assert b"secret" not in top + body


@pytest.mark.parametrize(
    "header",
    [
        "X-Request-Id: a\rSet-Cookie: x=1",
        "X-Request-Id: a\nSet-Cookie: x=1",
        "X-Request-Id: a\x00b",
        "X-Request-Id : a",
        " folded: yes",
        "Content-Length: 1_0",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: " + "9" * 40,
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Expect: 200-maybe",
        "Authorization: " + "Bearer " * 900,
        "Cookie: ringfence=" + "%0d%0a" * 500,
    ],
)
async def test_no_header_of_theirs_becomes_one_of_ours(port: int, header: str) -> None:
    """Odd headers are refused or of no effect; what comes back holds none of them."""
    sent = f"POST /echo/1 HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n".encode()
    answer = await raw(port, sent)
    top = answer.partition(b"\r\n\r\n")[0].lower()
    assert top.split(b" ", 2)[1] in {b"200", b"400", b"401", b"408", b"413", b"431"}, answer[:100]
    assert b"set-cookie: x" not in top
    assert b"\x00" not in answer


async def test_lengths_that_lie() -> None:
    """A body that is longer than it says does not become a request of somebody else; one that is
    shorter, or whose chunks lie, is refused; the server goes on.
    """
    parts = parts_for(serve_settings(body_s_max=0.3, header_s_max=0.3, idle_s_max=1.0))
    chunked = ("transfer-encoding: chunked",)
    async with served(parts, router) as http:
        longer = head("/echo/1", "content-length: 3") + b"abcGET /mine HTTP/1.1\r\nhost: x\r\n\r\n"
        answers = await asyncio.gather(
            raw(http.port, head("/echo/1", "content-length: 3") + b"abc\x00garbage"),
            raw(http.port, head("/echo/1", "content-length: 5", "content-length: 5") + b"short"),
            raw(http.port, head("/echo/1", *chunked) + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
            raw(http.port, head("/echo/1", *chunked) + b"-3\r\nabc\r\n0\r\n\r\n"),
            raw(http.port, head("/echo/1", *chunked) + b"3\r\nabcdef\r\n0\r\n\r\n"),
            raw(http.port, head("/echo/1", *chunked) + b"10\r\nabc"),
            raw(http.port, head("/echo/1", *chunked, "transfer-encoding: chunked") + b"3\r\nab"),
            raw(http.port, longer.replace(b"GET /mine", b"GET /mine?x")),
        )
        first = [answer.split(b"\r\n", 1)[0] for answer in answers]
        statuses = [line.split(b" ")[1] if line else b"" for line in first]
        assert statuses == [b"", b"400", b"400", b"400", b"400", b"408", b"400", b"200"]
        assert b" 401 " in answers[-1], "the second request has no token, whoever sent it"
        async with http.client.get("/live") as answer:
            assert answer.status == 200


async def test_refusals_are_audited_and_limited(caplog: pytest.LogCaptureFixture) -> None:
    """401 and 403 are a line of the audit each, without the token; then it is 429 for that address
    and client alone.
    """
    caplog.set_level(logging.WARNING, "stream.edge.http.audit")
    parts = parts_for(serve_settings(refusals_per_minute=2))
    async with served(parts, router) as http:
        statuses = []
        for headers in [{"Authorization": "Bearer rf_guess"}] * 3 + [bearer(ClientRole.SWITCH)] * 3:
            async with http.client.get("/mine", headers=headers) as answer:
                statuses.append(answer.status)
                assert answer.status != 429 or int(answer.headers["Retry-After"]) >= 1
        assert statuses == [401, 401, 429, 403, 403, 429]
        async with http.client.get("/mine", headers=bearer(ClientRole.PARTNER)) as answer:
            assert answer.status == 200
    assert [record.getMessage() for record in caplog.records] == [
        *["refused: not-authenticated"] * 2,
        *["refused: wrong-role"] * 2,
    ]
    assert "rf_guess" not in caplog.text
    assert TOKENS[ClientRole.SWITCH] not in caplog.text


async def test_who_takes_no_answer_is_cut_off_and_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole blocklist of 4 million rows for a client that reads nothing: of it only as much is
    made as fits into the connection's buffers, and after a while the client is sent away.
    """
    made = 0
    judge = NumberPolicy(LISTS, lookup_rules(LISTS).policy)
    held = Blocklist(lambda: judge)
    portion = [BlockedNumber(f"+4477009{n:05d}", None) for n in range(1000)]

    async def whole(_: Blocklist) -> AsyncIterator[list[BlockedNumber]]:
        nonlocal made
        while made < 4000:
            made += 1
            yield portion
            await asyncio.sleep(0)  # as the real one

    monkeypatch.setattr(module.Blocklist, "whole", whole)
    parts = parts_for(serve_settings(answer_s_max=0.3), blocklist=held)
    async with served(parts) as http:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", http.port))
        token = TOKENS[ClientRole.SWITCH]
        ask = f"GET /v1/blocklist HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        await loop.sock_sendall(sock, ask.encode())
        await until(parts, "ringfence_http_connections 1.0")
        await until(parts, "ringfence_http_connections 0.0")
        sock.close()
    assert 0 < made < 400


async def test_thousands_of_silent_connections_leave_room_for_the_known() -> None:
    """With every place taken the next get 503 and are closed; connected clients go on."""
    most = 2_000
    parts = parts_for(serve_settings(connections_max=most, header_s_max=600.0, idle_s_max=600.0))
    async with served(parts) as http:
        async with http.client.get("/live") as answer:  # stays open: it is kept alive
            assert answer.status == 200
        silent = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", http.port) for _ in range(most - 1))
        )
        await until(parts, f"ringfence_http_connections {most}.0")
        refused = await asyncio.gather(*(raw(http.port, b"") for _ in range(20)))
        assert all(b" 503 " in answer for answer in refused)
        async with http.client.get("/live") as answer:
            assert answer.status == 200
        for _, writer in silent:
            writer.close()
        await until(parts, "ringfence_http_connections 1.0")
