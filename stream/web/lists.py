"""All lists of the register, page by page."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from stream.core.agreement import owner_of
from stream.lists.words import ListHead
from stream.serve.tokens import Role
from stream.web.frame import Visit, sees
from stream.web.listing import Asked, cut

router = APIRouter(include_in_schema=False)

_ORDERS: Final[Mapping[str, Callable[[ListHead], Any]]] = {
    "name": lambda head: head.name,
    "count": lambda head: (head.count, head.name),
    "generation": lambda head: (head.generation, head.name),
    "changes": lambda head: (head.changes, head.name),
    "created": lambda head: (head.created_at_s, head.name),
}


@router.get("/lists")
async def lists(
    request: Request, visit: Annotated[Visit, sees(Role.VIEWER, Role.PARTNER)]
) -> Response:
    """One read of the register for all heads, however many lists there are."""
    asked = Asked.of(request, ["q"], list(_ORDERS))
    wanted = asked.filters["q"].lower()
    heads = (await (await visit.parts.register()).heads()).lists.values()
    found = [
        head for head in heads if visit.owns(owner_of(head.name)) and wanted in head.name.lower()
    ]
    return visit.page("lists.html", asked=asked, table=cut(found, asked, _ORDERS[asked.sort]))
