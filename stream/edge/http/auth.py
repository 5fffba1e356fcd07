"""Authentication by token: a client and its role, or 401, 403, and 429 after too many refusals.

Only refusals are limited. A right token is never refused for what others did from the same address,
so a carrier cannot be locked out. Each refusal within the limit is a line of the audit log; those
beyond it are only counted.
"""

import base64
import binascii
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole, Tokens
from stream.ops.clock import monotonic_s, now_s

audit = logging.getLogger("stream.edge.http.audit")

_WHO_MAX: Final = 10_000
"""Addresses whose refusals are remembered; the longest unused is forgotten first."""
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="ringfence", Basic realm="ringfence"'}


@dataclass(slots=True)
class RateLimit:
    """At most `per_minute` of something for each client, evenly, with a burst of as many."""

    per_minute: int
    clock: Callable[[], float] = monotonic_s
    _left: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)

    def take(self, who: str) -> float:
        """Count one more of `who`; return 0 if it is allowed, else the seconds to wait."""
        now_s = self.clock()
        left, at_s = self._left.pop(who, (float(self.per_minute), now_s))
        left = min(self.per_minute, left + (now_s - at_s) * self.per_minute / 60)
        wait_s = 0.0 if left >= 1 else (1 - left) * 60 / self.per_minute
        self._left[who] = (left - 1 if wait_s == 0.0 else left, now_s)
        if len(self._left) > _WHO_MAX:
            self._left.popitem(last=False)
        return wait_s


class Auth:
    """Check of a request's `Authorization`. `clock` gives seconds since the epoch, for expiries."""

    def __init__(
        self, tokens: Tokens, refusals_per_minute: int, clock: Callable[[], int] = now_s
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._pace = RateLimit(refusals_per_minute)
        # A switch asks a thousand times a second with one header; its hash is looked up once.
        self._known: dict[bytes, Client] = {}

    def take_up(self, tokens: Tokens) -> None:
        """Replace the tokens; one that is not among them opens nothing any more."""
        self._tokens = tokens
        self._known.clear()

    def admit(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        roles: frozenset[ClientRole],
        *,
        address: str,
        route: str,
        request_id: str,
    ) -> Client:
        """Return the client, if it has one of `roles`. Raises ProblemError.

        `address` is where the request came from, `route` the route's pattern.
        """
        given = [value for name, value in headers if name == b"authorization"]
        client = self._client_of(given[0]) if len(given) == 1 else None
        over = client is not None and client.expired(self._clock())
        if client is None or over:
            what = "the token has expired" if over else _unknown(len(given))
            text = f"{what}; send `Authorization: Bearer <token>`"
            problem = ProblemError(ProblemKind.NOT_AUTHENTICATED, text, headers=_CHALLENGE)
            who, name = address, ""
        elif client.role not in roles:
            needed = " or ".join(sorted(roles))
            text = f"this takes the role {needed}; {client.name} has the role {client.role}"
            problem = ProblemError(ProblemKind.WRONG_ROLE, text)
            who, name = f"client {client.name}", client.name
        else:
            return client
        raise self._refused(problem, who, name, address, route, request_id)

    def admits(self, header: bytes, roles: frozenset[ClientRole]) -> bool:
        """Return whether `admit` lets in the one `Authorization` of a request. Counts nothing."""
        client = self._client_of(header)
        return client is not None and client.role in roles and not client.expired(self._clock())

    def recognise(self, token: str, *, address: str, route: str, request_id: str) -> Client:
        """Return the client of a pasted token. Raises ProblemError; guesses are limited."""
        client = self._tokens.client_of(token.strip())
        if client is not None and not client.expired(self._clock()):
            return client
        text = noted("the token has expired") if client is not None else _unknown(1)
        problem = ProblemError(ProblemKind.NOT_AUTHENTICATED, text)
        raise self._refused(problem, address, "", address, route, request_id)

    def still(self, digest: bytes) -> Client | None:
        """Return the client whose token has this SHA-256; None: there is none, or it expired."""
        client = self._tokens.client_by(digest)
        return None if client is None or client.expired(self._clock()) else client

    def _refused(
        self, problem: ProblemError, who: str, name: str, address: str, route: str, request_id: str
    ) -> ProblemError:
        """Log the refusal and return `problem`, or the one of too many refusals."""
        wait_s = self._pace.take(who)
        if wait_s:
            return ProblemError(
                ProblemKind.TOO_MANY_REFUSALS,
                noted("too many requests without a right token or role; wait, then try with one"),
                retry_after_s=int(wait_s) + 1,
            )
        audit.warning(
            "refused: %s",
            problem.kind,
            extra={"client": name, "address": address, "route": route, "request_id": request_id},
        )
        return problem

    def _client_of(self, header: bytes) -> Client | None:
        if header in self._known:
            return self._known[header]
        client = self._tokens.client_of(_token_in(header))
        if client is not None and len(self._known) < _WHO_MAX:
            self._known[header] = client
        return client


def from_elsewhere(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a browser's headers name another site as the sender. Programs send none."""
    given = dict(headers)
    site, origin = given.get(b"sec-fetch-site"), given.get(b"origin")
    if site not in {None, b"same-origin"}:
        return True
    return origin is not None and origin.partition(b"://")[2] != given.get(b"host")


def _unknown(count: int) -> str:
    """Return the fault of so many `Authorization` fields without a client."""
    if count > 1:
        return noted("Authorization came more than once")  # a proxy may have checked the other one
    return noted("the token is unknown") if count else noted("no token came")


def _token_in(header: bytes) -> str:
    """Return the token of a `Bearer` header, or the password of a `Basic` one (RFC 7617).

    FreeSWITCH's mod_json_cdr can only send Basic. The user name is ignored.
    """
    scheme, _, value = header.decode("latin-1").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return decoded.partition(":")[2]
