"""Feeds: state, last versions, and a fetch now.

A held version is released or refused on its list's page, where the difference is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.feeds.feed import FeedState
from stream.feeds.feed_sources import FeedSetup
from stream.web.listing import TableQuery, cut
from stream.web.session_deps import FormChange, Visit, changes, sees

router = APIRouter(include_in_schema=False)

_FETCHED: Final = {0, 1}
"""Exit codes of `ringfence feeds pull`: let in or nothing new; held, refused, or not to be had."""
_NOTICE_CHARS: Final = 400
_WHICH: Final = ("down", "waits")
_Name = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A feed as a table shows it."""

    setup: FeedSetup
    state: FeedState

    @property
    def numbers(self) -> int:
        """Numbers that the feed has on its list."""
        return self.state.accepted.numbers if self.state.accepted is not None else 0

    def asked_for(self, wanted: str, which: str) -> bool:
        """Return whether a filter lets it through."""
        feed = self.setup.feed
        words = f"{feed.name} {feed.list_name} {feed.owner}".lower()
        if which == "down" and not self.state.fault:
            return False
        return wanted in words and (which != "waits" or self.state.held is not None)


_ORDERS: Final[Mapping[str, Callable[[FeedRow], Any]]] = {
    "name": lambda row: row.setup.feed.name,
    "list": lambda row: (row.setup.feed.list_name, row.setup.feed.name),
    "numbers": lambda row: (row.numbers, row.setup.feed.name),
    "heard": lambda row: (row.state.confirmed_at_s, row.setup.feed.name),
    "failures": lambda row: (row.state.failures, row.setup.feed.name),
}


@router.get("/feeds")
async def feeds(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show all feeds of the folder, by one request to Redis, and the files that cannot be used."""
    asked = TableQuery.of(request, ["q", "which"], list(_ORDERS))
    known = await visit.parts.feeds.now()
    states = await visit.parts.feeds.states(known.setups)
    rows = [FeedRow(setup, states[name]) for name, setup in known.setups.items()]
    wanted, which = asked.filters["q"].lower(), asked.filters["which"]
    shown = [row for row in rows if row.asked_for(wanted, which)]
    return visit.page(
        "feeds.html",
        asked=asked,
        table=cut(shown, asked, _ORDERS[asked.sort]),
        wrong=known.wrong,
        counts={word: sum(row.asked_for("", word) for row in rows) for word in _WHICH},
        total=len(rows),
        now_s=visit.parts.now_s(),
    )


@router.get("/feeds/{name}")
async def feed(visit: Annotated[Visit, sees(ClientRole.VIEWER)], name: _Name) -> Response:
    """Show one feed: its settings, its last versions, and why one was held or refused."""
    known = await visit.parts.feeds.now()
    if name not in known.setups and name not in known.wrong:
        raise ProblemError(ProblemKind.NOT_FOUND, noted("there is no such feed"))
    state = (await visit.parts.feeds.states([name]))[name]
    setup = known.setups.get(name)
    return visit.page(
        "feed.html",
        called=name,
        setup=setup,
        wrong=known.wrong.get(name, ()),
        state=state,
        versions=[
            (what, record)
            for what, record in (
                (noted("Waits for a person"), state.held),
                (noted("Last accepted"), state.accepted),
                (noted("Last refused"), state.refused),
            )
            if record is not None
        ],
        handling={} if setup is None else setup.feed.gate.handlings(),
        now_s=visit.parts.now_s(),
    )


@router.post("/feeds/{name}/pull")
async def pull(change: Annotated[FormChange, changes()], name: _Name) -> Response:
    """Fetch it once, now: `ringfence feeds pull`. Its page shows the outcome."""
    if name not in (await change.visit.parts.feeds.now()).setups:
        raise ProblemError(
            ProblemKind.NOT_FOUND, noted("there is no feed of this name that can be used")
        )
    ran = await change.run(["feeds", "pull", name], "fetched", _FETCHED)
    said = " ".join(line.strip() for line in ran.lines) or ran.said
    return await change.done(f"/feeds/{name}", _("Fetched: %(text)s", text=said)[:_NOTICE_CHARS])
