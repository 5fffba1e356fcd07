"""Agreements: terms, parties, delivered lists, and the figures of a period.

`ringfence report` counts the figures, so they are those that partners receive. A partner sees its
own agreements, and no report: that may name what we agreed with others.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from stream.core.model.agreement import Agreement, AgreementState, owner_of
from stream.core.model.moments import rfc3339
from stream.core.policy.contradictions import contradictions
from stream.edge.http.api.commands import JSON_LINES_MAX, Ran
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.insight.explain.agreement_text import (
    SOON_S,
    agreement_json,
    contradicted,
    explained,
    notes,
)
from stream.insight.report.figure_catalogue import FIGURES, Key
from stream.insight.report.page import style_source
from stream.insight.report.period import day_of, period_in
from stream.insight.report.words import shown
from stream.web.listing import TableQuery, cut
from stream.web.page_context import PageParts
from stream.web.pages.lists_pages import ListRow, rows_of
from stream.web.session_deps import Visit, sees

router = APIRouter(include_in_schema=False)

SHOWN: Final = (
    *(Key.DAYS_TOLD, Key.LISTED, Key.BLOCKED, Key.FLAGGED, Key.SIMULATED, Key.CHANGES),
    *(Key.IN_TIME, Key.IN_FORCE_P50, Key.HELD, Key.REFUSED, Key.SIGHTINGS, Key.PENDING),
    Key.OVERDUE,
)
"""Figures of a report that the page has; the whole report has all."""
_PERIOD_CHARS: Final = 30
_ORDERS: Final[Mapping[str, Callable[[Agreement], Any]]] = {
    "id": lambda one: one.id,
    "from": lambda one: (one.valid_from_s, one.id),
    "until": lambda one: (one.valid_until_s, one.id),
    "lists": lambda one: (len(one.clauses), one.id),
}
_Name = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class SharedList:
    """A list of an agreement: its clause, the list here, and what it may do in our country.

    `row` None: the list store has no such list; `said` None: our country does not enforce it.
    """

    clause: Mapping[str, Any]
    row: ListRow | None
    said: Mapping[str, Any] | None
    may_open: bool


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """The figures of a period, or `trouble`: why there are none."""

    report: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@router.get("/agreements")
async def agreements(
    request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)]
) -> Response:
    """Show all agreements of the folder, with its errors; to a partner its own."""
    asked = TableQuery.of(request, ["q", "state"], list(_ORDERS))
    parts, at_s = visit.parts, visit.parts.now_s()
    wanted, state = asked.filters["q"].lower(), asked.filters["state"]
    found = [
        one
        for one in parts.agreements.reading.agreements.held
        if _may_see(visit, one)
        and state in {"", one.state(at_s)}
        and wanted in f"{one.id} {one.title} {' '.join(one.parties)}".lower()
    ]
    inside = visit.client.role is not ClientRole.PARTNER
    errors = parts.agreements.reading.errors
    return visit.page(
        "agreements.html",
        asked=asked,
        table=cut(found, asked, _ORDERS[asked.sort]),
        states=list(AgreementState),
        moment=rfc3339,
        at_s=at_s,
        soon_s=SOON_S,
        folder=parts.settings.agreements.folder(),
        errors={name: _short(parts, told) for name, told in errors.items()} if inside else {},
        differ=await asyncio.to_thread(_differ, parts) if inside else [],
        noted=await asyncio.to_thread(_noted, parts) if inside else [],
    )


@router.get("/agreements/{name}")
async def agreement(
    visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)],
    name: _Name,
    period: Annotated[str, Query(max_length=_PERIOD_CHARS)] = "",
) -> Response:
    """Show one agreement; figures are counted only for a period asked for: it takes seconds."""
    held, parts, at_s = _held(visit, name), visit.parts, visit.parts.now_s()
    inside = visit.client.role is not ClientRole.PARTNER
    month = period_in(f"{day_of(at_s):%Y-%m}")
    return visit.page(
        "agreement.html",
        held=held,
        told=agreement_json(held, at_s),
        shared=await _shared(visit, held),
        ends_soon=held.in_force(at_s) and held.valid_until_s - at_s < SOON_S,
        errors=_short(parts, parts.agreements.reading.errors.get(name, ())) if inside else (),
        differ=await asyncio.to_thread(_differ, parts, name) if inside else [],
        inside=inside,
        period=period,
        months=[month, month.before()],
        figures=await _figures(visit, held, period) if inside and period else PeriodFigures(),
        keys=[(key, FIGURES[key]) for key in SHOWN],
        shown=shown,
        now_s=at_s,
    )


@router.get("/agreements/{name}/report")
async def report(
    visit: Annotated[Visit, sees(ClientRole.VIEWER)],
    name: _Name,
    period: Annotated[str, Query(max_length=_PERIOD_CHARS)],
) -> Response:
    """Return the whole report, as it is mailed; its style is allowed by hash, scripts are not."""
    held, asked = _held(visit, name), _period(period)
    ran = await _run(visit, held, asked, "--out=-")
    if ran.code != 0:
        raise ProblemError(
            ProblemKind.CONFLICT, f"there is no report: {ran.said or 'the log says why'}"
        )
    policy = f"default-src 'none'; style-src {style_source()}; base-uri 'none'; form-action 'none'"
    return Response(
        "\n".join(ran.lines),
        media_type="text/html",
        headers={
            "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
            "Content-Disposition": f'inline; filename="report-{held.id}-{asked}.html"',
        },
    )


def _held(visit: Visit, name: str) -> Agreement:
    """Return the agreement. Raises ProblemError where there is none that this person may see."""
    for held in visit.parts.agreements.reading.agreements.held:
        if held.id == name and _may_see(visit, held):
            return held
    raise ProblemError(ProblemKind.NOT_FOUND, "there is no such agreement")


def _may_see(visit: Visit, held: Agreement) -> bool:
    return any(visit.owns(party) for party in held.parties)


async def _shared(visit: Visit, held: Agreement) -> list[SharedList]:
    parts, at_s = visit.parts, visit.parts.now_s()
    known, home = parts.agreements.reading.agreements, parts.settings.calls.home_country
    lists = (await (await parts.list_store()).heads()).lists
    heads = [lists[clause.list] for clause in held.clauses if clause.list in lists]
    rows = await rows_of(parts, await parts.feeds.now(), heads)
    here = {row.head.name: row for row in rows}
    return [
        SharedList(
            clause=clause,
            row=here.get(clause["list"]),
            said=explained(parts.settings, known, clause["list"], home, at_s)
            if home in clause["to"]
            else None,
            may_open=clause["list"] in here and visit.owns(owner_of(clause["list"])),
        )
        for clause in agreement_json(held, at_s)["lists"]
    ]


async def _figures(visit: Visit, held: Agreement, period: str) -> PeriodFigures:
    try:
        asked = _period(period)
    except ProblemError as error:
        return PeriodFigures(trouble=str(error))
    ran = await _run(visit, held, asked, "--json=-")
    if ran.code != 0:
        return PeriodFigures(trouble=ran.said or "the log says why")
    return PeriodFigures(report=ran.json)


async def _run(visit: Visit, held: Agreement, period: str, how: str) -> Ran:
    words = ["report", held.id, f"--period={period}", how]
    return await visit.parts.commands.look(words, count=JSON_LINES_MAX)


def _period(typed: str) -> str:
    """Return a period as `--period` takes it. Raises ProblemError."""
    try:
        return period_in(typed).text()
    except ValueError as error:
        raise ProblemError(ProblemKind.MALFORMED, str(error)) from error


def _short(parts: PageParts, errors: Iterable[str]) -> tuple[str, ...]:
    """Return errors with the file's name in place of its whole path."""
    return tuple(one.removeprefix(f"{parts.settings.agreements.folder()}/") for one in errors)


def _differ(parts: PageParts, name: str = "") -> list[str]:
    """Return where two agreements differ, now or later; of `name` alone, if it is given."""
    known, at_s = parts.agreements.reading.agreements, parts.now_s()
    return [
        contradicted(one)
        for one in contradictions(known)
        if one.until_s > at_s and (not name or name in one.ids)
    ]


def _noted(parts: PageParts) -> list[str]:
    known = parts.agreements.reading.agreements
    return [*notes(parts.settings, known, parts.now_s())] if known.held else []
