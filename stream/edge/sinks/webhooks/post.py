"""One try to deliver one event to one endpoint, and what came of it.

Redirects are not followed: they would lead signed decisions to whom nobody named. No message and no
log holds more of an address than its host: many people put a key into the path.
"""

import ssl
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Self

import aiohttp
from yarl import URL

from stream import __version__
from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.settings import PostSettings
from stream.edge.sinks.webhooks.address import PrivateAddress, PublicResolver, is_public, literal
from stream.edge.sinks.webhooks.cloud_event import Event, request_of, signed
from stream.edge.sinks.webhooks.handshake import Permit
from stream.feeds.transports.http_get import retry_after_s
from stream.ops.clock import now_s

_ANSWER_BYTES = 1 << 14
"""Read of an answer, so that the connection can be used again; a longer one closes it."""
_CONNECT_S = 10.0


class Result(StrEnum):
    """What came of one try: a closed list, each is a label."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """4xx: the receiver will not have this event, now or later."""
    REDIRECTED = "redirected"
    BUSY = "busy"
    """408, 425, 429, or 503 with Retry-After."""
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    PRIVATE_ADDRESS = "private_address"
    NOT_PERMITTED = "not_permitted"
    """It was asked whether it wants events of ours, and did not say so."""


class Tried(NamedTuple):
    """`status` 0: there was no answer. `wait_s`: not sooner than in so many seconds."""

    result: Result
    status: int = 0
    wait_s: float | None = None


class Post:
    """The way to one endpoint. Use `async with`."""

    def __init__(self, settings: PostSettings) -> None:
        self._settings = settings
        self._url = URL(settings.url)
        self._permit = Permit(settings.origin)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
        except OSError as error:
            text = f"sinks.webhooks: ca_file {settings.ca_file!r} cannot be used: {error.strerror}"
            raise ConfigInvalid((text,)) from error
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.parallel,
                ssl=context,
                resolver=None if settings.private_addresses else PublicResolver(),
            ),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s, sock_connect=_CONNECT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"User-Agent": f"ringfence/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, event: Event) -> Tried:
        """Try once; signed anew, as the time is part of it."""
        assert self._session is not None
        settings, host = self._settings, self._url.host or ""
        if not settings.private_addresses and literal(host) and not is_public(host):
            return Tried(Result.PRIVATE_ADDRESS)
        try:
            if not await self._permit.held(self._session, self._url):
                return Tried(Result.NOT_PERMITTED)
            headers, body = request_of(event, settings.mode, settings.source)
            headers |= signed(settings.secrets, event.id, now_s(), body)
            return await self._post(headers, body)
        except TimeoutError:  # aiohttp's own are among them
            return Tried(Result.TIMEOUT)
        except aiohttp.ClientConnectorCertificateError:
            return Tried(Result.CERTIFICATE)
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "os_error", None) or error.__cause__ or error
            if isinstance(cause, PrivateAddress):
                return Tried(Result.PRIVATE_ADDRESS)
            untrusted = isinstance(cause, ssl.SSLCertVerificationError)
            return Tried(Result.CERTIFICATE if untrusted else Result.UNREACHABLE)

    async def _post(self, headers: Mapping[str, str], body: bytes) -> Tried:
        assert self._session is not None
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), now_s())
            result = result_of(answer.status, waits=wait_s is not None)
            if result is Result.DELIVERED:
                await answer.content.read(_ANSWER_BYTES)
            else:
                answer.close()
            return Tried(result, answer.status, wait_s)


def result_of(status: int, *, waits: bool) -> Result:
    """What an answer's status says; `waits`: it has a Retry-After."""
    if 200 <= status < 300:
        return Result.DELIVERED
    if 300 <= status < 400:
        return Result.REDIRECTED
    if status in (408, 425, 429) or (status == 503 and waits):
        return Result.BUSY
    return Result.REFUSED if 400 <= status < 500 else Result.SERVER_ERROR
