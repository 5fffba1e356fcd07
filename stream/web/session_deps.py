"""Visits as routes see them: who is signed in, which roles may see or change, bounded forms."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request, Response

from stream.core.model.free_text import REASON_CHARS_MAX, line_of
from stream.core.numbers.number import masked
from stream.edge.http.api.commands import Ran
from stream.edge.http.auth import from_elsewhere
from stream.edge.http.bodies import FORM
from stream.edge.http.languages import noted, read_by
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import page, see_other
from stream.edge.http.tokens import Client, ClientRole
from stream.lists.store.heads import By
from stream.web.page_context import PageParts, page_parts_of
from stream.web.sessions import Session

BYTES_MAX: Final = 64 * 1024
FIELDS_MAX: Final = 50
"""Of a form: ours have a dozen short fields, so a larger one is an attack."""

BY_ITSELF: Final = "x-ringfence-follow"
"""In requests that a page makes without a person: they keep no session alive."""
REFRESHED: Final = "refreshed"
"""The same in the address, for a page without scripts that is loaded again by itself."""

Fields = Mapping[str, str]


async def fields_of(request: Request) -> Fields:
    """Return the fields of a form. Raises ProblemError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise ProblemError(ProblemKind.UNSUPPORTED, f"takes {FORM}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BYTES_MAX:
            raise ProblemError(ProblemKind.TOO_LARGE, f"a form may have {BYTES_MAX} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise ProblemError(ProblemKind.MALFORMED, noted("the form cannot be read")) from error


def check_origin(request: Request, fields: Fields, csrf: str) -> None:
    """Refuse a form that no page of ours sent. Raises ProblemError.

    The secret in the form decides. The browser's own headers are checked too, should it ever leak.
    """
    given = fields.get("csrf", "")
    if from_elsewhere(request.scope["headers"]) or not compare_digest(
        given.encode(), csrf.encode()
    ):
        text = noted("this form did not come from a page of yours, or is too old: reload the page")
        raise ProblemError(ProblemKind.FORGED, text)


def reason_in(fields: Fields) -> str:
    """Return the reason of a change. Raises ProblemError where there is none."""
    reason = text_in(fields, "reason", REASON_CHARS_MAX)
    if not reason:
        text = noted("give a reason: it is recorded in the audit log; nothing was changed")
        raise ProblemError(ProblemKind.MALFORMED, text)
    return reason


def text_in(fields: Fields, name: str, most: int) -> str:
    """Return a text that a person wrote, on one line; "" if none. Raises ProblemError."""
    try:
        return line_of(fields.get(name, ""), f"the {name}", most)
    except ValueError as error:
        raise ProblemError(ProblemKind.MALFORMED, f"{error}; nothing was changed") from error


def way_back(address: str) -> str:
    """Return `address` if it leads to a page of ours, else the first page."""
    ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if ours and address.isprintable() and " " not in address else "/"


@dataclass(frozen=True, slots=True)
class NavEntry:
    """A place in the navigation, by its English name; operators see all of them."""

    name: str
    address: str
    roles: frozenset[ClientRole]


_ALL: Final = frozenset({ClientRole.VIEWER, ClientRole.PARTNER, ClientRole.OPERATOR})
_INSIDE: Final = frozenset({ClientRole.VIEWER, ClientRole.OPERATOR})
_HANDING: Final = frozenset({ClientRole.PARTNER, ClientRole.OPERATOR})
ENTRIES: Final = (
    NavEntry(noted("Overview"), "/", _INSIDE),
    NavEntry(noted("Lists"), "/lists", _ALL),
    NavEntry(noted("Feeds"), "/feeds", _INSIDE),
    NavEntry(noted("Hand in"), "/files", _HANDING),
    NavEntry(noted("Agreements"), "/agreements", _ALL),
    NavEntry(noted("One number"), "/number", _INSIDE),
    NavEntry(noted("Decisions"), "/decisions", _INSIDE),
    NavEntry(noted("Trials"), "/trials", _INSIDE),
    NavEntry(noted("Appeals"), "/appeals", _ALL),
    NavEntry(noted("Audit"), "/audit", _INSIDE),
    NavEntry(noted("Health"), "/health", _INSIDE),
    NavEntry(noted("Runbook"), "/runbook", _INSIDE),
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
        """True for operators: pages show them the buttons."""
        return self.client.role is ClientRole.OPERATOR

    def owns(self, owner: str) -> bool:
        """Return whether this person may see what `owner` (`KH` of the list `KH/scam`) has.

        A partner sees its own: its token has the owner's name.
        """
        return self.client.role is not ClientRole.PARTNER or self.client.is_owner(owner)

    def number(self, number: str) -> str:
        """Return a number as this person may see it: whole, or masked."""
        return number if self.may_change else masked(number)

    def page(self, name: str, status: int = 200, **given: Any) -> Response:
        """Render a template in the frame; it knows `visit`."""
        return page(self.request, name, status, visit=self, **given)


@dataclass(frozen=True, slots=True)
class FormChange:
    """A form that changes something; `by` is the person and the reason, for the audit."""

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
            raise ProblemError(ProblemKind.CONFLICT, text)
        return ran

    async def done(self, address: str, notice: str) -> Response:
        """Send the browser to a page that says what was done."""
        visit = self.visit
        await visit.parts.sessions.tell(visit.cookie, visit.session, notice)
        return see_other(address)


def cookie_name(request: Request) -> str:
    """Return the cookie's name; with TLS the browser holds it to this host (`__Host-`)."""
    return "__Host-ringfence" if request.url.scheme == "https" else "ringfence"


async def visit_of(request: Request) -> Visit:
    """Return the visit of who is signed in, and put the frame around the answer.

    Raises ElsewhereError to the sign-in, AgainError.
    """
    read_by(request)
    parts, cookie = page_parts_of(request), request.cookies.get(cookie_name(request), "")
    by_itself = BY_ITSELF in request.headers or REFRESHED in request.query_params
    found = await parts.sessions.find(cookie, use=not by_itself)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if found is None:
        if not cookie and request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            raise AgainError  # a link from elsewhere: the cookie comes with the next try only
        if request.method in {"GET", "HEAD"}:
            raise ElsewhereError(f"/sign-in?next={quote(here, safe='')}")
        raise ElsewhereError(f"/sign-in?next={quote(_page_of_form(request), safe='')}&undone=1")
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


def _page_of_form(request: Request) -> str:
    """Return the page of ours that a form came from; "/" where the browser does not say."""
    came = urlsplit(request.headers.get("referer", ""))
    if came.netloc != request.headers.get("host"):
        return "/"
    return way_back(came.path + (f"?{came.query}" if came.query else ""))


def sees(*roles: ClientRole) -> Any:
    """Return a dependency: signed in, with one of `roles`, or an operator. Gives the `Visit`."""
    wanted = frozenset({*roles, ClientRole.OPERATOR})

    async def admitted(request: Request) -> Visit:
        visit = await visit_of(request)
        if visit.client.role not in wanted:
            text = f"this takes the role {' or '.join(sorted(wanted))}; you are signed in as"
            raise ProblemError(ProblemKind.WRONG_ROLE, f"{text} {visit.client.role}")
        return visit

    return Depends(admitted)


def changes(*roles: ClientRole) -> Any:
    """Return a dependency of a POST, as `sees`: our own form with a reason. Gives FormChange."""
    seen = sees(*roles)

    async def admitted(request: Request, visit: Annotated[Visit, seen]) -> FormChange:
        fields = await fields_of(request)
        check_origin(request, fields, visit.session.csrf)
        return FormChange(visit, fields, By(f"page:{visit.client.name}", reason_in(fields)))

    return Depends(admitted)


async def watcher(request: Request) -> Callable[[], Awaitable[bool]]:
    """Refuse who is not signed in, or may not watch; does not count as use of the session.

    Return a check that the session goes on: a stream would outlast it. Raises ProblemError:
    a script asks, which cannot be sent to the sign-in.
    """
    read_by(request)
    cookie, sessions = (
        request.cookies.get(cookie_name(request), ""),
        page_parts_of(request).sessions,
    )
    found = await sessions.find(cookie, use=False)
    if found is None:
        raise ProblemError(ProblemKind.NOT_AUTHENTICATED, "sign in again")
    if found[1].role not in _INSIDE:
        raise ProblemError(ProblemKind.WRONG_ROLE, "this takes the role viewer or operator")

    async def goes_on() -> bool:
        return await sessions.find(cookie, use=False) is not None

    return goes_on


def _current(path: str) -> NavEntry | None:
    """Return the entry of a page: the one with the longest address above it."""
    above = [
        entry
        for entry in ENTRIES
        if path == entry.address or path.startswith(entry.address.rstrip("/") + "/")
        if entry.address != "/" or path == "/"
    ]
    return max(above, key=lambda entry: len(entry.address), default=None)
