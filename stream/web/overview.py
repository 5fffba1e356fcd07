"""The first page: what happens now."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from stream.serve.parts import parts_of
from stream.serve.tokens import Role
from stream.web.frame import Visit, sees

router = APIRouter(include_in_schema=False)


@router.get("/")
async def overview(request: Request, visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """What this process knows."""
    return visit.page("overview.html", readiness=parts_of(request).readiness())
