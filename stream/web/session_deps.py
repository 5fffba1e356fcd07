"""Who looks at a page, what stands around it, and how a route says who may see or change it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Request, Response

from stream.core.numbers.number import masked
from stream.edge.http.problems import Kind, ProblemError
from stream.edge.http.rendering import page, see_other
from stream.edge.http.tokens import Client, Role
from stream.lists.store.heads import By
from stream.web.commands import Ran
from stream.web.forms import Fields, check_origin, fields_of, reason_in
from stream.web.page_context import PageParts, page_parts_of
from stream.web.sessions import Session


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the navigation; operators see all of them."""

    name: str
    address: str
    roles: frozenset[Role]


_ALL: Final = frozenset({Role.VIEWER, Role.PARTNER, Role.OPERATOR})
_INSIDE: Final = frozenset({Role.VIEWER, Role.OPERATOR})
ENTRIES: Final = (
    Entry("Overview", "/", _INSIDE),
    Entry("Lists", "/lists", _ALL),
    Entry("Feeds", "/feeds", _INSIDE),
    Entry("Agreements", "/agreements", _ALL),
    Entry("One number", "/number", _INSIDE),
    Entry("Decisions", "/decisions", _INSIDE),
    Entry("Trials", "/trials", _INSIDE),
    Entry("Appeals", "/appeals", _ALL),
    Entry("Audit", "/audit", _INSIDE),
    Entry("Health", "/health", _INSIDE),
    Entry("Runbook", "/runbook", _INSIDE),
)


class ElsewhereError(Exception):
    """Ends a request by sending the browser to `address`."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class AgainError(Exception):
    """Ends a request by letting the browser come again, this time from our own page."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in person's request."""

    request: Request
    parts: PageParts
    cookie: str
    session: Session
    client: Client

    @property
    def may_change(self) -> bool:
        """Whether the buttons are there."""
        return self.client.role is Role.OPERATOR

    def owns(self, owner: str) -> bool:
        """Whether what `owner` (`KH` of the list `KH/scam`) has may be shown.

        A partner sees what is its own: its token has the owner's name.
        """
        return self.client.role is not Role.PARTNER or self.client.name.lower() == owner.lower()

    def number(self, number: str) -> str:
        """A number as this person may see it."""
        return number if self.may_change else masked(number)

    def page(self, name: str, status: int = 200, **given: Any) -> Response:
        """A template in the frame; it knows `visit`."""
        return page(self.request, name, status, visit=self, **given)


@dataclass(frozen=True, slots=True)
class Change:
    """A form that changes something, from who may; `by` says who and why, for the audit."""

    visit: Visit
    fields: Fields
    by: By

    async def run(
        self, words: Sequence[str], what: str = "done", fine: Collection[int] = (0,)
    ) -> Ran:
        """Run one of our commands for it. Raises ProblemError if it ends otherwise than `fine`."""
        ran = await self.visit.parts.commands.change(words, self.by)
        if ran.code not in fine:
            text = f"it was not {what}: {ran.said or 'the log says why'}"
            raise ProblemError(Kind.CONFLICT, text)
        return ran

    async def done(self, address: str, notice: str) -> Response:
        """Send the browser to a page that says what was done."""
        visit = self.visit
        await visit.parts.sessions.tell(visit.cookie, visit.session, notice)
        return see_other(address)


def cookie_name(request: Request) -> str:
    """With TLS the browser itself holds the cookie to this host (`__Host-`)."""
    return "__Host-ringfence" if request.url.scheme == "https" else "ringfence"


async def visit_of(request: Request) -> Visit:
    """Who is signed in; puts the frame around whatever is answered. Raises to the sign-in."""
    parts, cookie = page_parts_of(request), request.cookies.get(cookie_name(request), "")
    found = await parts.sessions.find(cookie)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if found is None:
        if not cookie and request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            raise AgainError  # a link from elsewhere: the cookie comes with the next try only
        back = here if request.method in {"GET", "HEAD"} else "/"
        raise ElsewhereError(f"/sign-in?next={quote(back, safe='')}")
    session, client = found
    visit = Visit(request, parts, cookie, session, client)
    request.scope["state"]["frame"] = {
        "client": client,
        "csrf": session.csrf,
        "path": here,
        "notice": session.notice,
        "entries": [entry for entry in ENTRIES if client.role in entry.roles],
        "current": _current(request.url.path),
    }
    return visit


def sees(*roles: Role) -> Any:
    """A dependency: signed in, with one of `roles`, or an operator. Gives the `Visit`."""
    wanted = frozenset({*roles, Role.OPERATOR})

    async def admitted(request: Request) -> Visit:
        visit = await visit_of(request)
        if visit.client.role not in wanted:
            text = f"this takes the role {' or '.join(sorted(wanted))}; you are signed in as"
            raise ProblemError(Kind.WRONG_ROLE, f"{text} {visit.client.role}")
        return visit

    return Depends(admitted)


def changes(*roles: Role) -> Any:
    """A dependency of a POST: as `sees`, and from our own form, with a reason. Gives a `Change`."""
    seen = sees(*roles)

    async def admitted(request: Request, visit: Annotated[Visit, seen]) -> Change:
        fields = await fields_of(request)
        check_origin(request, fields, visit.session.csrf)
        return Change(visit, fields, By(f"page:{visit.client.name}", reason_in(fields)))

    return Depends(admitted)


async def watcher(request: Request) -> Callable[[], bool]:
    """Refuse who is not signed in (any more), or may not watch; no use of the session.

    Gives what says whether the token is still good: a stream outlasts it otherwise. Raises
    ProblemError: a script asks, which cannot be sent to the sign-in.
    """
    cookie, sessions = (
        request.cookies.get(cookie_name(request), ""),
        page_parts_of(request).sessions,
    )
    found = await sessions.find(cookie, use=False)
    if found is None:
        raise ProblemError(Kind.NOT_AUTHENTICATED, "sign in again")
    session, client = found
    if client.role not in _INSIDE:
        raise ProblemError(Kind.WRONG_ROLE, "this takes the role viewer or operator")
    return lambda: sessions.still(bytes.fromhex(session.token)) is not None


def _current(path: str) -> Entry | None:
    """The entry that a page belongs to: the one with the longest address above it."""
    above = [
        entry
        for entry in ENTRIES
        if path == entry.address or path.startswith(entry.address.rstrip("/") + "/")
        if entry.address != "/" or path == "/"
    ]
    return max(above, key=lambda entry: len(entry.address), default=None)
