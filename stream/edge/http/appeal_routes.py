"""Routes for appeals: of blocked callers, and of operators who answer.

A caller needs no token. The decision's id, which is in the answer to the blocked call, is enough to
ask about it and to appeal. The answer has masked numbers and contacts. A rate limit for each
address bounds the cost.
"""

from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from stream.appeals.appeal_json import public_json
from stream.core.model.appeal import APPELLANT_CHARS_MAX, COMMENT_CHARS_MAX, AppealState
from stream.core.model.decision import Decision, Verdict
from stream.core.model.free_text import line_of
from stream.core.numbers.number import masked
from stream.edge.http.api.answers import AppealAnswered, DecisionAnswer, answered
from stream.edge.http.bodies import FORM, JSON
from stream.edge.http.dependencies import Parts, PartsHere, needs
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import page, see_other, wants_page
from stream.edge.http.tokens import Client, ClientRole
from stream.lists.store.heads import By
from stream.ops.clock import now_s

router = APIRouter(prefix="/v1", tags=["redress"])

QUEUE_MAX: Final = 200  # appeals of one answer
_DecisionId = Annotated[
    str, Path(description="As in the Reason header of the blocked call.", max_length=32)
]
_AppealId = Annotated[str, Path(description="As the appeal was answered.", max_length=32)]
_PAGE: Final[dict[str, Any]] = {"text/html": {}}
_APPEAL: Final[dict[str, Any]] = {**_PAGE, **answered(AppealAnswered)}
_ANSWERED: Final[Any] = {
    200: {"description": "The appeal.", "content": _APPEAL},
    404: {"description": "There is none of that id."},
}


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    decision_id: str
    contact: str = ""
    reason: str = ""


class _Comment(msgspec.Struct, forbid_unknown_fields=True):
    comment: str


class AppealAnswer(StrEnum):
    """Answer of an operator to an appeal."""

    FORWARD = "forward"
    REDRESS = "redress"
    REJECT = "reject"


STATES: Final = {
    AppealAnswer.FORWARD: AppealState.PENDING_OWNER,
    AppealAnswer.REDRESS: AppealState.REDRESSED,
    AppealAnswer.REJECT: AppealState.REJECTED,
}
"""The state of an appeal after each answer."""


def _body(properties: dict[str, Any], required: str, *kinds: str) -> dict[str, Any]:
    """Return the description of a body: an object of `properties`, in one of `kinds`."""
    schema = {
        "type": "object",
        "required": [required],
        "additionalProperties": False,
        "properties": properties,
    }
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def _pace(request: Request, parts: Parts) -> None:
    """Count a question of the request's address. Raises ProblemError above the rate limit."""
    address = request.client.host if request.client is not None else ""
    wait_s = parts.appeals.rate_limit.take(address)
    if wait_s:
        text = "too many questions from your address; wait a little"
        raise ProblemError(ProblemKind.TOO_MANY_REFUSALS, text, retry_after_s=int(wait_s) + 1)


async def _found(parts: Parts, decision_id: str) -> Decision:
    decision = await parts.appeals.find(decision_id)
    if decision is None:
        days = parts.appeals.decisions.days
        text = f"there is no decision of this id, or it is older than {days} days, or over"
        raise ProblemError(ProblemKind.NOT_FOUND, text)
    return decision


@router.get(
    "/decisions/{decision_id}",
    summary="What was decided about a call, and whom to ask",
    responses={
        200: {"description": "The decision.", "content": {**_PAGE, **answered(DecisionAnswer)}},
        404: {"description": "Never, or too long ago."},
    },
)
async def decision(request: Request, parts: PartsHere, decision_id: _DecisionId) -> Response:
    """For the carrier of a caller who was blocked, who has the id from the SIP answer. No token.

    Numbers are masked. A browser gets a page with a form to appeal.
    """
    _pace(request, parts)
    found = await _found(parts, decision_id)
    appeal = await parts.appeals.store.of_decision(found.decision_id)
    because = parts.appeals.because(found)
    said: dict[str, Any] = {
        "decision_id": found.decision_id,
        "verdict": found.verdict,
        "simulated": found.simulated,
        "number": None if found.number is None else masked(found.number),
        "role": found.role,
        "decided_at": found.decided_at,
        "expires_at": found.expires_at,
        "rule": found.rule,
        "because": [
            {
                "list": one.list,
                "owner": one.owner,
                "category": one.category,
                "confirmed": one.confirmed,
                "contact": one.contact or None,
            }
            for one in because
        ],
        "appeal": None if appeal is None else public_json(appeal, now_s()),
        "how_to_appeal": "POST /v1/appeals with decision_id, contact and reason",
    }
    if not wants_page(request):
        return JSONResponse(said)
    blocked = found.verdict == Verdict.BLOCK and not found.simulated
    return page(
        request,
        "decision.html",
        said=said,
        # The id of a prefix's key stands for no one number.
        number=said["number"] or masked(found.entry_of(found.reasons[0]) or "" if because else ""),
        because=because,
        blocked=blocked,
        rule=parts.appeals.rule(found),
        most={"contact": APPELLANT_CHARS_MAX, "reason": COMMENT_CHARS_MAX},
    )


@router.post(
    "/appeals",
    status_code=201,
    summary="Appeal against a decision",
    responses={
        200: {"description": "The appeal that is open on this number already.", "content": _APPEAL},
        303: {"description": "A browser is sent to the appeal's page."},
        201: {
            "description": "The appeal; Location says where to ask for its answer.",
            "content": answered(AppealAnswered),
        },
    },
    openapi_extra=_body(
        {
            "decision_id": {"type": "string", "maxLength": 32},
            "contact": {"type": "string", "maxLength": APPELLANT_CHARS_MAX},
            "reason": {"type": "string", "maxLength": COMMENT_CHARS_MAX},
        },
        "decision_id",
        *(JSON, FORM),
    ),
)
async def appeal(request: Request, parts: PartsHere) -> Response:
    """Say that a number is blocked wrongly. No token is needed; `contact` is how you are answered.

    A number has one open appeal at a time: another one is answered with the first.
    """
    _pace(request, parts)
    asked = await _asked(request)
    found = await _found(parts, asked.decision_id)
    made, is_new = await parts.appeals.appeal(found, asked.contact, By("http", asked.reason))
    where = f"/v1/appeals/{made.id}"
    if wants_page(request):
        return see_other(where)  # an address to keep, safe to reload
    status = 201 if is_new else 200
    return JSONResponse(public_json(made, now_s()), status_code=status, headers={"Location": where})


async def _asked(request: Request) -> _Asked:
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == FORM:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10))
            asked = msgspec.convert(fields, _Asked)
        elif kind == JSON:
            asked = msgspec.json.decode(body, type=_Asked)
        else:
            raise ProblemError(ProblemKind.UNSUPPORTED, f"takes {JSON} or {FORM}")
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        text = "takes decision_id, contact and reason, each a text"
        raise ProblemError(ProblemKind.MALFORMED, text) from error
    return _Asked(
        asked.decision_id,
        _line(asked.contact, "contact", APPELLANT_CHARS_MAX),
        _line(asked.reason, "reason", COMMENT_CHARS_MAX),
    )


def _line(text: str, what: str, most: int) -> str:
    """Return a text from a client, on one line. Raises ProblemError."""
    try:
        return line_of(text, what, most)
    except ValueError as error:
        raise ProblemError(ProblemKind.MALFORMED, str(error)) from error


@router.get(
    "/appeals",
    summary="The queue of appeals",
    dependencies=[needs(ClientRole.VIEWER)],
    responses={
        200: {
            "description": "Appeals, newest first.",
            "content": {**_PAGE, **answered(list[AppealAnswered])},
        }
    },
)
async def queue(
    request: Request,
    parts: PartsHere,
    state: Annotated[AppealState, Query(description="Their state.")] = AppealState.RECEIVED,
    limit: Annotated[int, Query(ge=1, le=QUEUE_MAX)] = 50,
) -> Response:
    """Those in one state. A browser is asked for a token as the password, and gets a page."""
    found = await parts.appeals.store.in_state(state, limit)
    appeals = [public_json(one, now_s()) for one in found]
    if wants_page(request):
        return page(request, "queue.html", appeals=appeals, state=state, states=list(AppealState))
    return JSONResponse(appeals)


@router.get("/appeals/{appeal_id}", summary="The state of an appeal", responses=_ANSWERED)
async def standing(request: Request, parts: PartsHere, appeal_id: _AppealId) -> Response:
    """For who made it, by its id. No token."""
    _pace(request, parts)
    found = public_json(await parts.appeals.store.get(appeal_id), now_s())
    if wants_page(request):
        return page(request, "appeal.html", appeal=found)
    return JSONResponse(found)


@router.post(
    "/appeals/{appeal_id}/{answer}",
    summary="Answer an appeal",
    responses={**_ANSWERED, 409: {"description": "Its state does not allow the step."}},
    openapi_extra=_body(
        {"comment": {"type": "string", "minLength": 1, "maxLength": COMMENT_CHARS_MAX}},
        "comment",
        JSON,
    ),
)
async def answer_appeal(
    request: Request,
    parts: PartsHere,
    client: Annotated[Client, needs()],
    appeal_id: _AppealId,
    answer: AppealAnswer,
) -> Response:
    """`forward` asks the list's owner, `redress` lets the number through within a second.

    The comment goes to the appellant, and into the audit.
    """
    # Another site can have a signed-in browser send a form, but not JSON: no forged answers.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ProblemError(ProblemKind.UNSUPPORTED, f"takes {JSON}")
    try:
        comment = msgspec.json.decode(await request.body(), type=_Comment).comment
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(ProblemKind.MALFORMED, "takes a comment, a text") from error
    said = _line(comment, "comment", COMMENT_CHARS_MAX)
    if not said:
        raise ProblemError(ProblemKind.MALFORMED, "the comment must say something")
    by = By(f"http:{client.name}", said)
    answered = await parts.appeals.answer(appeal_id, STATES[answer], by)
    return JSONResponse(public_json(answered, now_s()))
