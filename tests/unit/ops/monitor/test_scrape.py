"""Whatever answers at a process' port, or does not: it is a value, in bounded time."""

import socket
from dataclasses import replace

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from stream.ops.health_server import HealthServer, Readiness
from stream.ops.metrics.shared_catalogue import DeploymentMetrics
from stream.ops.metrics.worker_catalogue import WorkerCatalogue
from stream.ops.monitor import metric_names, scrape
from stream.ops.monitor.scrape import ask_all
from stream.ops.monitor.targets import MonitorTarget, ProcessKind


def place(port: int) -> MonitorTarget:
    """A process on this machine."""
    return MonitorTarget("engine", ProcessKind.ENGINE, f"http://127.0.0.1:{port}")


async def test_a_process_is_read_with_what_it_misses() -> None:
    """Metrics and readiness come together."""
    registry = CollectorRegistry()
    WorkerCatalogue(registry).calls.labels("calls").inc(3)
    server = HealthServer(
        "127.0.0.1", 0, registry, lambda: Readiness(("lists are not loaded",)), lambda: False
    )
    async with server:
        (answer,) = await ask_all([place(server.port)], 50.0)
    assert answer.reading is not None
    assert answer.reading.at_s == 50.0
    assert dict(answer.reading.samples[metric_names.CALLS]) == {(("topic", "calls"),): 3.0}
    assert (answer.ready, answer.missing, answer.why) == (False, ("lists are not loaded",), "")


@pytest.mark.parametrize(("wanted", "is_ours"), [("ours", True), ("theirs", False), ("", True)])
async def test_a_port_may_be_another_deployments(wanted: str, is_ours: bool) -> None:
    """At a port of the settings only this deployment's process counts; at a named one, any."""
    registry = CollectorRegistry()
    DeploymentMetrics(registry, "ours")
    server = HealthServer("127.0.0.1", 0, registry, lambda: Readiness(()), lambda: False)
    async with server:
        (answer,) = await ask_all([replace(place(server.port), deployment=wanted)], 50.0)
    assert (answer.reading is not None) is is_ours
    assert ("another deployment" in answer.why) is not is_ours


async def test_nobody_there_is_an_answer() -> None:
    """One that does not run is said to refuse connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes the port
        (answer,) = await ask_all([place(held.getsockname()[1])], 0.0)
    assert (answer.reading, answer.ready) == (None, False)
    assert "refused" in answer.why


async def large(_: web.Request) -> web.Response:
    """More than is taken."""
    return web.Response(body=b"# x\n" * 2000)


async def elsewhere(_: web.Request) -> web.Response:
    """Would lead away."""
    raise web.HTTPFound("http://127.0.0.1:1/")


async def page(_: web.Request) -> web.Response:
    """Is no process of ours."""
    return web.Response(text="<html>welcome</html>")


async def garbage(_: web.Request) -> web.Response:
    """Looks like ours, and is none."""
    return web.Response(text="ringfence_calls_total{ 3 \x00\n")


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (large, "more than 4096 bytes"),
        (elsewhere, "answers 302"),
        (page, "is this ours?"),
        (garbage, "is this ours?"),
    ],
)
async def test_what_is_not_ours_is_said_and_bounded(handler, said, monkeypatch) -> None:
    """A stranger on the port costs neither memory nor more than the limit of time."""
    monkeypatch.setattr(scrape, "BYTES_MAX", 4096)
    app = web.Application()
    app.router.add_get("/{any}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (answer,) = await ask_all([place(runner.addresses[0][1])], 0.0)
    finally:
        await runner.cleanup()
    assert answer.reading is None
    assert said in answer.why


async def test_a_process_that_hangs_is_not_waited_for(monkeypatch) -> None:
    """One that takes the connection and says nothing holds up no view."""
    monkeypatch.setattr(scrape, "ANSWER_S_MAX", 0.2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(1)
        (answer,) = await ask_all([place(held.getsockname()[1])], 0.0)
    assert answer.reading is None
    assert "does not answer within" in answer.why
