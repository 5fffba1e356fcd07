"""Appeals: the queue, one appeal, and its answer."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from stream.core.model.agreement import owner_of
from stream.core.model.appeal import OPEN, Appeal, AppealState
from stream.core.model.errors import AppealUnknown
from stream.edge.http.appeal_routes import STATES, AppealAnswer
from stream.edge.http.languages import noted
from stream.edge.http.tokens import ClientRole
from stream.web.listing import TableQuery, cut
from stream.web.session_deps import FormChange, Visit, changes, sees

router = APIRouter(include_in_schema=False)

NEWEST: Final = 5_000
"""Appeals of each state that are read; beyond them the page only says that there are more."""
_ORDERS: Final[Mapping[str, Callable[[Appeal], Any]]] = {
    "due": lambda one: (one.deadline_at_s, one.id),
    "received": lambda one: (one.received_at_s, one.id),
    "state": lambda one: (one.state, one.deadline_at_s),
}
_DONE: Final[Mapping[AppealAnswer, str]] = {
    AppealAnswer.FORWARD: noted(
        "Its owner is asked; the number stays blocked until somebody answers."
    ),
    AppealAnswer.REDRESS: noted("Redressed: the number is not blocked any more, within a second."),
    AppealAnswer.REJECT: noted("Rejected: the block stays."),
}
_Id = Annotated[str, Path(max_length=32)]


@router.get("/appeals")
async def queue(
    request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)]
) -> Response:
    """Show those that wait for an answer, the next deadline first; answered ones if asked."""
    asked = TableQuery.of(request, ["state", "list", "overdue"], list(_ORDERS))
    store, at_s = visit.parts.appeals.store, visit.parts.now_s()
    wanted = asked.filters["state"]
    states = [AppealState(wanted)] if wanted in {*AppealState} else sorted(OPEN)
    found: list[Appeal] = []
    more = False
    for state in states:
        some = await store.in_state(state, NEWEST)
        more = more or len(some) == NEWEST
        found += some
    name, late = asked.filters["list"].lower(), bool(asked.filters["overdue"])
    shown = [
        one
        for one in found
        if _may_see(visit, one)
        and (not name or any(name in named.list.lower() for named in one.lists))
        and (not late or (one.open and one.overdue(at_s)))
    ]
    return visit.page(
        "appeals.html",
        asked=asked,
        table=cut(shown, asked, _ORDERS[asked.sort]),
        # The counts are of everybody's appeals: a partner sees its own alone.
        standing=None if visit.client.role is ClientRole.PARTNER else await store.standing(),
        states=list(AppealState),
        at_s=at_s,
        more=more,
    )


@router.get("/appeals/{appeal_id}")
async def one(
    visit: Annotated[Visit, sees(ClientRole.VIEWER, ClientRole.PARTNER)], appeal_id: _Id
) -> Response:
    """Show one appeal: its history, the lists that name the number, and their contacts."""
    appeal = await _found(visit, appeal_id)
    redress = visit.parts.appeals
    return visit.page(
        "appeal_page.html",
        appeal=appeal,
        at_s=visit.parts.now_s(),
        contacts={n.list: redress.contact(n.list, n.agreement) for n in appeal.lists},
        elsewhere=appeal.owners(visit.parts.settings.calls.home_country),
        may_forward=appeal.state is AppealState.RECEIVED,
    )


@router.post("/appeals/{appeal_id}/{answer}")
async def answered(
    change: Annotated[FormChange, changes()], appeal_id: _Id, answer: AppealAnswer
) -> Response:
    """Forward, redress or reject; the appellant reads the reason."""
    await change.visit.parts.appeals.answer(appeal_id, STATES[answer], change.by)
    return await change.done(f"/appeals/{appeal_id}", _DONE[answer])


async def _found(visit: Visit, appeal_id: str) -> Appeal:
    appeal = await visit.parts.appeals.store.get(appeal_id)
    if not _may_see(visit, appeal):
        raise AppealUnknown(f"no appeal {appeal_id}")
    return appeal


def _may_see(visit: Visit, appeal: Appeal) -> bool:
    """A partner sees the appeals that it sent us, and those about its lists."""
    if visit.client.role is not ClientRole.PARTNER:
        return True
    asked = appeal.partner is not None and visit.owns(appeal.partner)
    return asked or any(visit.owns(owner_of(named.list)) for named in appeal.lists)
