"""The application: routes, faults as problems, and the gate around both."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from stream import __version__
from stream.edge.http import (
    appeal_routes,
    blocklist_routes,
    docs,
    health_routes,
    lookup_routes,
    record_routes,
)
from stream.edge.http.assets import route as assets
from stream.edge.http.dependencies import Parts
from stream.edge.http.lookup_routes import Quick
from stream.edge.http.middleware import Gate
from stream.edge.http.problems import MEDIA_TYPE, handle_problems

ROUTERS: Final[tuple[APIRouter, ...]] = (
    lookup_routes.router,
    record_routes.router,
    blocklist_routes.router,
    appeal_routes.router,
    health_routes.router,
    docs.router,
    assets.router,
)
"""Each module of routes gives one."""

_ABOUT: Final = """\
Call records in, verdicts and lists out, and the way back for who was blocked.

Every address under `/v1` takes a token (`Authorization: Bearer ...`, or as the password of HTTP \
Basic) unless it says otherwise. Faults are RFC 9457 problems. Every answer has an `X-Request-Id`, \
yours if you sent one."""


def framework(parts: Parts) -> FastAPI:
    """The routes, as FastAPI knows them."""
    app = FastAPI(
        title="Ringfence",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "4XX": {"description": "What is wrong with the request.", "content": {MEDIA_TYPE: {}}},
            "5XX": {"description": "What is missing on our side.", "content": {MEDIA_TYPE: {}}},
        },
    )
    app.state.parts = parts
    handle_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def application(parts: Parts, *more: Callable[[FastAPI], None]) -> ASGIApp:
    """What the server runs; each of `more` adds routes of its own."""
    app = framework(parts)
    for add in more:
        add(app)
    return Gate(Quick(app, parts), parts.settings, parts.metrics)
