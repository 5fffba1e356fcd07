"""Recent decisions: filtered, followed, and downloaded as a file."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from stream.core.model import csv_cells
from stream.core.model.decision import Decision
from stream.core.numbers.number import Kind, masked, parse
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import see_other
from stream.edge.http.tokens import ClientRole
from stream.web.listing import VIEW_NAME_CHARS_MAX, VIEWS_MAX, SavedViews, TableQuery, cut
from stream.web.page_caches import ROWS_MAX
from stream.web.session_deps import Visit, check_origin, fields_of, sees, text_in

router = APIRouter(include_in_schema=False)

_FILTERS: Final = ("verdict", "list", "rule", "number", "follow")
_SAVED: Final = ("verdict", "list", "rule")
"""Filters that a view keeps."""
_VIEW_CHARS_MAX: Final = 2000
_FIELDS: Final = (
    *("decision_id", "decided_at", "called_at", "verdict", "would", "simulated", "rule"),
    *("role", "number", "caller", "callee", "lists", "expires_at"),
)
_PIECE: Final = 500
"""Rows of a piece: a file of 20,000 is never held whole."""
SIMULATED: Final = "simulated"
VERDICTS: Final = ("block", "flag", "allow", SIMULATED)


def _wanted(visit: Visit, asked: TableQuery) -> Callable[[Decision], bool]:
    """Return the filter. Only a person who may see whole numbers may search for one.

    The number may be written as it is dialled here: decisions have it in E.164.
    """
    verdict, name = asked.filters["verdict"], asked.filters["list"].lower()
    rule, number = asked.filters["rule"].lower(), asked.filters["number"]
    trunks = visit.parts.settings.trunks_by_name()
    read = parse(number, trunks.home_country, trunks.home_prefix)
    number = read.text if read.kind is Kind.E164 else number

    def fits(one: Decision) -> bool:
        is_verdict = one.simulated if verdict == SIMULATED else one.verdict == verdict
        return (
            (not verdict or is_verdict)
            and (not name or any(name in reason.list.lower() for reason in one.reasons))
            and rule in one.rule.lower()
            and (not number or not visit.may_change or one.number == number)
        )

    return fits


@router.get("/decisions")
async def decisions(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show the newest first, filtered and cut here, of what this process holds."""
    asked = TableQuery.of(request, _FILTERS, ["newest"])
    rows = await visit.parts.recent.look()
    found = list(filter(_wanted(visit, asked), rows))
    return visit.page(
        "decisions.html",
        asked=asked,
        table=cut(found, asked),
        held=len(rows),
        most=ROWS_MAX,
        verdicts=VERDICTS,
        trouble=visit.parts.recent.trouble,
        following=bool(asked.filters["follow"]),
        file=asked.address().partition("?")[2],
        view=_view_of(asked.filters),
        views=await _views(visit).of(visit.client.name),
        name_chars_max=VIEW_NAME_CHARS_MAX,
    )


@router.post("/decisions/views")
async def save_view(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Save the filters of the page as a view of this person, by name."""
    fields = await fields_of(request)
    check_origin(request, fields, visit.session.csrf)
    name = text_in(fields, "name", VIEW_NAME_CHARS_MAX)
    view = _view_of(dict(parse_qsl(fields.get("view", "")[:_VIEW_CHARS_MAX])))
    if not name or not view:
        raise ProblemError(ProblemKind.MALFORMED, noted("choose a filter, then name the view"))
    if not await _views(visit).save(visit.client.name, name, view):
        text = f"you have {VIEWS_MAX} views; remove one first"
        raise ProblemError(ProblemKind.CONFLICT, text)
    await visit.parts.sessions.tell(
        visit.cookie, visit.session, _("View saved: %(name)s", name=name)
    )
    return see_other(f"/decisions?{view}")


@router.post("/decisions/views/remove")
async def remove_view(
    request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]
) -> Response:
    """Remove a view of this person."""
    fields = await fields_of(request)
    check_origin(request, fields, visit.session.csrf)
    await _views(visit).remove(visit.client.name, fields.get("name", ""))
    return see_other("/decisions")


def _views(visit: Visit) -> SavedViews:
    return SavedViews(visit.parts.sessions.redis, "decisions")


def _view_of(filters: Mapping[str, str]) -> str:
    """Return filters as a view keeps them: no number lies in Redis for it."""
    return urlencode({name: filters[name] for name in _SAVED if filters.get(name)})


@router.get("/decisions.csv")
async def as_csv(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Send all that the filters ask for as CSV, in pieces."""
    found = await _found(request, visit)

    async def pieces() -> AsyncIterator[str]:
        yield ",".join(_FIELDS) + "\r\n"
        for some in _cut(found):
            yield csv_cells.lines((map(csv_cells.cell, _cells(visit, one)) for one in some), "\r\n")

    return _file(pieces(), "text/csv; charset=utf-8", "decisions.csv")


@router.get("/decisions.jsonl")
async def as_lines(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Send the same as JSON lines."""
    found = await _found(request, visit)

    async def pieces() -> AsyncIterator[str]:
        for some in _cut(found):
            lines = (msgspec.json.encode(row(visit, one)).decode() for one in some)
            yield "".join(f"{line}\n" for line in lines)

    return _file(pieces(), "application/x-ndjson", "decisions.jsonl")


def row(visit: Visit, one: Decision) -> Mapping[str, Any]:
    """Return a decision as this person may have it."""

    def shown(number: str | None) -> str:
        return "withheld" if number is None else visit.number(number)

    return {
        "decision_id": one.decision_id,
        "decided_at": one.decided_at,
        "called_at": one.called_at,
        "verdict": one.verdict,
        "would": one.would or None,
        "simulated": one.simulated,
        "rule": one.rule,
        "role": one.role,
        "number": shown(one.number),
        "caller": shown(one.caller),
        "callee": masked(one.callee or ""),  # the called party is private
        "lists": " ".join(f"{reason.list}@{reason.generation}" for reason in one.reasons),
        "expires_at": one.expires_at,
    }


async def _found(request: Request, visit: Visit) -> list[Decision]:
    asked = TableQuery.of(request, _FILTERS, ["newest"])
    return list(filter(_wanted(visit, asked), await visit.parts.recent.look()))


def _cut(found: Sequence[Decision]) -> Iterable[Sequence[Decision]]:
    return (found[start : start + _PIECE] for start in range(0, len(found), _PIECE))


def _cells(visit: Visit, one: Decision) -> Iterable[object]:
    found = row(visit, one)
    return (found[field] for field in _FIELDS)


def _file(pieces: AsyncIterator[str], kind: str, name: str) -> Response:
    where = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=kind, headers=where)
