"""Pages about the whole: overview, health, runbook and audit.

The overview is live by server-sent events, and whole without them.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache, lru_cache
from itertools import pairwise
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from markdown_it import MarkdownIt
from markupsafe import Markup

from stream.config.bundled_files import location
from stream.edge.http.languages import reader, word
from stream.edge.http.tokens import ClientRole
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.history import AuditRun, detail_of_run, place_of
from stream.ops.monitor.targets import STARTED_BY
from stream.web.chart_history import ChartSpan
from stream.web.findings import findings, state_mark
from stream.web.listing import ROWS, TableQuery
from stream.web.page_context import page_parts_of
from stream.web.session_deps import Visit, sees, watcher

router = APIRouter(include_in_schema=False)

_EVENTS: Final = "text/event-stream"


def _span_of(request: Request) -> ChartSpan:
    return ChartSpan.DAY if request.query_params.get("span") == ChartSpan.DAY else ChartSpan.HOUR


@router.get("/")
async def overview(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show the figures of the last reading, with the last hour or day; scripts keep them new."""
    return visit.page(
        "overview.html", **visit.parts.live.given(_span_of(request)), spans=list(ChartSpan)
    )


@router.get("/events")
async def events(
    request: Request, goes_on: Annotated[Callable[[], Awaitable[bool]], Depends(watcher)]
) -> Response:
    """Stream figures as they come, each with the points that the charts do not have yet."""
    live = page_parts_of(request).live
    # Begun before the answer, so that one viewer too many gets 503 and not an empty stream.
    stream = live.events(request.headers.get("last-event-id", ""), _span_of(request))
    first = await anext(stream)

    async def whole() -> AsyncIterator[bytes]:
        try:
            yield first
            async for part in stream:
                if not await goes_on():
                    return
                yield part
        finally:
            await stream.aclose()

    return StreamingResponse(whole(), media_type=_EVENTS, headers={"X-Accel-Buffering": "no"})


@router.get("/health")
async def health(visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show problems and processes as of the last reading, at most five seconds ago."""
    seen = visit.parts.live.seen
    return visit.page(
        "health.html",
        seen=seen,
        findings=findings(seen) if seen is not None else (),
        state_mark=state_mark,
        started_by=STARTED_BY,
        anchor=anchor,
    )


_NO_WORD: Final = re.compile(r"[^a-z0-9 -]")


def anchor(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it: links work in both."""
    return _NO_WORD.sub("", heading.lower()).replace(" ", "-")


@cache
def _read() -> tuple[tuple[str, ...], Markup]:
    """Return the headings and the text as HTML; raw HTML in it stays a text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(location("runbook").read_text("utf-8"))
    headings = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inline.content))
            if token.tag == "h2":
                headings.append(inline.content)
    html = markdown.renderer.render(tokens, markdown.options, {})
    return tuple(headings), Markup(html)  # noqa: S704 - our own file, and HTML is off


@router.get("/runbook")
async def runbook(visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show all of it on one page, so that the browser's search finds an alert's name."""
    headings, text = _read()
    return visit.page("runbook.html", headings=[(one, anchor(one)) for one in headings], text=text)


LOOKED_AT_MAX: Final = 50_000
"""Entries that one page reads for a filter, about 0.1 s of Redis' time."""
_ID: Final = re.compile(r"[1-9][0-9]{0,14}-[0-9]{1,10}")
"""Without 0-0, which is no id and would be a fault of Redis."""


@router.get("/audit")
async def audit(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show a page of entries; the next begins at an entry's id, so a bookmark keeps its meaning."""
    asked = TableQuery.of(request, ["list", "actor", "what", "before"], ["newest"])
    wanted, before = asked.filters, asked.filters["before"]
    past = (await visit.parts.list_store()).past
    runs: list[AuditRun] = []
    last, looked_at = "", 0
    async for entry in past.audit(before=before if _ID.fullmatch(before) else ""):
        if looked_at == LOOKED_AT_MAX:
            break
        is_wanted = _asked_for(entry, wanted["list"], wanted["actor"], wanted["what"])
        if is_wanted and not (runs and runs[-1].takes(entry)):
            if len(runs) == ROWS:
                break
            runs.append(AuditRun(entry, entry))
        looked_at += 1
        last = entry.id
    else:
        last = ""  # there are no older ones
    return visit.page(
        "audit.html",
        asked=asked,
        runs=[(run, place_of(run.newest), detail_of_run(run)) for run in runs],
        head=await past.audit_head(),
        older=asked.address(before=last) if last else "",
        newest=asked.address(before="") if before else "",
        looked_at=looked_at,
    )


def _asked_for(entry: AuditEntry, name: str, actor: str, what: str) -> bool:
    return (
        name.lower() in {"", place_of(entry).lower()}
        and actor.lower() in entry.actor.lower()
        and _begins(entry.op, what.lower(), reader())
    )


@lru_cache(1024)
def _begins(op: str, what: str, _: str) -> bool:
    """Return whether an operation begins so, by its code or its word in the reader's language."""
    return op.startswith(what.replace(" ", "_")) or word(op).lower().startswith(what)
