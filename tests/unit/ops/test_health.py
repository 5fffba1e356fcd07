"""The health pages say the truth, and what is missing."""

import asyncio

import aiohttp
import pytest

from stream.ops.health import HealthServer, PortTaken, Readiness, Turning


async def page(port: int, path: str) -> tuple[int, str, str]:
    """Status, body and content type."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_ready_only_when_nothing_is_missing() -> None:
    """A load balancer or an operator reads what a worker waits for."""
    missing: list[str] = ["lists are not loaded"]
    server = HealthServer(
        "127.0.0.1", 0, lambda: b"", lambda: Readiness(tuple(missing)), lambda: False
    )
    async with server:
        status, text, _ = await page(server.port, "/ready")
        assert (status, text) == (503, '{"ready": false, "missing": ["lists are not loaded"]}')
        missing.clear()
        assert (await page(server.port, "/ready"))[0] == 200


async def test_metrics_are_served_as_prometheus_wants_them() -> None:
    """The page has the text format and says so."""
    server = HealthServer("127.0.0.1", 0, lambda: b"x 1\n", lambda: Readiness(()), lambda: False)
    async with server:
        status, text, kind = await page(server.port, "/metrics")
    assert (status, text) == (200, "x 1\n")
    assert kind.startswith("text/plain; version=0.0.4")


async def test_a_stalled_loop_is_not_live() -> None:
    """/live fails when the loop has not turned for too long."""
    turning = Turning(stalled_s=0.05)
    server = HealthServer(
        "127.0.0.1", 0, lambda: b"", lambda: Readiness(()), lambda: turning.stalled
    )
    async with server:
        task = asyncio.create_task(turning.run())
        await asyncio.sleep(0)
        assert (await page(server.port, "/live"))[0] == 200
        task.cancel()
        await asyncio.sleep(0.1)
        assert (await page(server.port, "/live"))[0] == 503


async def test_a_taken_port_is_said_with_the_setting() -> None:
    """Two engines on one machine: the second says which setting to change."""
    first = HealthServer("127.0.0.1", 0, lambda: b"", lambda: Readiness(()), lambda: False)
    async with first:
        second = HealthServer(
            "127.0.0.1", first.port, lambda: b"", lambda: Readiness(()), lambda: False
        )
        with pytest.raises(PortTaken, match="http_port"):
            async with second:
                pass
