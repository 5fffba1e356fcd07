"""The operators' pages, rendered on the server and installed over `stream.edge.http`.

A page calls what its command calls, or runs the command. Templates and assets lie in
`stream/edge/http`.

To add a page, write a module in `pages` with `router = APIRouter(include_in_schema=False)`. Its
routes take `Annotated[Visit, sees(Role...)]` and give `visit.page("x.html", ...)`. Its changes take
`Annotated[FormChange, changes(Role...)]` and end with `change.done("/where", "what was done")`. Add
a template in `stream/edge/http/pages` that extends base.html (macros: parts.html). Add a line in
`ROUTERS` here and one in `ENTRIES` (session_deps.py). Add a test in tests/browser, where
test_buttons.py wants two clicks for each of its buttons.
"""

from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response

from stream.edge.http.rendering import page, see_other
from stream.web.page_context import PageParts
from stream.web.pages import (
    agreements_pages,
    appeals_pages,
    decisions_pages,
    feeds_pages,
    files_page,
    lists_pages,
    number_page,
    overview_pages,
    sign_in,
    trials_page,
)
from stream.web.session_deps import AgainError, ElsewhereError

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sign_in.router,
    overview_pages.router,
    lists_pages.router,
    feeds_pages.router,
    files_page.router,
    agreements_pages.router,
    appeals_pages.router,
    decisions_pages.router,
    trials_page.router,
    number_page.router,
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
