"""Sign in by an API token, sign out, and choose the colours and the language."""

import logging
import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from stream.edge.http.auth import from_elsewhere
from stream.edge.http.dependencies import parts_of
from stream.edge.http.languages import LANGUAGE_COOKIE, LANGUAGES, noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import THEME_COOKIE, THEMES, page, see_other
from stream.edge.http.tokens import TOKEN_CHARACTERS_MAX, ClientRole
from stream.web.page_context import page_parts_of
from stream.web.session_deps import (
    ElsewhereError,
    check_origin,
    cookie_name,
    fields_of,
    visit_of,
    way_back,
)

audit = logging.getLogger("stream.edge.http.audit")
router = APIRouter(include_in_schema=False)

_YEAR_S: Final = 365 * 86_400
_FORM_COOKIE: Final = "ringfence-form"


@router.get("/sign-in")
async def form(
    request: Request, next_: Annotated[str, Query(alias="next")] = "/", undone: str = ""
) -> Response:
    """Show the form for the token; `undone`: a form came after its session had ended."""
    return _form(request, way_back(next_[:2048]), undone=bool(undone))


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Open a session for who pastes a token. The role of switches has no page."""
    fields = await fields_of(request)
    mine = request.cookies.get(_FORM_COOKIE, "")
    check_origin(request, fields, mine or secrets.token_urlsafe())
    back, token = way_back(fields.get("next", "/")), fields.get("token", "")
    try:
        client = parts_of(request).auth.recognise(
            token[: TOKEN_CHARACTERS_MAX + 1],
            address=_address(request),
            route="/sign-in",
            request_id=request.scope["state"]["request_id"],
        )
    except ProblemError as problem:
        request.scope["state"]["problem"] = problem.kind
        return _form(request, back, problem)
    if client.role is ClientRole.SWITCH:
        text = noted(
            "this token is for a switch; the page takes the role viewer, partner or operator"
        )
        return _form(request, back, ProblemError(ProblemKind.WRONG_ROLE, text))
    parts = page_parts_of(request)
    cookie = await parts.sessions.begin(token)
    audit.info("signed in", extra={"client": client.name, "address": _address(request)})
    start = "/lists" if client.role is ClientRole.PARTNER and back == "/" else back
    answer = see_other(start)
    answer.set_cookie(
        cookie_name(request),
        cookie,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    answer.delete_cookie(_FORM_COOKIE, path="/sign-in")
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    try:
        visit = await visit_of(request)
    except ElsewhereError:  # it ended by its time
        return see_other("/sign-in")
    check_origin(request, await fields_of(request), visit.session.csrf)
    await visit.parts.sessions.end(visit.cookie)
    audit.info("signed out", extra={"client": visit.client.name, "address": _address(request)})
    answer = see_other("/sign-in")
    answer.delete_cookie(
        cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True
    )
    return answer


@router.post("/theme")
async def theme(request: Request) -> Response:
    """Keep the colours in the browser: light, dark, or as the system has them."""
    visit = await visit_of(request)
    fields = await fields_of(request)
    check_origin(request, fields, visit.session.csrf)
    answer = see_other(way_back(fields.get("back", "/")))
    wanted = fields.get("theme", "")
    if wanted in THEMES:
        answer.set_cookie(
            THEME_COOKIE, wanted, max_age=_YEAR_S, path="/", httponly=True, samesite="strict"
        )
    else:
        answer.delete_cookie(THEME_COOKIE, path="/")
    return answer


@router.post("/language")
async def language(request: Request) -> Response:
    """Keep the language in the browser, or take that of the browser's settings. No session."""
    fields = await fields_of(request)
    if from_elsewhere(request.scope["headers"]):
        raise ProblemError(ProblemKind.FORGED, noted("this form did not come from a page of ours"))
    answer = see_other(way_back(fields.get("back", "/")))
    wanted = fields.get("language", "")
    if wanted in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, wanted, max_age=_YEAR_S, path="/", httponly=True, samesite="lax"
        )
    else:
        answer.delete_cookie(LANGUAGE_COOKIE, path="/")
    return answer


def _form(
    request: Request, back: str, problem: ProblemError | None = None, *, undone: bool = False
) -> Response:
    mine = request.cookies.get(_FORM_COOKIE, "") or secrets.token_urlsafe(24)
    status = 200 if problem is None else problem.status
    answer = page(
        request,
        "sign_in.html",
        status,
        csrf=mine,
        back=back,
        undone=undone,
        wrong="" if problem is None else problem.detail,
    )
    if problem is not None:
        answer.headers.update(
            {name: value for name, value in problem.headers.items() if name == "Retry-After"}
        )
    answer.set_cookie(
        _FORM_COOKIE,
        mine,
        path="/sign-in",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""
