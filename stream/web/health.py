"""What is well and what is not, each with what to do."""

from typing import Annotated

from fastapi import APIRouter, Response

from stream.edge.http.tokens import Role
from stream.web.findings import findings, state_mark
from stream.web.runbook import anchor
from stream.web.session_deps import Visit, sees

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health(visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """Of the last look, at most ten seconds ago."""
    seen = visit.parts.live.seen
    return visit.page(
        "health.html",
        seen=seen,
        findings=findings(seen) if seen is not None else (),
        state_mark=state_mark,
        anchor=anchor,
    )
