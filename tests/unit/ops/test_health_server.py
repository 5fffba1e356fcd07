"""The health pages say the truth, and what is missing."""

import asyncio
import contextlib
import time
from itertools import count

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from stream.ops.health_server import OPEN_MAX, HealthServer, LoopWatchdog, PortTaken, Readiness
from stream.ops.tasks import cancelled


async def page(port: int, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    """Status, body and content type."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept}) as answer,
    ):
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_ready_only_when_nothing_is_missing() -> None:
    """A load balancer or an operator reads what a worker waits for."""
    missing: list[str] = ["lists are not loaded"]
    server = HealthServer(
        "127.0.0.1", 0, CollectorRegistry(), lambda: Readiness(tuple(missing)), lambda: False
    )
    async with server:
        status, text, _ = await page(server.port, "/ready")
        assert (status, text) == (503, '{"ready": false, "missing": ["lists are not loaded"]}')
        missing.clear()
        assert (await page(server.port, "/ready"))[0] == 200


async def test_metrics_are_served_as_prometheus_wants_them() -> None:
    """The page has the text format and says so; who asks for OpenMetrics gets that.

    Every process says of itself what runs and since when.
    """
    registry = CollectorRegistry()
    Gauge("x", "A figure.", registry=registry).set(1)
    server = HealthServer("127.0.0.1", 0, registry, lambda: Readiness(()), lambda: False)
    async with server:
        status, text, kind = await page(server.port, "/metrics")
        _, modern, modern_kind = await page(
            server.port, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        )
    assert status == 200
    assert "\nx 1.0\n" in text
    assert kind.startswith("text/plain; version=0.0.4")
    assert modern.endswith("# EOF\n")
    assert modern_kind.startswith("application/openmetrics-text; version=1.0.0")
    assert {one.name for one in text_string_to_metric_families(text)} >= {
        "ringfence_build_info",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
    }


class Slow(Collector):
    """Figures that take a while to gather."""

    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> list[Metric]:
        """Nothing, slowly, counted."""
        self.times += 1
        time.sleep(0.05)
        return []


async def test_a_thousand_scrapes_at_once_are_answered_by_a_few_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every request gets an answer; the figures are gathered a few times, one after the other, and
    the server holds a bounded number of connections meanwhile.
    """
    # They come within a second on any machine: a millisecond passes each time somebody looks.
    moments = count()
    monkeypatch.setattr("stream.ops.metrics.exposition.monotonic_s", lambda: 0.001 * next(moments))
    registry, slow, most = CollectorRegistry(), Slow(), 0
    server = HealthServer("127.0.0.1", 0, registry, lambda: Readiness(()), lambda: False)
    registry.register(slow)
    slow.times = 0  # to register is to gather once

    async def scrape(session: aiohttp.ClientSession) -> int:
        nonlocal most
        async with session.get(f"http://127.0.0.1:{server.port}/metrics") as answer:
            most = max(most, len(server.connections))
            await answer.read()
            return answer.status

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with server, aiohttp.ClientSession(connector=connector) as session:
        statuses = await asyncio.gather(*(scrape(session) for _ in range(1000)))
    assert statuses == [200] * 1000
    assert 1 <= slow.times < 200
    assert 1 <= most <= OPEN_MAX


async def test_a_connection_that_asks_for_nothing_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every place taken by silent ones, who asks is answered once their time is over."""
    monkeypatch.setattr("stream.ops.health_server.OPEN_MAX", 2)
    monkeypatch.setattr("stream.ops.health_server.LIFE_S", 0.2)
    server = HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: Readiness(()), lambda: False)
    async with server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert (await page(server.port, "/live"))[0] == 200
        for reader, writer in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()


@pytest.mark.expects_errors("Error handling request")
async def test_trailers_without_an_end_are_refused() -> None:
    """Nobody needs a token here: who sends fields behind a body without end is sent away."""
    server = HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: Readiness(()), lambda: False)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 26:
                writer.write(b"a: b\r\n" * 5000)
                await writer.drain()
                sent += 30_000
            await reader.read()
        writer.close()
    assert sent < 1 << 25


async def test_a_stalled_loop_is_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """/live fails when the loop has not turned for too long."""
    now_s = 1000.0
    monkeypatch.setattr("stream.ops.health_server.monotonic_s", lambda: now_s)
    turning = LoopWatchdog(stalled_s=30.0)
    server = HealthServer(
        "127.0.0.1", 0, CollectorRegistry(), lambda: Readiness(()), lambda: turning.stalled
    )
    async with server:
        task = asyncio.create_task(turning.run())
        await asyncio.sleep(0)
        assert (await page(server.port, "/live"))[0] == 200
        await cancelled(task)
        now_s += 31
        assert (await page(server.port, "/live"))[0] == 503


async def test_a_taken_port_is_said_with_the_setting() -> None:
    """Two engines on one machine: the second says which setting to change."""
    first = HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: Readiness(()), lambda: False)
    async with first:
        second = HealthServer(
            "127.0.0.1", first.port, CollectorRegistry(), lambda: Readiness(()), lambda: False
        )
        with pytest.raises(PortTaken, match="http_port"):
            async with second:
                pass
