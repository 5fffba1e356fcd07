"""One list: how it stands, what became of it, what waits; and the way back."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query, Response

from stream.core.filters.blocklists import LiveList
from stream.core.model.agreement import owner_of
from stream.core.model.entry import Category
from stream.edge.http.problems import Kind, ProblemError
from stream.edge.http.tokens import Role
from stream.insight.explain.agreement_text import explained
from stream.lists.store.heads import ListHead
from stream.lists.store.history import recent
from stream.web.commands import Ran
from stream.web.lists import rows_of
from stream.web.session_deps import Change, Visit, changes, sees

router = APIRouter(include_in_schema=False)

HISTORY_MAX: Final = 50
DIFF_ROWS: Final = 100
_Owner = Annotated[str, Path(max_length=64)]
_Name = Annotated[str, Path(max_length=64)]


async def _head(visit: Visit, name: str) -> ListHead:
    """The list's head. Raises ProblemError where it is not there, or not this person's to see."""
    head = None
    if visit.owns(owner_of(name)):
        head = await (await visit.parts.list_store()).past.head(name)
    if head is None:
        raise ProblemError(Kind.NOT_FOUND, "there is no such list")
    return head


@router.get("/lists/{owner}/{name}")
async def one_list(
    visit: Annotated[Visit, sees(Role.VIEWER, Role.PARTNER)], owner: _Owner, name: _Name
) -> Response:
    """Everything about it; the history from the newest end of the audit only."""
    parts, whole_name = visit.parts, f"{owner}/{name}"
    head = await _head(visit, whole_name)
    register, feeds = await parts.list_store(), await parts.feeds.now()
    (row,) = await rows_of(parts, feeds, [head])
    made, all_of_it = await recent(register, head, HISTORY_MAX)
    current = parts.blocklists()
    live = next((one for one in current.lists if one.name == whole_name), None)
    agreements, home = parts.agreements.reading.agreements, parts.settings.calls.home_country
    return visit.page(
        "list.html",
        head=head,
        row=row,
        size=await register.size(head),
        categories=await asyncio.to_thread(categories_of, live) if live is not None else {},
        live=live,
        made=made,
        all_of_it=all_of_it,
        setups={setup.feed.name: setup for setup in feeds.of_list(whole_name)},
        said=explained(parts.settings, agreements, whole_name, home, parts.now_s()),
        now_s=parts.now_s(),
    )


def categories_of(live: LiveList) -> Mapping[str, int]:
    """How many reports of each category the list has here, the most first."""
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
    visit: Annotated[Visit, sees(Role.VIEWER, Role.PARTNER)],
    owner: _Owner,
    name: _Name,
    old: Annotated[int, Query(alias="from", ge=1)],
    new: Annotated[int, Query(alias="to", ge=1)],
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """What changed from one generation to another: `ringfence lists diff`."""
    head = await _head(visit, f"{owner}/{name}")
    words = ["lists", "diff", head.name, str(old), str(new), "--format", "json"]
    ran = await visit.parts.commands.look(words, (page - 1) * DIFF_ROWS, DIFF_ROWS)
    return _diff_page(visit, head, ran, page, title=f"Generation {old} to {new}")


@router.get("/lists/{owner}/{name}/held/{feed}")
async def held(
    visit: Annotated[Visit, sees(Role.VIEWER)],
    owner: _Owner,
    name: _Name,
    feed: Annotated[str, Path(max_length=64)],
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """What the version that waits would change: `ringfence feeds diff`."""
    head = await _head(visit, f"{owner}/{name}")
    words = ["feeds", "diff", _feed_of(feed), "--format", "json"]
    ran = await visit.parts.commands.look(words, (page - 1) * DIFF_ROWS, DIFF_ROWS)
    return _diff_page(visit, head, ran, page, title=f"What waits of feed {feed}")


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
async def rebuild(change: Annotated[Change, changes()], owner: _Owner, name: _Name) -> Response:
    """Fold its changes into a new base: `ringfence lists rebuild`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["lists", "rebuild", head.name])


@router.post("/lists/{owner}/{name}/rollback")
async def rollback(change: Annotated[Change, changes()], owner: _Owner, name: _Name) -> Response:
    """Make it what it was: `ringfence lists rollback`."""
    head = await _head(change.visit, f"{owner}/{name}")
    generation = change.fields.get("generation", "")
    if not generation.isascii() or not generation.isdigit() or len(generation) > 12:
        raise ProblemError(Kind.MALFORMED, "name the generation to go back to, a number")
    return await _done(change, head, ["lists", "rollback", head.name, generation])


@router.post("/lists/{owner}/{name}/release")
async def release(change: Annotated[Change, changes()], owner: _Owner, name: _Name) -> Response:
    """Let in what waits: `ringfence feeds release`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["feeds", "release", *await _waiting(change, head)])


@router.post("/lists/{owner}/{name}/refuse")
async def refuse(change: Annotated[Change, changes()], owner: _Owner, name: _Name) -> Response:
    """Say no to what waits: `ringfence feeds refuse`."""
    head = await _head(change.visit, f"{owner}/{name}")
    return await _done(change, head, ["feeds", "refuse", *await _waiting(change, head)])


async def _waiting(change: Change, head: ListHead) -> list[str]:
    """The feed and the version that the form was about; it must still be the one that waits."""
    feed, version = change.fields.get("feed", ""), change.fields.get("version", "")
    known = {one.feed.name for one in (await change.visit.parts.feeds.now()).of_list(head.name)}
    if feed not in known or not version.isalnum():
        raise ProblemError(Kind.MALFORMED, "the form names no version of a feed of this list")
    return [feed, f"--version={version}"]


def _feed_of(name: str) -> str:
    """A feed's name as a word of a command: none that begins like an option."""
    if name.startswith("-"):
        raise ProblemError(Kind.NOT_FOUND, "there is no such feed")
    return name


async def _done(change: Change, head: ListHead, words: list[str]) -> Response:
    ran = await change.run(words)
    return await change.done(f"/lists/{head.name}", f"Done: {' '.join(ran.lines)[:300]}")
