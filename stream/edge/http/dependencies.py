"""Parts that routes share, made by the service; and the dependency that names a route's roles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from stream.calls.lookup import Lookup
from stream.edge.http.api.push_intake import PushIntake
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import Auth, from_elsewhere
from stream.edge.http.blocklist import Blocklist
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.record_intake import RecordIntake
from stream.edge.http.settings import ServeSettings
from stream.edge.http.tokens import Client, ClientRole
from stream.ops.health_server import Readiness
from stream.ops.metrics.http_catalogue import ServeMetrics


@dataclass(slots=True, kw_only=True)
class Parts:
    """The parts that routes share; one set in each process."""

    settings: ServeSettings
    auth: Auth
    metrics: ServeMetrics
    readiness: Callable[[], Readiness]
    lookup: Lookup
    intake: RecordIntake
    appeals: AppealService
    blocklist: Blocklist
    push: PushIntake
    record_bytes_max: int


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that serves `request`."""
    return cast("Parts", request.app.state.parts)


PartsHere = Annotated[Parts, Depends(parts_of)]
"""The type of a route's argument with the parts."""

_SAFE: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing here."""
_BEARER = HTTPBearer(
    auto_error=False, description="A token that `ringfence token create` made, of a role that may."
)


def needs(*roles: ClientRole) -> Any:
    """Return a dependency that admits clients of `roles` and operators, and gives the `Client`."""
    wanted = frozenset({*roles, ClientRole.OPERATOR})

    async def admitted(request: Request, _: Annotated[object, Depends(_BEARER)]) -> Client:
        client = parts_of(request).auth.admit(
            request.scope["headers"],
            wanted,
            address=request.client.host if request.client is not None else "",
            route=getattr(request.scope.get("route"), "path", ""),
            request_id=request.scope["state"]["request_id"],
        )
        # A browser that knows a token by Basic adds it to every request that any site makes it
        # send.
        if request.method not in _SAFE and from_elsewhere(request.scope["headers"]):
            text = "another site had your browser send this; nothing was done"
            raise ProblemError(ProblemKind.FORGED, text)
        return client

    return Depends(admitted)
