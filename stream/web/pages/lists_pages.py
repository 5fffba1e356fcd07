"""Lists: the table of all, and one list with its history, its differences and the roll back.

The table takes one read of all heads; what is beyond them is read for the rows of one page only.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from stream.core.filters.blocklists import LiveList
from stream.core.model.agreement import owner_of
from stream.core.model.entry import Category
from stream.edge.http.api.commands import Ran
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.feeds.feed import FeedState
from stream.insight.explain.agreement_text import explained, may_cause
from stream.lists.store.heads import ListHead
from stream.lists.store.history import recent
from stream.web.listing import TableQuery, cut
from stream.web.page_caches import Feeds
from stream.web.page_context import PageParts
from stream.web.session_deps import FormChange, Visit, changes, sees

router = APIRouter(include_in_schema=False)

_ORDERS: Final[Mapping[str, Callable[[ListHead], Any]]] = {
    "name": lambda head: head.name,
    "count": lambda head: (head.count, head.name),
    "generation": lambda head: (head.generation, head.name),
    "changes": lambda head: (head.changes, head.name),
    "created": lambda head: (head.created_at_s, head.name),
}


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list as a table shows it. `base_at_s`: when its base was published, None: it has none."""

    head: ListHead
    base_at_s: int | None
    feeds: Mapping[str, FeedState]
    action: str
    simulate: bool

    @property
    def heard_at_s(self) -> int:
        """Time at which a feed of it last confirmed it; 0: never, or it has no feed."""
        return max((state.confirmed_at_s for state in self.feeds.values()), default=0)


@router.get("/lists")
async def lists(
    request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)]
) -> Response:
    """Show all lists, filtered, sorted and cut here."""
    asked = TableQuery.of(request, ["q", "held"], list(_ORDERS))
    parts, wanted = visit.parts, asked.filters["q"].lower()
    store, feeds = await parts.list_store(), await parts.feeds.now()
    held = await _held(parts, feeds)
    found = [
        head
        for head in (await store.heads()).lists.values()
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


async def rows_of(parts: PageParts, feeds: Feeds, heads: Sequence[ListHead]) -> list[ListRow]:
    """Return rows of some lists; two requests to Redis, however many lists."""
    store, settings = await parts.list_store(), parts.settings
    published = await store.past.published(heads)
    of_each = {head.name: [setup.feed.name for setup in feeds.of_list(head.name)] for head in heads}
    states = await parts.feeds.states(name for names in of_each.values() for name in names)
    agreements, home = parts.agreements.reading.agreements, settings.calls.home_country
    rows = []
    for head in heads:
        may = may_cause(settings, agreements, head.name, home, parts.now_s())
        rows.append(
            ListRow(
                head,
                published.get(head.name),
                {name: states[name] for name in of_each[head.name]},
                may["may"],
                bool(may["terms"]["simulate"]["value"]),
            )
        )
    return rows


async def _held(parts: PageParts, feeds: Feeds) -> set[str]:
    """Return the lists of which a version waits for a person."""
    states = await parts.feeds.states(feeds.setups)
    return {
        feeds.setups[name].feed.list_name
        for name, state in states.items()
        if state.held is not None
    }


HISTORY_MAX: Final = 50
"""Generations of the history; `ringfence lists history` has all."""
DIFF_ROWS: Final = 100
"""Rows of a page of differences."""
_Owner = Annotated[str, Path(max_length=64)]
_Name = Annotated[str, Path(max_length=64)]


async def _head(visit: Visit, name: str) -> ListHead:
    """Return the list's head. Raises ProblemError where this person may see no such list."""
    head = None
    if visit.owns(owner_of(name)):
        head = await (await visit.parts.list_store()).past.head(name)
    if head is None:
        raise ProblemError(ProblemKind.NOT_FOUND, noted("there is no such list"))
    return head


@router.get("/lists/{owner}/{name}")
async def one_list(
    visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)], owner: _Owner, name: _Name
) -> Response:
    """Show one list; its history comes from the newest end of the audit only."""
    parts, whole_name = visit.parts, f"{owner}/{name}"
    head = await _head(visit, whole_name)
    store, feeds = await parts.list_store(), await parts.feeds.now()
    (row,) = await rows_of(parts, feeds, [head])
    made, all_of_it = await recent(store, head, HISTORY_MAX)
    current = parts.blocklists()
    live = next((one for one in current.lists if one.name == whole_name), None)
    agreements, home = parts.agreements.reading.agreements, parts.settings.calls.home_country
    return visit.page(
        "list.html",
        head=head,
        row=row,
        size=await store.size(head),
        categories=await asyncio.to_thread(categories_of, live) if live is not None else {},
        live=live,
        made=made,
        all_of_it=all_of_it,
        setups={setup.feed.name: setup for setup in feeds.of_list(whole_name)},
        said=explained(parts.settings, agreements, whole_name, home, parts.now_s()),
        now_s=parts.now_s(),
    )


def categories_of(live: LiveList) -> Mapping[str, int]:
    """Return the number of reports of each category that the list has here, most first."""
    counts = np.zeros(256, np.int64)
    changed = live.overlay.entries
    if live.snapshot is not None and live.snapshot.columns is not None:
        columns = live.snapshot.columns
        gone = np.fromiter(changed, np.uint64, len(changed))
        stays = ~np.isin(columns.fingerprint, gone)
        counts += np.bincount(columns.category[stays], minlength=256)
    for entries in changed.values():
        for entry in entries or ():
            counts[entry.category] += 1
    found = {one.label: int(counts[one]) for one in Category if counts[one]}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@router.get("/lists/{owner}/{name}/diff")
async def diff(
    visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)],
    owner: _Owner,
    name: _Name,
    old: Annotated[int, Query(alias="from", ge=1)],
    new: Annotated[int, Query(alias="to", ge=1)],
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """Show the changes from one generation to another: `ringfence lists diff`."""
    head = await _head(visit, f"{owner}/{name}")
    words = ["lists", "diff", head.name, str(old), str(new), "--format", "json"]
    ran = await visit.parts.commands.look(words, (page - 1) * DIFF_ROWS, DIFF_ROWS)
    return _diff_page(
        visit, head, ran, page, title=_("Generation %(old)s to %(new)s", old=old, new=new)
    )


@router.get("/lists/{owner}/{name}/held/{feed}")
async def held(
    visit: Annotated[Visit, sees(ClientRole.VIEWER)],
    owner: _Owner,
    name: _Name,
    feed: Annotated[str, Path(max_length=64)],
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """Show what the held version would change: `ringfence feeds diff`."""
    head = await _head(visit, f"{owner}/{name}")
    words = ["feeds", "diff", _feed_of(feed), "--format", "json"]
    ran = await visit.parts.commands.look(words, (page - 1) * DIFF_ROWS, DIFF_ROWS)
    return _diff_page(visit, head, ran, page, title=_("Held version of feed %(feed)s", feed=feed))


def _diff_page(visit: Visit, head: ListHead, ran: Ran, page: int, *, title: str) -> Response:
    rows = []
    for line in ran.lines if ran.code == 0 else ():
        row: dict[str, Any] = msgspec.json.decode(line)
        if str(row.get("number", "")).startswith("+"):
            row["number"] = visit.number(row["number"])
        rows.append(row)
    return visit.page(
        "list_diff.html",
        head=head,
        title=title,
        rows=rows,
        ran=ran,
        page=page,
        pages=max(1, -(-ran.total // DIFF_ROWS)),
        address=lambda page: f"?{visit.request.url.include_query_params(page=page).query}",
    )


@router.post("/lists/{owner}/{name}/rebuild")
async def rebuild(change: Annotated[FormChange, changes()], owner: _Owner, name: _Name) -> Response:
    """Compact its changes into a new base: `ringfence lists rebuild`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["lists", "rebuild", head.name])


@router.post("/lists/{owner}/{name}/rollback")
async def rollback(
    change: Annotated[FormChange, changes()], owner: _Owner, name: _Name
) -> Response:
    """Roll back to an older generation: `ringfence lists rollback`."""
    head = await _head(change.visit, f"{owner}/{name}")
    generation = change.fields.get("generation", "")
    if not generation.isascii() or not generation.isdigit() or len(generation) > 12:
        raise ProblemError(
            ProblemKind.MALFORMED, noted("name the generation to go back to, a number")
        )
    return await _done(change, head, ["lists", "rollback", head.name, generation])


@router.post("/lists/{owner}/{name}/release")
async def release(change: Annotated[FormChange, changes()], owner: _Owner, name: _Name) -> Response:
    """Release the held version: `ringfence feeds release`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["feeds", "release", *await _waiting(change, head)])


@router.post("/lists/{owner}/{name}/refuse")
async def refuse(change: Annotated[FormChange, changes()], owner: _Owner, name: _Name) -> Response:
    """Refuse the held version: `ringfence feeds refuse`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["feeds", "refuse", *await _waiting(change, head)])


async def _waiting(change: FormChange, head: ListHead) -> list[str]:
    """Return the feed and the version of the form; the command refuses one that waits no more."""
    feed, version = change.fields.get("feed", ""), change.fields.get("version", "")
    known = {one.feed.name for one in (await change.visit.parts.feeds.now()).of_list(head.name)}
    if feed not in known or not version.isalnum():
        raise ProblemError(
            ProblemKind.MALFORMED, noted("the form names no version of a feed of this list")
        )
    return [feed, f"--version={version}"]


def _feed_of(name: str) -> str:
    """Return a feed's name as a word of a command: none that begins like an option."""
    if name.startswith("-"):
        raise ProblemError(ProblemKind.NOT_FOUND, noted("there is no such feed"))
    return name


async def _done(change: FormChange, head: ListHead, words: list[str]) -> Response:
    ran = await change.run(words)
    return await change.done(
        f"/lists/{head.name}", _("Done: %(text)s", text=" ".join(ran.lines)[:300])
    )
