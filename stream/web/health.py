"""What is well and what is not, each with what to do."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from stream.serve.parts import parts_of
from stream.serve.tokens import Role
from stream.web.frame import Visit, sees

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health(request: Request, visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """This process; the others follow."""
    return visit.page("health.html", readiness=parts_of(request).readiness())
