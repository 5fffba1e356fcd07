"""Answers to requests that fail: RFC 9457, `application/problem+json`.

No answer quotes the request: it may hold a subscriber's number. Places (line, index, field) say
where the fault is.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from stream.core.model.errors import (
    AppealRefused,
    AppealUnknown,
    ChangeConflict,
    Fault,
    ListStoreDown,
    ListStoreLost,
    ListStoreUnsafe,
    ListUnknown,
)
from stream.edge.http.languages import noted
from stream.edge.http.rendering import page, wants_page

MEDIA_TYPE: Final = "application/problem+json"
_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
ERRORS_MAX: Final = 100
"""Faults of one request that are listed; the count has all."""


class ProblemKind(StrEnum):
    """Kind of fault of a request, a closed list: problem type and label of a metric."""

    NOT_AUTHENTICATED = "not-authenticated"
    WRONG_ROLE = "wrong-role"
    FORGED = "forged-form"
    TOO_MANY_REFUSALS = "too-many-refusals"
    MALFORMED = "malformed"
    NOT_FOUND = "not-found"
    METHOD = "method-not-allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    HEADERS_TOO_LARGE = "headers-too-large"
    UNSUPPORTED = "unsupported-media-type"
    KEY_REUSED = "idempotency-key-reused"
    VERSION_REFUSED = "version-refused"
    BUSY = "busy"
    KAFKA_DOWN = "kafka-down"
    REGISTER_DOWN = "register-down"
    NOT_READY = "not-ready"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    BUG = "internal-error"


_STATUS: Final = {
    ProblemKind.NOT_AUTHENTICATED: 401,
    ProblemKind.WRONG_ROLE: 403,
    ProblemKind.FORGED: 403,
    ProblemKind.TOO_MANY_REFUSALS: 429,
    ProblemKind.MALFORMED: 400,
    ProblemKind.NOT_FOUND: 404,
    ProblemKind.METHOD: 405,
    ProblemKind.CONFLICT: 409,
    ProblemKind.TOO_LARGE: 413,
    ProblemKind.TOO_SLOW: 408,
    ProblemKind.HEADERS_TOO_LARGE: 431,
    ProblemKind.UNSUPPORTED: 415,
    ProblemKind.KEY_REUSED: 422,
    ProblemKind.VERSION_REFUSED: 422,
    ProblemKind.BUSY: 503,
    ProblemKind.KAFKA_DOWN: 503,
    ProblemKind.REGISTER_DOWN: 503,
    ProblemKind.NOT_READY: 503,
    ProblemKind.TOO_MANY_CONNECTIONS: 503,
    ProblemKind.BUG: 500,
}
_FAULTS: Final[Mapping[type[Fault], ProblemKind]] = {
    AppealUnknown: ProblemKind.NOT_FOUND,
    AppealRefused: ProblemKind.CONFLICT,
    ListStoreDown: ProblemKind.REGISTER_DOWN,
    ListStoreUnsafe: ProblemKind.REGISTER_DOWN,
    ListStoreLost: ProblemKind.REGISTER_DOWN,
    ChangeConflict: ProblemKind.CONFLICT,
    ListUnknown: ProblemKind.NOT_FOUND,
}
_KIND_OF: Final = {404: ProblemKind.NOT_FOUND, 405: ProblemKind.METHOD, 413: ProblemKind.TOO_LARGE}


class ProblemError(Exception):
    """Ends a request with this answer. `retry_after_s` is for faults that pass by themselves.

    `more` are further members of the answer, `errors` single faults with their places.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        self.more = more

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.kind]

    def body(self, request_id: str) -> bytes:
        """Return the answer's JSON."""
        status = self.status
        content: dict[str, Any] = {
            "type": f"urn:ringfence:problem:{self.kind}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }
        if self.errors:
            content["errors"] = self.errors[:ERRORS_MAX]
            content["error_count"] = len(self.errors)
        return msgspec.json.encode(content)


def _allowed(request: Request) -> list[str]:
    """Return all methods of an address; the framework names those of the first route only.

    Where GET is, HEAD is too: `HeadAsGet` answers it.
    """
    found = {
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def handle_problems(app: FastAPI) -> None:
    """Have `app` answer every fault as a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        request.scope["state"]["problem"] = error.kind
        request_id = request.scope["state"].get("request_id", "")
        if wants_page(request):
            title = HTTPStatus(error.status).phrase
            given = {"title": title, "detail": error.detail, "request_id": request_id}
            answer = page(request, "problem.html", error.status, **given)
            answer.headers.update(error.headers)
            return answer
        body = error.body(request_id)
        return Response(body, error.status, error.headers, MEDIA_TYPE)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"field": ".".join(map(str, one["loc"])), "reason": one["msg"]}
            for one in error.errors()
        ]
        text = noted("the request does not have the fields that this address takes")
        return await ours(request, ProblemError(ProblemKind.MALFORMED, text, errors=errors))

    async def others(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = request.scope["state"].get("refusal")
        if refusal is not None:
            return await ours(request, refusal)
        kind = _KIND_OF.get(error.status_code, ProblemKind.MALFORMED)
        text = {
            ProblemKind.NOT_FOUND: noted(
                "there is nothing at this address; /docs lists what there is"
            ),
            ProblemKind.METHOD: noted("this address does not take that method"),
        }.get(kind, noted("the request cannot be read"))
        headers = dict(error.headers or {})
        if kind is ProblemKind.METHOD and (allowed := _allowed(request)):
            headers["Allow"] = ", ".join(allowed)
            text = f"this address takes {headers['Allow']}"
        return await ours(request, ProblemError(kind, text, headers=headers))

    async def bug(request: Request, _: Exception) -> Response:
        text = noted("this is a fault of Ringfence; its log has the same request_id")
        return await ours(request, ProblemError(ProblemKind.BUG, text))

    async def fault(request: Request, error: Exception) -> Response:
        kind = next(kind for known, kind in _FAULTS.items() if isinstance(error, known))
        wait_s = 1 if kind is ProblemKind.REGISTER_DOWN else None
        text = {
            ProblemKind.REGISTER_DOWN: noted("the list store does not answer"),
            ProblemKind.NOT_FOUND: noted("there is nothing of this id"),
        }.get(kind, str(error))
        return await ours(request, ProblemError(kind, text, retry_after_s=wait_s))

    app.add_exception_handler(ProblemError, ours)
    for known in _FAULTS:
        app.add_exception_handler(known, fault)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, others)
    app.add_exception_handler(500, bug)
