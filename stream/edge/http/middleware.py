"""Middleware of every request: its id, its body's limits, and one line of the access log.

It bounds the size and the time of a body, and the size of all bodies together. The log names the
route's pattern, never the address itself: that holds numbers.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.edge.http.problems import MEDIA_TYPE, ProblemError, ProblemKind
from stream.edge.http.settings import ServeSettings
from stream.ops.clock import monotonic_s
from stream.ops.metrics.http_catalogue import ServeMetrics

access = logging.getLogger("stream.edge.http.access")

REQUEST_ID: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
BODY_HEADERS: Final = (b"content-length", b"transfer-encoding")
NO_ROUTE: Final = "none"
_POLICY: Final = (
    b"default-src 'none'",
    b"script-src 'self'",
    b"style-src 'self'",
    b"img-src 'self'",
    b"connect-src 'self'",
    b"form-action 'self'",
    b"base-uri 'none'",
    b"frame-ancestors 'none'",
)
FIXED_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: with it browsers do not say from which site a form comes.
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"; ".join(_POLICY)),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
NOT_STORED: Final = (b"cache-control", b"no-store")
RETRY_S: Final = 1
_FILES: Final = re.compile(r"/v1/feeds/[^/]+/versions|/files/(?:look|calls|submit)")
"""Addresses whose body is a file: it is written to disk as it comes, so no memory holds it."""
_PROCESS: Final = secrets.token_hex(4)
_count = count()
LINGER_S: Final = 1.0
"""Time for the rest of an unread body before the close: see `_RequestState.send`."""


def request_id_of(given: Iterable[bytes]) -> str:
    """Return the last right one of the ids that a request gives itself, or a new one."""
    found = ""
    for value in given:
        if _REQUEST_ID.fullmatch(value):
            found = value.decode()
    return found or f"{_PROCESS}{next(_count) & 0xFFFFFFFF:08x}"


class _ClientLeft(Exception):
    """The client is gone."""


class Middleware:
    """The layer. `app` gets requests whose `state` holds `request_id`."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: ServeMetrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._bodies_bytes = 0
        # Cached: a lookup would otherwise spend a tenth of its time on labels.
        self._answered = cache(lambda route, status: metrics.requests.labels(route, str(status)))
        self._took = cache(metrics.request.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the application's start and end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passing = _RequestState(scope, receive, send, _FILES.fullmatch(scope["path"]) is not None)
        scope["state"]["request_id"] = passing.request_id
        try:
            self._refuse_declared(passing)
            await self._app(scope, lambda: self._receive(passing), passing.send)
        except ProblemError as problem:
            # Also from `LookupMiddleware`, which answers before the framework.
            scope["state"]["problem"] = problem.kind
            await passing.answer(problem)
        except (_ClientLeft, ClientDisconnect):
            passing.status = 0  # counted as 499, as in nginx
            # The framework took it for a fault of ours on its way up.
            scope["state"].pop("problem", None)
        finally:
            if not passing.is_file:
                self._hold(-passing.body_bytes)
            self._note(passing)

    def _refuse_declared(self, passing: "_RequestState") -> None:
        """Refuse a body by its Content-Length, without reading it."""
        for name, value in passing.scope["headers"]:
            if name == b"content-length" and int(value) > self._bytes_max(passing):
                raise self._too_large(passing)

    def _bytes_max(self, passing: "_RequestState") -> int:
        settings = self._settings
        return settings.file_bytes_max if passing.is_file else settings.body_bytes_max

    async def _receive(self, passing: "_RequestState") -> Message:
        if passing.body_whole:
            return await passing.receive()
        settings = self._settings
        within_s = settings.file_s_max if passing.is_file else settings.body_s_max
        left_s = passing.started_s + within_s - monotonic_s()
        try:
            async with asyncio.timeout(max(left_s, 0)):
                message = await passing.receive()
        except TimeoutError:
            text = f"the body did not come within {within_s:g} s"
            raise passing.refused(ProblemError(ProblemKind.TOO_SLOW, text)) from None
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        if message["type"] == "http.request":
            got = len(message.get("body", b""))
            passing.body_bytes += got
            passing.body_whole = not message.get("more_body", False)
            if not passing.is_file:
                self._hold(got)
            if passing.body_bytes > self._bytes_max(passing):
                raise passing.refused(self._too_large(passing))
            if not passing.is_file and self._bodies_bytes > settings.bodies_bytes_max:
                text = "the bodies of all requests together fill what is set aside for them"
                busy = ProblemError(ProblemKind.BUSY, text, retry_after_s=RETRY_S)
                raise passing.refused(busy)
        return message

    def _hold(self, count: int) -> None:
        self._bodies_bytes += count
        self._metrics.bodies.set(self._bodies_bytes)

    def _too_large(self, passing: "_RequestState") -> ProblemError:
        name = "file_bytes_max" if passing.is_file else "body_bytes_max"
        text = f"a body may have {self._bytes_max(passing)} bytes ([serve] {name})"
        return ProblemError(ProblemKind.TOO_LARGE, text)

    def _note(self, passing: "_RequestState") -> None:
        state = passing.scope["state"]
        route = state.get("route") or getattr(passing.scope.get("route"), "path", NO_ROUTE)
        took_s = monotonic_s() - passing.started_s
        status = passing.status or 499
        self._answered(route, status).inc()
        self._took(route).observe(took_s)
        problem = state.get("problem")
        if problem is not None:
            self._metrics.problems.labels(problem).inc()
        if access.isEnabledFor(logging.INFO) and not state.get("quiet"):
            access.info(
                "%s %s %d",
                *(passing.scope["method"], route, status),
                extra={
                    "ms": round(took_s * 1000, 2),
                    "request_id": passing.request_id,
                    "body_bytes": passing.body_bytes,
                    **({"problem": problem} if problem is not None else {}),
                },
            )


class HeadAsGet:
    """Answers HEAD as GET, without the body (RFC 9110, 9.3.2): FastAPI's routes answer it 405.

    Load balancers and uptime checks ask so by default.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, HEAD as GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: by its own scope the server knows that no body follows.
        asked = {**scope, "method": "GET"}
        is_over = False

        async def without_body(message: Message) -> None:
            nonlocal is_over
            if message["type"] != "http.response.body":
                await send(message)
            elif not is_over:
                is_over = True  # so a stream learns that its client is gone
                await send({"type": "http.response.body", "body": b""})

        try:
            await self._app(asked, receive, without_body)
        finally:
            scope["route"] = asked.get("route")


@dataclass(slots=True)
class _RequestState:
    """State of one request."""

    scope: Scope
    receive: Receive
    forward: Send
    is_file: bool = False
    started_s: float = field(default_factory=monotonic_s)
    body_bytes: int = 0
    body_whole: bool = False
    status: int = 0
    request_id: str = ""

    def __post_init__(self) -> None:
        given = [value for name, value in self.scope["headers"] if name == REQUEST_ID]
        self.request_id = request_id_of(given)
        lengths = [value for name, value in self.scope["headers"] if name in BODY_HEADERS]
        self.body_whole = lengths in ([], [b"0"])

    async def send(self, message: Message) -> None:
        """Send a part of the answer.

        An answer to a body that was not read to its end closes the connection. Closing on unread
        bytes is a reset, at which clients lose the answer that they have. So the rest of the body
        is read and dropped for a moment first.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = list(message.get("headers", ()))
            given = {name for name, _ in headers}
            headers += [(name, value) for name, value in FIXED_HEADERS if name not in given]
            if b"cache-control" not in given:
                headers.append(NOT_STORED)
            headers.append((REQUEST_ID, self.request_id.encode()))
            if not self.body_whole:
                headers.append((b"connection", b"close"))
        elif not self.body_whole and not message.get("more_body", False):
            await self.forward({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self.forward(message)

    def refused(self, problem: ProblemError) -> ProblemError:
        """Keep it in the state: FastAPI replaces an error raised while it reads a body."""
        self.scope["state"]["refusal"] = problem
        return problem

    async def answer(self, problem: ProblemError) -> None:
        """Answer with the problem, if no answer has begun."""
        if self.status:
            return
        body = problem.body(self.request_id)
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
        ]
        start: dict[str, Any] = {"type": "http.response.start", "status": problem.status}
        await self.send({**start, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self.body_whole:
                    message = await self.receive()
                    self.body_whole = not message.get("more_body", False)
