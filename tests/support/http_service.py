"""An application of `stream.edge.http` on a free port, in this process, for tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import ClientSession
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from stream.config.bundled_files import location
from stream.config.settings import load
from stream.core.model.errors import ListStoreDown
from stream.edge.http.app import application
from stream.edge.http.auth import Auth
from stream.edge.http.dependencies import Parts
from stream.edge.http.http_server import Direct, serving
from stream.edge.http.lookup_routes import DirectLookup
from stream.edge.http.settings import ServeSettings
from stream.edge.http.tokens import Client, ClientRole, line_of, read_tokens
from stream.ops.health_server import Readiness
from stream.ops.metrics.http_catalogue import ServeMetrics

TOKENS = {role: f"rf_test_{role}" for role in ClientRole}
"""One client of each role, named like it."""


def bearer(role: ClientRole) -> dict[str, str]:
    """The header of the client of that role."""
    return {"Authorization": f"Bearer {TOKENS[role]}"}


def serve_settings(**changed: Any) -> ServeSettings:
    """The defaults on free ports, with short waits."""
    assert location("settings").is_file()
    base = replace(load([], {}).serve, port=0, health_port=0, header_s_max=5.0, body_s_max=5.0)
    return replace(base, **changed)


class NoAppeals:
    """Appeals of a list store that does not answer, for pages that need none."""

    @property
    def store(self) -> "NoAppeals":
        return self

    async def standing(self) -> Any:
        raise ListStoreDown("counting appeals: there is no list store")


def parts_for(settings: ServeSettings, **given: Any) -> Parts:
    """Parts with a client of each role; `given` takes the place of what tests do not need."""
    lines = "\n".join(line_of(Client(role.value, role), token) for role, token in TOKENS.items())
    wrong: list[str] = []
    tokens = read_tokens(lines, wrong)
    assert not wrong
    parts: dict[str, Any] = {
        "settings": settings,
        "auth": Auth(tokens, settings.refusals_per_minute),
        "metrics": ServeMetrics(CollectorRegistry()),
        "readiness": lambda: Readiness(()),
        "record_bytes_max": 65_536,
        # What a test does not give, its routes do not touch.
        "lookup": None,
        "intake": None,
        "appeals": None,
        "blocklist": None,
        "push": None,
    }
    return Parts(**(parts | given))


@dataclass(frozen=True, slots=True)
class Served:
    """A running application, and a client of it."""

    port: int
    parts: Parts
    client: ClientSession

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def served(
    parts: Parts,
    *routers: APIRouter,
    more: Callable[[FastAPI], None] = lambda _: None,
    direct: Callable[[Parts], Direct] | None = DirectLookup,
) -> AsyncIterator[Served]:
    """Serve `parts`, and routes of the test beside ours; `more` may add to the application.

    `direct` None: the application answers everything.
    """

    def add(app: FastAPI) -> None:
        more(app)
        for router in routers:
            app.include_router(router)

    async with (
        serving(
            application(parts, add),
            parts.settings,
            parts.metrics,
            shutdown_s=1.0,
            direct=direct and direct(parts),
        ) as port,
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield Served(port, parts, client)
