"""`/live` and `/ready` for load balancers; the same and `/metrics` are on `[serve] health_port`."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from stream.edge.http.dependencies import PartsHere

router = APIRouter(tags=["state"])


@router.get("/live", summary="Whether the process answers")
async def live(request: Request) -> Any:
    """Always yes, if you get an answer. No token."""
    request.scope["state"]["quiet"] = True
    return {"live": True}


@router.get(
    "/ready",
    summary="Whether lookups are answered from lists",
    responses={503: {"description": "Not yet, or not any more; `missing` says what for."}},
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
