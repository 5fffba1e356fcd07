"""Checks of every request: sizes, times, ids, faults. A real server, on the loopback."""

import asyncio
import logging
import re
import resource
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from stream.core.model.errors import ConfigInvalid
from stream.edge.http.dependencies import Parts, needs
from stream.edge.http.tokens import ClientRole
from stream.ops.metrics.exposition import exposition
from stream.ops.runtime import OTHER_FILES
from stream.ops.tasks import cancelled
from tests.support.http_service import bearer, parts_for, serve_settings, served
from tests.support.waiting import HANGS_S

router = APIRouter()


class Body(BaseModel):
    number: int


@router.post("/echo/{number}")
async def echo(request: Request, number: str) -> int:
    return len(await request.body())


@router.post("/typed")
async def typed(body: Body) -> int:
    return body.number


@router.get("/mine", dependencies=[needs(ClientRole.PARTNER)])
async def mine() -> str:
    return "yes"


@router.get("/bug")
async def bug() -> None:
    raise ZeroDivisionError


@router.get("/endless")
async def endless() -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


async def raw(port: int, sent: bytes) -> bytes:
    """Everything that comes back for these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(HANGS_S):
            return await reader.read()
    finally:
        writer.close()


def head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_head_is_get_without_the_body() -> None:
    """With its status, length and rights, on a connection that goes on; also of a stream."""
    parts = parts_for(serve_settings())
    async with served(parts, router) as http:
        asked = bearer(ClientRole.PARTNER)
        for path, status in (("/live", 200), ("/mine", 401), ("/endless", 200), ("/none", 404)):
            async with http.client.head(path) as answer:
                assert (answer.status, await answer.read()) == (status, b"")
        async with http.client.get("/mine", headers=asked) as whole:
            length = whole.headers["content-length"]
        async with http.client.head("/mine", headers=asked) as answer:
            assert (answer.status, answer.headers["content-length"]) == (200, length)
        async with http.client.delete("/v1/decision") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
        lines = b"HEAD /live HTTP/1.1\r\nhost: x\r\n\r\nHEAD /typed HTTP/1.0\r\nhost: x\r\n\r\n"
        heads = (await raw(http.port, lines)).split(b"\r\n\r\n")
        assert [one[:13] for one in heads] == [b"HTTP/1.1 200 ", b"HTTP/1.1 405 ", b""]
    assert 'route="/live",status="200"} 2.0' in exposed(parts)


async def test_a_program_gets_a_problem_as_json() -> None:
    """Also one that accepts HTML without knowing it, as Java does; a browser gets a page."""
    java = {"Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"}
    async with served(parts_for(serve_settings()), router) as http:
        kinds = []
        for path in ("/v1/calls/none", "/v1/decision", "/typed"):
            async with http.client.post(path, json={}, headers=java) as answer:
                kinds.append((answer.status, answer.content_type))
        assert kinds == [(status, "application/problem+json") for status in (401, 401, 400)]
        async with http.client.get("/none", headers=java) as answer:
            assert answer.content_type == "text/html"


async def test_roles_are_asked_for() -> None:
    """Without a token 401, with another role 403, with the role or an operator's 200."""
    async with served(parts_for(serve_settings()), router) as http:
        statuses = []
        for headers in (
            {},
            bearer(ClientRole.SWITCH),
            bearer(ClientRole.PARTNER),
            bearer(ClientRole.OPERATOR),
        ):
            async with http.client.get("/mine", headers=headers) as answer:
                statuses.append(answer.status)
        assert statuses == [401, 403, 200, 200]


async def test_every_answer_has_an_id_and_faults_are_problems() -> None:
    """The client's id comes back, or a new one; a fault is problem+json and quotes nothing."""
    async with served(parts_for(serve_settings()), router) as http:
        async with http.client.get("/no/+447700900123", headers={"X-Request-Id": "a-1"}) as answer:
            problem: dict[str, Any] = await answer.json(content_type="application/problem+json")
            assert answer.headers["X-Request-Id"] == problem["request_id"] == "a-1"
            assert problem["status"] == answer.status == 404
            assert "447700" not in str(problem)
        sent = {"number": "from +447700900123"}
        async with http.client.post("/typed", json=sent, headers={"X-Request-Id": "{}"}) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, len(problem["request_id"])) == (400, 16)
            assert problem["errors"][0]["field"] == "body.number"
            assert "447700" not in str(problem)


@pytest.mark.expects_errors("Exception in ASGI application")
async def test_a_bug_is_a_problem_too() -> None:
    """An unforeseen fault is 500 with the id that the log has."""
    async with (
        served(parts_for(serve_settings()), router) as http,
        http.client.get("/bug") as answer,
    ):
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["title"]) == (500, "Internal Server Error")


async def test_the_access_log_names_no_number(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the route's pattern, not the address that was asked."""
    caplog.set_level("INFO", "stream.edge.http.access")
    async with (
        served(parts_for(serve_settings()), router) as http,
        http.client.post("/echo/447700900123?to=447700900124", data=b"x") as answer,
    ):
        assert answer.status == 200
    assert "POST /echo/{number} 200" in caplog.text
    assert "447700" not in caplog.text


async def test_bodies_have_a_largest_size() -> None:
    """Declared or not, a body beyond the limit is 413; what it held of memory is given back."""
    parts = parts_for(serve_settings(body_bytes_max=100_000))

    async def endless() -> Any:
        for _ in range(20):
            yield b"x" * 10_000

    async with served(parts, router) as http:
        for body, path in (
            (b"x" * 100_001, "/echo/1"),
            (endless(), "/echo/1"),
            (endless(), "/typed"),
        ):
            async with http.client.post(path, data=body) as answer:
                assert answer.status == 413
                assert "body_bytes_max" in (await answer.json(content_type=None))["detail"]
        async with http.client.post("/echo/1", data=b"x" * 100_000) as answer:
            assert await answer.json() == 100_000
    assert "ringfence_http_bodies_bytes 0.0" in exposed(parts)


async def test_all_bodies_together_have_a_largest_size() -> None:
    """Beyond it clients get 503 with Retry-After."""
    parts = parts_for(serve_settings(body_bytes_max=200_000, bodies_bytes_max=200_000))
    async with served(parts, router) as http:
        waiting = asyncio.create_task(
            raw(http.port, head("/echo/1", "content-length: 150001") + b"x" * 150_000)
        )
        await until(parts, "ringfence_http_bodies_bytes 150000.0")
        async with http.client.post("/echo/1", data=b"x" * 100_000) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        await cancelled(waiting)


async def test_slow_and_lying_clients_are_answered() -> None:
    """A head or body that does not come is 408, contradicting lengths 400, a huge head 431."""
    parts = parts_for(serve_settings(header_s_max=0.3, body_s_max=0.3, header_bytes_max=4096))
    async with served(parts, router) as http:
        answers = await asyncio.gather(
            raw(http.port, b""),
            raw(http.port, b"POST /echo/1 HT"),
            raw(http.port, head("/echo/1", "content-length: 50") + b"short"),
            raw(http.port, head("/echo/1", "content-length: 5", "content-length: 6") + b"short"),
            raw(http.port, head("/echo/1", "content-length: -1")),
            raw(http.port, head("/echo/1", "content-length: 5", "transfer-encoding: chunked")),
            raw(http.port, head("/echo/1", f"x: {'y' * 5000}")),
            raw(http.port, b"\x16\x03\x01\x02\x00\x01\x00"),
        )
    statuses = [int(answer.split(b" ", 2)[1]) for answer in answers]
    assert statuses == [408, 408, 408, 400, 400, 400, 431, 400]
    assert all(b"application/problem+json" in answer for answer in answers)


@pytest.mark.parametrize("length", [0, 50])
async def test_a_client_that_leaves_is_no_fault_of_ours(length, caplog) -> None:
    """One that goes before its body is read is counted as 499: not as a bug, nor logged as one."""
    left, late = asyncio.Event(), APIRouter()

    @late.post("/late")
    async def read(request: Request) -> int:
        await left.wait()
        return len(await request.body())

    parts = parts_for(serve_settings())
    async with served(parts, late) as http:
        _, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(head("/late", f"content-length: {length}") + b"short"[:length])
        await until(parts, "ringfence_http_connections 1.0")
        writer.close()
        await until(parts, "ringfence_http_connections 0.0")
        left.set()
        await until(parts, 'ringfence_http_requests_total{route="/late",status="499"} 1.0')
    assert 'kind="internal-error"} 1.0' not in exposed(parts)
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]


async def test_connections_have_a_largest_number() -> None:
    """One more than allowed is refused with the reason; when others end there is room again."""
    parts = parts_for(serve_settings(connections_max=3))
    async with served(parts, router) as http:
        held = [await asyncio.open_connection("127.0.0.1", http.port) for _ in range(3)]
        await until(parts, "ringfence_http_connections 3.0")
        assert b" 503 " in await raw(http.port, b"")
        for _, writer in held:
            writer.close()
        await until(parts, "ringfence_http_connections 0.0")
        async with http.client.get("/live") as answer:
            assert answer.status == 200


async def test_more_connections_than_open_files_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit that the kernel would not keep is reported with what to raise; else room is made."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    with pytest.raises(ConfigInvalid, match="may open 4096: raise LimitNOFILE="):
        async with served(parts_for(serve_settings(connections_max=4000))):
            pass
    async with served(parts_for(serve_settings(connections_max=2000))):
        assert made == [(2000 + OTHER_FILES, 4096)]
    async with served(parts_for(serve_settings(connections_max=500))):
        assert len(made) == 1


async def test_the_page_of_routes_needs_nobody_else() -> None:
    """`/docs` names every route of the OpenAPI document and loads nothing from elsewhere."""
    async with served(parts_for(serve_settings())) as http:
        async with http.client.get("/openapi.json") as answer:
            document = await answer.json()
        async with http.client.get("/docs") as answer:
            page = await answer.text()
    assert all(path in page for path in document["paths"])
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)", page)
    assert all(address.startswith(("/", "#")) for address in addresses)
    assert not [address for address in addresses if address.startswith("//")]


def exposed(parts: Parts) -> str:
    """The metrics, as Prometheus reads them."""
    return exposition(parts.metrics.registry).decode()


async def until(parts: Parts, line: str) -> None:
    """Wait for a metric's value."""
    async with asyncio.timeout(HANGS_S):
        while line not in exposed(parts):  # noqa: ASYNC110 - metrics tell nobody
            await asyncio.sleep(0.01)
