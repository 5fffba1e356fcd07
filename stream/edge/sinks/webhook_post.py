"""One try to deliver one event to one endpoint, and its result.

Redirects are not followed: they would send signed decisions to an address that was not configured.
No message and no log holds more of an address than its host: many people put a key into the path.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from stream import __version__
from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.cloud_event import CloudEvent, request_of, signed
from stream.edge.sinks.settings import EndpointSection, SigningSecret
from stream.feeds.transports.http_get import retry_after_s
from stream.ops.clock import monotonic_s, now_s
from stream.ops.renewed_secret import RenewedSecret

GRANTED_S: Final = 86_400.0
"""Life of a permission: a receiver that has withdrawn it is asked again within a day."""
_MINUTE_S: Final = 60.0


class Permit:
    """One endpoint's permission; `origin` "": none is needed.

    CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4 (abuse protection). Before
    the first event and once a day we send OPTIONS with our name. The answer names us, or all (`*`),
    and the requests a minute that it takes. A mistyped address gets no events.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._until_s = float("-inf")
        self._every_s = 0.0
        self._next_s = 0.0
        # Many events are sent at once. One of them asks; the others wait for the answer.
        self._asking = asyncio.Lock()

    async def held(self, session: aiohttp.ClientSession, url: URL) -> bool:
        """Return whether events may be sent, after the wait that the endpoint's rate asks for.

        Raises as aiohttp does.
        """
        if not self._origin:
            return True
        async with self._asking:
            if monotonic_s() >= self._until_s:
                await self._ask(session, url)
            if monotonic_s() >= self._until_s:
                return False
        now_s = monotonic_s()
        turn_s, self._next_s = self._next_s, max(self._next_s, now_s) + self._every_s
        await asyncio.sleep(max(turn_s - now_s, 0.0))
        return True

    async def _ask(self, session: aiohttp.ClientSession, url: URL) -> None:
        headers = {"WebHook-Request-Origin": self._origin}
        async with session.options(url, headers=headers, allow_redirects=False) as answer:
            allowed = answer.headers.get("WebHook-Allowed-Origin", "")
            names = {name.strip().lower() for name in allowed.split(",")}
            if 200 <= answer.status < 300 and names & {"*", self._origin.lower()}:
                self._until_s = monotonic_s() + GRANTED_S
                rate = answer.headers.get("WebHook-Allowed-Rate", "*").strip()
                # Not int: that raises at thousands of digits. float takes them as infinite.
                a_minute = float(rate) if rate.isascii() and rate.isdigit() else 0.0
                self._every_s = _MINUTE_S / a_minute if a_minute else 0.0
            answer.close()


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address, perhaps a private one, in the last 32 bits."""


class PrivateAddress(OSError):
    """The name leads into a private network."""


def is_public(text: str) -> bool:
    """Return whether it is an address of the public Internet; False for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> bool:
    """Return whether a host is an address itself; aiohttp asks no resolver about those."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """The system's resolver, without addresses that are not public.

    A name may be made to lead to a machine of ours (server-side request forgery). So each address
    is checked at each connection: a check in advance could be outlived by a change of the name.
    """

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of `host`. Raises OSError; PrivateAddress if it has none."""
        found = await self._system.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if found and not public:
            raise PrivateAddress(f"{host} leads to a private address")
        return public

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._system.close()


_ANSWER_BYTES = 1 << 14
"""Bytes read of an answer, so that the connection can be reused; a longer one closes it."""
_CONNECT_S = 10.0


class DeliveryResult(StrEnum):
    """Result of one try: a closed list, each is a label."""

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
    """It did not answer that it takes events of ours (see `Permit`)."""


class DeliveryTry(NamedTuple):
    """`status` 0: there was no answer. `wait_s`: not sooner than in so many seconds."""

    result: DeliveryResult
    status: int = 0
    wait_s: float | None = None


class Post:
    """Connection to one endpoint, for events of `source`. Use `async with`.

    Each event is signed with all of `secrets`, the newest first.
    """

    def __init__(
        self, settings: EndpointSection, source: str, secrets: Sequence[SigningSecret]
    ) -> None:
        self._settings = settings
        self._source = source
        self._secrets = secrets
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

    async def send(self, event: CloudEvent) -> DeliveryTry:
        """Send it once. Each try is signed with its own time."""
        assert self._session is not None
        settings, host = self._settings, self._url.host or ""
        if not settings.private_addresses and literal(host) and not is_public(host):
            return DeliveryTry(DeliveryResult.PRIVATE_ADDRESS)
        try:
            if not await self._permit.held(self._session, self._url):
                return DeliveryTry(DeliveryResult.NOT_PERMITTED)
            headers, body = request_of(event, settings.mode, self._source)
            secrets = [
                one.now() if isinstance(one, RenewedSecret) else one for one in self._secrets
            ]
            headers |= signed(secrets, event.id, now_s(), body)
            return await self._post(headers, body)
        except TimeoutError:  # aiohttp's own are among them
            return DeliveryTry(DeliveryResult.TIMEOUT)
        except aiohttp.ClientConnectorCertificateError:
            return DeliveryTry(DeliveryResult.CERTIFICATE)
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "os_error", None) or error.__cause__ or error
            if isinstance(cause, PrivateAddress):
                return DeliveryTry(DeliveryResult.PRIVATE_ADDRESS)
            untrusted = isinstance(cause, ssl.SSLCertVerificationError)
            return DeliveryTry(
                DeliveryResult.CERTIFICATE if untrusted else DeliveryResult.UNREACHABLE
            )

    async def _post(self, headers: Mapping[str, str], body: bytes) -> DeliveryTry:
        assert self._session is not None
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), now_s())
            result = result_of(answer.status, waits=wait_s is not None)
            if result is DeliveryResult.DELIVERED:
                # 2xx has said it, whatever becomes of the body: else it would be sent again.
                with suppress(aiohttp.ClientError, OSError):  # TimeoutError too
                    await answer.content.read(_ANSWER_BYTES)
            else:
                answer.close()
            return DeliveryTry(result, answer.status, wait_s)


def result_of(status: int, *, waits: bool) -> DeliveryResult:
    """Return the result for an answer's status; `waits`: it has a Retry-After."""
    if 200 <= status < 300:
        return DeliveryResult.DELIVERED
    if 300 <= status < 400:
        return DeliveryResult.REDIRECTED
    if status in (408, 425, 429) or (status == 503 and waits):
        return DeliveryResult.BUSY
    return DeliveryResult.REFUSED if 400 <= status < 500 else DeliveryResult.SERVER_ERROR
