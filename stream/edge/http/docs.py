"""The description of all routes: `/openapi.json` for programs, `/docs` for people.

The page is ours and whole: the usual ones load their scripts from elsewhere, which a carrier's
network does not reach and we do not vouch for.
"""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from stream.edge.http.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return Response(msgspec.json.encode(request.app.openapi()), media_type="application/json")


@router.get("/docs")
async def routes(request: Request) -> Response:
    """Every route with its parameters and answers, on one page."""
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
