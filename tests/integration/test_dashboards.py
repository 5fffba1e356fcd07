"""Every panel of every dashboard has something to show while everything runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web

from stream.ops.tasks import running
from tests.tools.dashboards.files import FOLDER, expressions, queries
from tests.tools.faults.place import JOBS, Place
from tests.tools.faults.watch import Prometheus

pytestmark = [
    pytest.mark.needs_promtool,
    pytest.mark.needs_openssl,
    pytest.mark.apache_kafka,
    # All of our processes for a minute; that each panel's metrics exist is a unit test.
    pytest.mark.campaign,
]

AGREEMENT = """
title = "Thailand and Cambodia"
kind = "memorandum"
valid_from = 2025-09-01
circle = "plain"
parties.TH = { roles = ["owner", "enforcer"], contact = "noc@th.example" }
parties.KH = { roles = ["owner", "enforcer"], contact = "noc@kh.example" }
lists."KH/scam" = {}
lists."TH/national" = {}
[terms]
action = "block"
shares = "fingerprints"
"""


def chosen(expression: str) -> str:
    """As Grafana asks it once somebody has chosen."""
    return expression.replace("$list", "TH/national").replace("$partner", "KH")


async def test_every_panel_has_data(tmp_path: Path) -> None:
    """Asked of a real Prometheus over a real run, as Grafana would ask."""
    asked = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        asked += [
            (f"{path.stem}: {title}", chosen(text))
            for title, text in [*expressions(document), *queries(document)]
        ]
    with Place(tmp_path) as place:
        place.keys.with_name("away").rename(place.keys)
        (place.folder / "agreements" / "th-kh.toml").write_text(AGREEMENT)
        jobs = {job: [place.ports[name] for name in names] for job, names in JOBS.items()}
        async with (
            Prometheus(place.folder / "prometheus", jobs) as prometheus,
            running(place.calls(), "calls"),
            running(_asking(place), "asking"),
            receiving(place),
        ):
            await _all_have_data(prometheus, asked)


async def _asking(place: Place) -> None:
    """A partner who asks by HTTP, again and again; without a token, which is counted as well."""
    address = f"https://127.0.0.1:{place.ports['http']}/v1/decision?caller=%2B66812345678"
    async with ClientSession() as client:
        while True:
            with suppress(ClientError):
                async with client.get(address, ssl=False):
                    pass
            await asyncio.sleep(0.2)


@asynccontextmanager
async def receiving(place: Place) -> AsyncIterator[None]:
    """Somebody takes what webhooks bring."""

    async def taken(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_route("*", "/", taken)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", place.ports["hook"]).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _all_have_data(prometheus: Prometheus, asked: list[tuple[str, str]]) -> None:
    empty = asked
    for _ in range(120):
        answers = [await prometheus.ask("query", query=text) for _, text in empty]
        empty = [one for one, data in zip(empty, answers, strict=True) if not data["result"]]
        if not empty:
            return
        await asyncio.sleep(1)
    raise AssertionError("nothing to show:\n" + "\n".join(what for what, _ in empty))
