"""All lists of the register, page by page: one read of all heads, then what this page shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from stream.core.model.agreement import owner_of
from stream.edge.http.tokens import Role
from stream.feeds.feed import FeedState
from stream.insight.explain.agreement_text import may_cause
from stream.lists.store.heads import ListHead
from stream.web.feed_index import Feeds
from stream.web.listing import Asked, cut
from stream.web.page_context import PageParts
from stream.web.session_deps import Visit, sees

router = APIRouter(include_in_schema=False)

_ORDERS: Final[Mapping[str, Callable[[ListHead], Any]]] = {
    "name": lambda head: head.name,
    "count": lambda head: (head.count, head.name),
    "generation": lambda head: (head.generation, head.name),
    "changes": lambda head: (head.changes, head.name),
    "created": lambda head: (head.created_at_s, head.name),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A list as a table shows it. `base_at_s`: when its base was published, None: it has none."""

    head: ListHead
    base_at_s: int | None
    feeds: Mapping[str, FeedState]
    action: str
    simulate: bool

    @property
    def heard_at_s(self) -> int:
        """When a feed of it last had something to say; 0: never, or it has none."""
        return max((state.confirmed_at_s for state in self.feeds.values()), default=0)


@router.get("/lists")
async def lists(
    request: Request, visit: Annotated[Visit, sees(Role.VIEWER, Role.PARTNER)]
) -> Response:
    """Filtered, sorted and cut here; what is beyond the heads is read for one page's rows only."""
    asked = Asked.of(request, ["q", "held"], list(_ORDERS))
    parts, wanted = visit.parts, asked.filters["q"].lower()
    register, feeds = await parts.list_store(), await parts.feeds.now()
    held = await _held(parts, feeds)
    found = [
        head
        for head in (await register.heads()).lists.values()
        if visit.owns(owner_of(head.name)) and wanted in head.name.lower()
        if not asked.filters["held"] or head.name in held
    ]
    table = cut(found, asked, _ORDERS[asked.sort])
    return visit.page(
        "lists.html",
        asked=asked,
        table=table,
        rows=await rows_of(parts, feeds, table.rows),
        held=sorted(name for name in held if visit.owns(owner_of(name))),
        now_s=parts.now_s(),
    )


async def rows_of(parts: PageParts, feeds: Feeds, heads: Sequence[ListHead]) -> list[Row]:
    """What is known of some lists beside their heads: two questions to Redis, however many."""
    register, settings = await parts.list_store(), parts.settings
    published = await register.past.published(heads)
    of_each = {head.name: [setup.feed.name for setup in feeds.of_list(head.name)] for head in heads}
    states = await parts.feeds.states(name for names in of_each.values() for name in names)
    agreements, home = parts.agreements.reading.agreements, settings.calls.home_country
    rows = []
    for head in heads:
        may = may_cause(settings, agreements, head.name, home, parts.now_s())
        rows.append(
            Row(
                head,
                published.get(head.name),
                {name: states[name] for name in of_each[head.name]},
                may["may"],
                bool(may["terms"]["simulate"]["value"]),
            )
        )
    return rows


async def _held(parts: PageParts, feeds: Feeds) -> set[str]:
    """The lists of which a version waits for a person."""
    states = await parts.feeds.states(feeds.setups)
    return {
        feeds.setups[name].feed.list_name
        for name, state in states.items()
        if state.held is not None
    }
