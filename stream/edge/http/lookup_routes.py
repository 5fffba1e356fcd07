"""The routes of lookups. `GET /v1/decision` is answered before the framework is asked.

A proxy asks while a caller waits, thousands of times a second: FastAPI's own work would cost more
than the decision. The route below is there for its description; it answers the same by the same
functions.
"""

import asyncio
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from stream.calls.lookup import SHORT, TEXT_MAX, Question
from stream.core.numbers.spelling import utf8_or_latin
from stream.edge.http.api.answers import LookupAnswer, answered
from stream.edge.http.dependencies import Parts, PartsHere, needs
from stream.edge.http.middleware import (
    BODY_HEADERS,
    FIXED_HEADERS,
    NOT_STORED,
    REQUEST_ID,
    request_id_of,
)
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.ops.clock import monotonic_s

router = APIRouter(tags=["decisions"])

PATH: Final = "/v1/decision"
BATCH_MAX: Final = 10_000
"""Questions of one request: single lookups wait while they are decided."""
ROLES: Final = frozenset({ClientRole.SWITCH, ClientRole.VIEWER, ClientRole.OPERATOR})
_UNUSUAL: Final = frozenset({*BODY_HEADERS, b"expect"})
_LENGTH: Final = b"content-type: application/json\r\ncontent-length: "
_REST: Final = b"".join(b"\r\n%b: %b" % header for header in (*FIXED_HEADERS, NOT_STORED))
_CLOSE: Final = b"connection: close\r\n"
_FIELDS: Final = {name.encode(): name for name in Question.__struct_fields__}
_questions = msgspec.json.Decoder(list[Question]).decode
_EXAMPLE: Final = {
    "decision_id": "9YCST2XAX205H",
    "verdict": "block",
    "simulated": False,
    "rule": "list:TH/national",
    "number": "+447700900101",
    "role": "caller",
    "call_id": "c-1",
    "caller": "+447700900101",
    "callee": "+66812345678",
    "reasons": [
        {
            "list": "TH/national",
            "agreement": None,
            "category": "call_centre",
            "confirmed": True,
            "confidence": 68,
            "generation": 7,
            "expires_at": None,
        }
    ],
    "sip": {"code": 603, "phrase": "Network Blocked", "reason": "SIP;cause=603;text=..."},
    "called_at": None,
    "decided_at": "2026-11-25T17:20:01.828Z",
    "expires_at": "2026-11-26T17:20:01.000Z",
    "origin": "lookup/7/0",
    "fail_open": False,
    "lists_followed": True,
}
_NUMBER: Final = "as the switch has it: +66812345678, 0812345678, sip:...; absent: withheld"
_ASKED: Final = {
    "caller": _NUMBER,
    "callee": _NUMBER,
    "trunk": "its name in [trunks]",
    "ingress": "international or domestic; absent: as [trunks] says",
    "call_id": "comes back; absent: the request's id",
    "verstat": "TN-Validation-Passed, TN-Validation-Failed or No-TN-Validation (STIR/SHAKEN)",
    "attestation": "A, B or C (RFC 8588)",
    "passport": "the Identity field of the call, or its PASSporT; verified by [stir]",
}


def _length(name: str) -> dict[str, int]:
    return {"maxLength": TEXT_MAX} if name in SHORT else {}


def question_in(query: bytes) -> Question:
    """Return the question in a query string. Raises ProblemError.

    A + is a +, not a space: numbers begin with one, and switches write it as it is.
    """
    given: dict[str, str] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        field = _FIELDS.get(name)
        if field is None or field in given:
            raise _malformed(
                f"takes {', '.join(Question.__struct_fields__)}, each once; another was given"
            )
        given[field] = utf8_or_latin(unquote_to_bytes(value) if b"%" in value else value)
    question = Question(**given)
    wrong = question.wrong()
    if wrong is not None:
        raise _malformed(wrong)
    return question


def _malformed(what: str) -> ProblemError:
    return ProblemError(ProblemKind.MALFORMED, f"{PATH} {what}")


class LookupMiddleware:
    """Middleware that answers `GET /v1/decision` itself and passes everything else on."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        state, parts = scope["state"], self._parts
        state["route"] = PATH
        client = scope["client"]
        parts.auth.admit(
            scope["headers"],
            ROLES,
            address=client[0] if client else "",
            route=PATH,
            request_id=state["request_id"],
        )
        question = question_in(scope["query_string"])
        answer = await parts.lookup.one(question, state["request_id"])
        state["quiet"] = True  # a line for each call would be most of the log
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


class DirectLookup:
    """The short way, from the parsed head to the answer's bytes; a `http_server.Direct`.

    A lookup costs 15 us to decide. A task, ASGI's messages and the checks of headers that are
    always the same cost more. An unusual request (no right token, a body, a wrong question) goes
    the application's way, which alone refuses, counts refusals and writes the audit.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # Labels cost more than counting does.
        self._answered = parts.metrics.requests.labels(PATH, "200")
        self._took = parts.metrics.request.labels(PATH)

    def __call__(self, cycle: RequestResponseCycle) -> bool:
        """Begin to answer a request. False, and nothing was done: it goes the application's way."""
        scope = cycle.scope
        if scope["path"] != PATH or scope["method"] != "GET":
            return False
        started_s = monotonic_s()
        tokens, ids = [], []
        for name, value in scope["headers"]:
            if name == b"authorization":
                tokens.append(value)
            elif name == REQUEST_ID:
                ids.append(value)
            elif name in _UNUSUAL:
                return False
        if len(tokens) != 1 or not self._parts.auth.admits(tokens[0], ROLES):
            return False
        try:
            question = question_in(scope["query_string"])
        except ProblemError:
            return False
        request_id = request_id_of(ids)
        answer = self._parts.lookup.begin(question, request_id)
        answer.add_done_callback(partial(self._send, cycle, request_id, started_s))
        return True

    def _send(
        self,
        cycle: RequestResponseCycle,
        request_id: str,
        started_s: float,
        answer: "asyncio.Future[bytes]",
    ) -> None:
        body = answer.result()
        self._answered.inc()
        self._took.observe(monotonic_s() - started_s)
        if cycle.disconnected:
            return
        # As uvicorn's `send` leaves a cycle: its connection takes the next request by these.
        cycle.response_started = cycle.response_complete = True
        dated = [b"%b: %b\r\n" % header for header in cycle.default_headers]
        head = b"%b%d%b\r\nx-request-id: %b\r\n" % (_LENGTH, len(body), _REST, request_id.encode())
        end = b"\r\n" if cycle.keep_alive else _CLOSE + b"\r\n"
        cycle.transport.write(b"".join((STATUS_LINE[200], *dated, head, end, body)))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


@router.get(
    PATH,
    summary="What to do with one call",
    dependencies=[needs(ClientRole.SWITCH, ClientRole.VIEWER)],
    responses={
        200: {
            "description": "The decision, as on Kafka's topic, with `fail_open` and "
            "`lists_followed`.",
            "content": answered(LookupAnswer, example=_EXAMPLE),
        }
    },
    openapi_extra={
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": text,
                "schema": {"type": "string", **_length(name)},
            }
            for name, text in _ASKED.items()
        ]
    },
)
async def ask(request: Request, parts: PartsHere) -> Response:
    """The verdict that the stream gives for such a call, from memory: Kafka and Redis may be away.

    It fails open. Before any list is loaded the verdict is `allow` and `fail_open` is true. With
    the list store away, or while a list cannot be loaded, answers come from the last good lists,
    and `lists_followed` is false. No answer within the time that you have, or any status but 200:
    let the call go on.
    `rules_not_told` names rules that are on and go by what the number did before (`short_bursts`),
    which only the stream knows, or by STIR/SHAKEN, where the question has no `verstat`, no
    `attestation` and no `passport` that is verified; it is absent where there are none.
    """
    question = question_in(request.scope["query_string"])
    answer = await parts.lookup.one(question, request.scope["state"]["request_id"])
    return Response(answer, media_type="application/json")


@router.post(
    PATH,
    summary="What to do with many calls",
    dependencies=[needs(ClientRole.SWITCH, ClientRole.VIEWER)],
    responses={
        200: {
            "description": "The decisions, in the order of the questions.",
            "content": answered(list[LookupAnswer], example=[_EXAMPLE]),
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                name: {"type": ["string", "null"], **_length(name)}
                                for name in Question.__struct_fields__
                            },
                        },
                    },
                    "example": [{"caller": "+447700900101", "callee": "0812345678"}],
                }
            },
        }
    },
)
async def ask_many(request: Request, parts: PartsHere) -> Response:
    """An array of up to 10,000 questions with the fields of the single one."""
    questions = _questions_in(await request.body())
    answers = await parts.lookup.many(questions, request.scope["state"]["request_id"])
    return Response(b"[%b]" % b",".join(answers), media_type="application/json")


def _questions_in(body: bytes) -> list[Question]:
    try:
        questions = _questions(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = "takes a JSON array of questions"
        # msgspec names the place of a wrong type or name, never the value; of no JSON the byte.
        raise ProblemError(ProblemKind.MALFORMED, f"{PATH} {text}: {_where(error)}") from error
    if len(questions) > BATCH_MAX:
        raise ProblemError(ProblemKind.TOO_LARGE, f"{PATH} takes {BATCH_MAX} questions at once")
    errors: list[dict[str, Any]] = [
        {"index": index, "reason": wrong}
        for index, question in enumerate(questions)
        if (wrong := question.wrong()) is not None
    ]
    if errors:
        raise ProblemError(
            ProblemKind.MALFORMED, f"{PATH}: some of the questions cannot be asked", errors=errors
        )
    return questions


def _where(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.DecodeError) else "it is no text, or too deep"
