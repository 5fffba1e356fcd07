"""Trials: what is on trial, and promoting or demoting it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from stream.core.model.errors import ChangeConflict
from stream.core.model.on_trial import Target, TrialStatus
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.insight.trials.promote import appeals_about, standings_now, turn
from stream.insight.trials.status import Stands, TrialCount
from stream.web.listing import TableQuery, cut
from stream.web.page_caches import SPANS
from stream.web.session_deps import FormChange, Visit, changes, sees

router = APIRouter(include_in_schema=False)
_SHOWN: Final = ("told", "all")


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One target; `tried` None: not counted yet; `appeals` None: only lists have appeals."""

    stands: Stands
    tried: TrialCount | None
    appeals: int | None

    @property
    def on_trial(self) -> bool:
        """True while it acts on no call."""
        return self.stands.standing is TrialStatus.TRIAL


_ORDERS: Final[Mapping[str, Callable[[TrialRow], Any]]] = {
    "thing": lambda row: row.stands.target,
    "block": lambda row: (row.tried.would_block if row.tried else 0, row.stands.target),
}


@router.get("/trials")
async def trials(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show all by one read of the list store; decisions are counted only where asked for."""
    asked = TableQuery.of(request, ["q", "show", "count"], list(_ORDERS))
    parts, now_s = visit.parts, visit.parts.now_s()
    if asked.filters["count"] in SPANS:
        await parts.counting.count(asked.filters["count"], now_s)
    found = await standings_now(
        parts.settings, await parts.list_store(), parts.agreements.reading.agreements, now_s
    )
    wanted, everything = asked.filters["q"].lower(), asked.filters["show"] == "all"
    counted = parts.counting.last
    rows = [
        TrialRow(one, counted.figures.of(one.target) if counted else None, None)
        for one in found.all
        if (everything or one.is_told) and wanted in str(one.target).lower()
    ]
    table = cut(rows, asked, _ORDERS[asked.sort])
    appeals = await appeals_about(
        parts.settings, [row.stands.target for row in table.rows], now_s - SPANS["7d"]
    )
    shown = [TrialRow(row.stands, row.tried, appeals.get(row.stands.target)) for row in table.rows]
    return visit.page(
        "trials.html", asked=asked, table=table, rows=shown, counting=parts.counting, spans=SPANS
    )


@router.post("/trials")
async def turned(change: Annotated[FormChange, changes()]) -> Response:
    """Promote or demote one thing. Raises ProblemError."""
    parts = change.visit.parts
    target = Target.read(change.fields.get("thing", ""))
    wanted = change.fields.get("standing", "")
    if target is None or wanted not in frozenset(TrialStatus):
        raise ProblemError(ProblemKind.MALFORMED, noted("the form names no target, or no standing"))
    now_s = parts.now_s()
    figures = parts.counting.fresh(now_s)
    try:
        await turn(
            parts.settings,
            await parts.list_store(),
            parts.agreements.reading.agreements,
            target,
            TrialStatus(wanted),
            change.by,
            figures.of(target).plain() if figures else {},
            now_s,
        )
    except ChangeConflict as conflict:
        raise ProblemError(ProblemKind.CONFLICT, str(conflict)) from conflict
    if wanted == TrialStatus.FORCE:
        text = _("%(what)s is in force, in every engine within seconds.", what=target)
    else:
        text = _("%(what)s is on trial, in every engine within seconds.", what=target)
    return await change.done("/trials", text)
