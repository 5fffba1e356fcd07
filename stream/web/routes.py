"""The pages put onto the application of `stream.edge.http`."""

from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response

from stream.edge.http.rendering import page, see_other
from stream.web import (
    agreements,
    appeals,
    audit,
    decisions,
    feeds,
    health,
    list_detail,
    lists,
    number,
    overview,
    runbook,
    sign_in,
    trials,
)
from stream.web.page_context import PageParts
from stream.web.session_deps import AgainError, ElsewhereError

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    overview.router,
    lists.router,
    list_detail.router,
    feeds.router,
    agreements.router,
    appeals.router,
    audit.router,
    decisions.router,
    trials.router,
    number.router,
    health.router,
    runbook.router,
)
"""Each module of pages gives one."""


def install(app: FastAPI, parts: PageParts) -> None:
    """Add all pages."""
    app.state.page_parts = parts
    for router in ROUTERS:
        app.include_router(router)

    async def elsewhere(_: Request, error: Exception) -> Response:
        assert isinstance(error, ElsewhereError)
        return see_other(error.address)

    async def again(request: Request, _: Exception) -> Response:
        return page(request, "again.html")

    app.add_exception_handler(ElsewhereError, elsewhere)
    app.add_exception_handler(AgainError, again)
