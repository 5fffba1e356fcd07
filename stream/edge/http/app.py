"""The ASGI application: every route, faults as problems, and the middleware around both.

Each module of routes has a `router`. Routes of no subject are here: `/live` and `/ready` for load
balancers (also on `[serve] health_port`, with `/metrics`). So are the description of all routes,
and the assets of pages.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp

from stream import __version__
from stream.edge.http import appeal_routes, blocklist_routes, lookup_routes, record_routes
from stream.edge.http.api import change_routes, push_routes
from stream.edge.http.api.answers import (
    LiveAnswer,
    ProblemAnswer,
    ReadyAnswer,
    add_schemas,
    answered,
    typed,
)
from stream.edge.http.assets import BY_ADDRESS, PREFIX
from stream.edge.http.dependencies import Parts, PartsHere
from stream.edge.http.lookup_routes import LookupMiddleware
from stream.edge.http.middleware import HeadAsGet, Middleware
from stream.edge.http.problems import MEDIA_TYPE, ProblemError, ProblemKind, handle_problems
from stream.edge.http.rendering import page

_state: Final = APIRouter(tags=["state"])
_hidden: Final = APIRouter(include_in_schema=False)
ROUTERS: Final = (
    lookup_routes.router,
    record_routes.router,
    blocklist_routes.router,
    appeal_routes.router,
    push_routes.router,
    change_routes.router,
    _state,
    _hidden,
)
_FOREVER: Final = "public, max-age=31536000, immutable"
"""A year: an asset's address holds the hash of its content, so it never goes stale."""
_ABOUT: Final = """\
Call records in, verdicts and lists out, and the way back for who was blocked.

Every address under `/v1` takes a token (`Authorization: Bearer ...`, or as the password of HTTP \
Basic) unless it says otherwise. Faults are RFC 9457 problems. Every answer has an `X-Request-Id`, \
yours if you sent one."""


@_state.get(
    "/live",
    summary="Whether the process answers",
    responses={200: {"description": "It does.", "content": answered(LiveAnswer)}},
)
async def live(request: Request) -> Any:
    """Always yes, if you get an answer. No token."""
    request.scope["state"]["quiet"] = True
    return {"live": True}


@_state.get(
    "/ready",
    summary="Whether lookups are answered from lists",
    responses={
        200: {"description": "They are.", "content": answered(ReadyAnswer)},
        503: {
            "description": "Not yet, or not any more; `missing` says what for.",
            "content": answered(ReadyAnswer),
        },
    },
)
async def ready(request: Request, parts: PartsHere) -> Response:
    """200 with `{"ready": true}`, or 503 and what is missing. No token."""
    request.scope["state"]["quiet"] = True
    found = parts.readiness()
    return Response(
        msgspec.json.encode({"ready": found.ready, "missing": found.missing}),
        status_code=200 if found.ready else 503,
        media_type="application/json",
    )


@_hidden.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return Response(msgspec.json.encode(request.app.openapi()), media_type="application/json")


@_hidden.get("/docs")
async def docs(request: Request) -> Response:
    """Every route with its parameters and answers, on one page.

    The page is ours: FastAPI's own loads its scripts from elsewhere, which a carrier's network does
    not reach and we do not vouch for.
    """
    document = request.app.openapi()
    return page(
        request,
        "docs.html",
        title=document["info"]["title"],
        version=document["info"]["version"],
        about=document["info"]["description"],
        routes=[
            (method.upper(), path, route)
            for path, methods in document["paths"].items()
            for method, route in methods.items()
        ],
        pretty=_pretty,
    )


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


@_hidden.get(PREFIX + "/{name}")
async def asset(request: Request, name: str) -> Response:
    """The file of an asset. No token: nothing in it is not in the source."""
    request.scope["state"]["quiet"] = True
    found = BY_ADDRESS.get(f"{PREFIX}/{name}")
    if found is None:
        raise ProblemError(ProblemKind.NOT_FOUND, "there is no such file (any more)")
    headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
    data = found.data
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        data = found.compressed
    return Response(data, headers=headers, media_type=found.media_type)


def framework(parts: Parts) -> FastAPI:
    """Return the FastAPI application with all routes."""
    fault = {MEDIA_TYPE: typed(ProblemAnswer)}
    app = FastAPI(
        title="Ringfence",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "4XX": {"description": "What is wrong with the request.", "content": fault},
            "5XX": {"description": "What is missing on our side.", "content": fault},
        },
    )
    app.state.parts = parts
    handle_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    add_schemas(app)
    return app


def application(parts: Parts, *more: Callable[[FastAPI], None]) -> ASGIApp:
    """Return the application for the server; each of `more` adds routes."""
    app = framework(parts)
    for add in more:
        add(app)
    return Middleware(LookupMiddleware(HeadAsGet(app), parts), parts.settings, parts.metrics)
