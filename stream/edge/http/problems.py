"""What a client is told when something is wrong: RFC 9457, `application/problem+json`.

No answer quotes what came: it may hold a subscriber's number. Places (line, index, field) say
where.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from stream.core.model.errors import (
    AppealRefused,
    AppealUnknown,
    ChangeConflict,
    Fault,
    ListStoreDown,
    ListStoreLost,
    ListStoreUnsafe,
)
from stream.edge.http.rendering import page, wants_page

MEDIA_TYPE: Final = "application/problem+json"
ERRORS_MAX: Final = 100
"""Faults of one request that are told one by one; the count tells of the rest."""


class Kind(StrEnum):
    """What can be wrong with a request, a closed list: problem type and label of a metric."""

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
    BUSY = "busy"
    KAFKA_DOWN = "kafka-down"
    REGISTER_DOWN = "register-down"
    NOT_READY = "not-ready"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    BUG = "internal-error"


_STATUS: Final = {
    Kind.NOT_AUTHENTICATED: 401,
    Kind.WRONG_ROLE: 403,
    Kind.FORGED: 403,
    Kind.TOO_MANY_REFUSALS: 429,
    Kind.MALFORMED: 400,
    Kind.NOT_FOUND: 404,
    Kind.METHOD: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.TOO_SLOW: 408,
    Kind.HEADERS_TOO_LARGE: 431,
    Kind.UNSUPPORTED: 415,
    Kind.BUSY: 503,
    Kind.KAFKA_DOWN: 503,
    Kind.REGISTER_DOWN: 503,
    Kind.NOT_READY: 503,
    Kind.TOO_MANY_CONNECTIONS: 503,
    Kind.BUG: 500,
}
_FAULTS: Final[Mapping[type[Fault], Kind]] = {
    AppealUnknown: Kind.NOT_FOUND,
    AppealRefused: Kind.CONFLICT,
    ListStoreDown: Kind.REGISTER_DOWN,
    ListStoreUnsafe: Kind.REGISTER_DOWN,
    ListStoreLost: Kind.REGISTER_DOWN,
    ChangeConflict: Kind.CONFLICT,
}
_KIND_OF: Final = {404: Kind.NOT_FOUND, 405: Kind.METHOD, 413: Kind.TOO_LARGE}


class ProblemError(Exception):
    """Ends a request with this answer. `retry_after_s` is for what passes by itself.

    `more` are further members of the answer, `errors` single faults with their places.
    """

    def __init__(
        self,
        kind: Kind,
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
        """The answer's JSON."""
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


def answer_of(problem: ProblemError, request_id: str) -> Response:
    """The same as a response."""
    return Response(
        problem.body(request_id),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def _allowed(request: Request) -> list[str]:
    """The methods of an address: the framework names those of the first route that it finds."""
    path = request.scope["path"]
    return sorted(
        method.upper()
        for pattern, methods in request.app.openapi()["paths"].items()
        if _is_of(path.split("/"), pattern.split("/"))
        for method in methods
    )


def _is_of(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path is one of a route's: a part in braces stands for any."""
    return len(parts) == len(pattern) and all(
        part == wanted or (wanted.startswith("{") and part != "")
        for part, wanted in zip(parts, pattern, strict=True)
    )


def handle_problems(app: FastAPI) -> None:
    """Let every fault of `app` be answered as a problem."""

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
        return answer_of(error, request_id)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"field": ".".join(map(str, one["loc"])), "reason": one["msg"]}
            for one in error.errors()
        ]
        text = "the request does not have the fields that this address takes"
        return await ours(request, ProblemError(Kind.MALFORMED, text, errors=errors))

    async def others(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = request.scope["state"].get("refusal")
        if refusal is not None:
            return await ours(request, refusal)
        kind = _KIND_OF.get(error.status_code, Kind.MALFORMED)
        text = {
            Kind.NOT_FOUND: "there is nothing at this address; /docs lists what there is",
            Kind.METHOD: "this address does not take that method",
        }.get(kind, "the request cannot be read")
        headers = dict(error.headers or {})
        if kind is Kind.METHOD and (allowed := _allowed(request)):
            headers["Allow"] = ", ".join(allowed)
        return await ours(request, ProblemError(kind, text, headers=headers))

    async def bug(request: Request, _: Exception) -> Response:
        text = "this is a fault of Ringfence; its log has the same request_id"
        return await ours(request, ProblemError(Kind.BUG, text))

    async def fault(request: Request, error: Exception) -> Response:
        kind = next(kind for known, kind in _FAULTS.items() if isinstance(error, known))
        wait_s = 1 if kind is Kind.REGISTER_DOWN else None
        text = {
            Kind.REGISTER_DOWN: "the register does not answer",
            Kind.NOT_FOUND: "there is nothing of this id",
        }.get(kind, str(error))
        return await ours(request, ProblemError(kind, text, retry_after_s=wait_s))

    app.add_exception_handler(ProblemError, ours)
    for known in _FAULTS:
        app.add_exception_handler(known, fault)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, others)
    app.add_exception_handler(500, bug)
