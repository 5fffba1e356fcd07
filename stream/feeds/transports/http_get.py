"""One GET over HTTP(S), for all transports that speak HTTP: request, headers, body.

Certificates are always checked. No message and no log has a login, a key, or an address's user and
query: many partners put the key there. A header that cannot be read counts as absent.
"""

import asyncio
import base64
import hashlib
import re
import ssl
from binascii import Error as NotBase64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from stream import __version__
from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.intake import Intake, checked
from stream.feeds.transports.landing import Landing, Pace, Slowness, date_s, landing, too_large
from stream.feeds.transports.transport import BYTES_MAX, BytesMax, Rate, Seconds, shown
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.toml import Checked, Problem, Problems

REDIRECTS_MAX = 5
"""Redirects of one request: real servers need one or two. More is a loop."""
CONNECT_S = 15.0
"""Wait for a TCP connection: across the world it takes a second, more with lost packets."""
_MOVED = (301, 302, 303, 307, 308)
_LOGIN = (401, 403, 407)

Variable = Annotated[str, Checked(checks.maybe(checks.variable))]
Secrets = Mapping[str, str]
"""Values of the environment variables that the settings name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """Credentials: a bearer token, user and password, or a header with a key.

    Settings name the environment variables that hold secrets. MISP's keys, which have no scheme
    before them, need `header = "Authorization"` and `header_env`.
    """

    bearer_env: Variable = ""
    username: str = ""
    password_env: Variable = ""
    header: Annotated[str, Checked(checks.maybe(checks.header))] = ""
    header_env: Variable = ""

    def __post_init__(self) -> None:
        found = []
        for one, other in (("username", "password_env"), ("header", "header_env")):
            if bool(getattr(self, one)) != bool(getattr(self, other)):
                missing = other if getattr(self, one) else one
                found.append(Problem((missing,), f"is missing: {one} and {other} go together"))
        own = self.header.lower() == "authorization"
        if sum(map(bool, (self.bearer_env, self.username, own))) > 1:
            text = "are one too many: bearer_env, username, or header = Authorization"
            found.append(Problem(("bearer_env",), text))
        if found:
            raise Problems(found)

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that must be set."""
        return tuple(v for v in (self.bearer_env, self.password_env, self.header_env) if v)

    def headers(self, secrets: Secrets) -> dict[str, str]:
        """Return the headers to send."""
        sent = {}
        if self.bearer_env:
            sent["Authorization"] = f"Bearer {secrets[self.bearer_env]}"
        if self.username:
            password = secrets[self.password_env]
            sent["Authorization"] = aiohttp.encode_basic_auth(self.username, password, "utf-8")
        if self.header:
            sent[self.header] = secrets[self.header_env]
        return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Files (PEM): the authorities that we trust ("": the system's), our certificate and key."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        if self.key_file and not self.cert_file:
            text = "is missing: key_file has no use without it"
            raise Problems([Problem(("cert_file",), text)])

    def context(self, *, shows_us: bool = True) -> ssl.SSLContext:
        """Return a context, new for each fetch: certificates are renewed while we run.

        Raises FeedDown(CERTIFICATE).
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file and shows_us:
                # An empty pass phrase fails where none would wait for a terminal.
                context.load_cert_chain(self.cert_file, self.key_file or None, password="")
        except OSError as error:  # ssl.SSLError is one
            files = f"ca_file {self.ca_file!r}, cert_file {self.cert_file!r}"
            text = f"{files}, key_file {self.key_file!r} cannot be used: {_of_os(error)}"
            raise FeedDown(FeedFault.CERTIFICATE, text) from error
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Settings of every feed that a web server answers.

    `bytes_max` bounds a version. `deadline_s` bounds one fetch, `answer_s` a silence; less than
    `bytes_per_s_min` over `slow_window_s` is too slow.
    """

    url: Annotated[str, Checked(checks.web_url)]
    login: LoginSettings = field(default_factory=LoginSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    redirects: Literal["same_host", "any"] = "same_host"
    proxy: Literal["none", "environment"] = "none"
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 600.0
    answer_s: Seconds = 30.0
    bytes_per_s_min: Rate = 1000
    slow_window_s: Seconds = 30.0

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that hold its secrets."""
        return self.login.variables()

    def pace(self) -> Pace:
        """Return the slowest pace of an answer."""
        return Pace(self.bytes_per_s_min, self.slow_window_s)


def known_of(
    remembered: Mapping[str, str], address: str, whole_every_s: int | None = None
) -> Mapping[str, str]:
    """Return what was remembered of the same `address`, unless a whole version is due."""
    if remembered.get("address") != address:
        return {}
    if whole_every_s is None:
        return remembered
    # By its distance: one that a clock which was ahead wrote down counts as none.
    is_due = abs(now_s() - int(remembered.get("whole_at_s", "0"))) >= whole_every_s
    return {} if is_due else remembered


def address_of(*asked: str) -> str:
    """Return a mark of what is asked for. It is remembered, so it holds no key of an address."""
    return hashlib.sha256(" ".join(asked).encode()).hexdigest()[:16]


@asynccontextmanager
async def web_of(settings: WebSettings, secrets: Secrets) -> AsyncIterator["WebSession"]:
    """Open the way to a feed's server, for as long as one fetch may take. Raises FeedDown."""
    home = URL(settings.url)
    try:
        async with asyncio.timeout(settings.deadline_s), WebSession(settings, secrets, home) as web:
            yield web
    except TimeoutError as error:
        text = f"{shown(home)} was not complete within deadline_s = {settings.deadline_s:g}"
        raise FeedDown(FeedFault.TIMEOUT, text) from error


class WebSession:
    """A feed's way to its server, for one fetch.

    Our login and our certificate are shown to the server of `home` only, whatever is asked for.
    """

    def __init__(self, settings: WebSettings, secrets: Secrets, home: URL) -> None:
        self._settings, self._home = settings, home
        self._login = settings.login.headers(secrets)
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        silence = self._settings.answer_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=2),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(CONNECT_S, silence), sock_read=silence
            ),
            auto_decompress=False,  # it would not stop at a bomb
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # it would send logins of a .netrc as well
            headers={"User-Agent": f"ringfence/{__version__}", "Accept-Encoding": "zstd, gzip"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    @asynccontextmanager
    async def get(
        self, url: URL, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Return the answer with status 200 or 304, its body not yet read. Raises FeedDown.

        Faults of reading inside the block are renamed too.
        """
        first = url
        for _ in range(REDIRECTS_MAX + 1):
            with named_faults(shown(url)):
                response = await self._ask(url, headers)
                try:
                    if response.status not in _MOVED:
                        _accepted(response, shown(url))
                        yield response
                        return
                    url = self._moved(first, url, response.headers.get("Location", ""))
                finally:
                    response.close()
        text = f"{shown(first)} redirects more than {REDIRECTS_MAX} times"
        raise FeedDown(FeedFault.REDIRECTED, text)

    async def read_small(
        self, url: URL, into: Path, bytes_max: int, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return an answer as a whole, and its headers. Raises FeedDown.

        It passes through a file beside `into`, as every answer does: unpacked data meet the limit
        before they are in memory.
        """
        beside = into.with_name(f"{into.name}.small")
        async with self.get(url, headers or {}) as response:
            with landing(beside, bytes_max, shown(url)) as land:
                await read_body(response, land, self._settings.pace())
                land.drop()
                return land.content(), response.headers

    async def _ask(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        assert self._session is not None
        ours = _is_ours(self._home, url)
        return await self._session.get(
            url,
            headers={**headers, **(self._login if ours else {})},
            allow_redirects=False,
            ssl=self._context(ours=ours) if url.scheme == "https" else True,
            proxy=_proxy(url) if self._settings.proxy == "environment" else None,
        )

    def _context(self, *, ours: bool) -> ssl.SSLContext:
        """Return a context with our certificate or without; reading authorities takes 20 ms."""
        if ours not in self._contexts:
            self._contexts[ours] = self._settings.tls.context(shows_us=ours)
        return self._contexts[ours]

    def _moved(self, first: URL, url: URL, location: str) -> URL:
        """Return the target of a redirect. Raises FeedDown(REDIRECTED) if it is not followed."""
        try:
            to = url.join(URL(location))
        except ValueError:
            to = URL()
        if not location or to.scheme not in ("http", "https") or not to.host:
            why = "to what is no address"
        elif url.scheme == "https" and to.scheme == "http":
            why = f"from https to {shown(to)}, where anybody could change the list"
        elif to.host != first.host and self._settings.redirects != "any":
            why = f'to {shown(to)}: put this address in, or redirects = "any"'
        else:
            return to.with_user(None)
        raise FeedDown(FeedFault.REDIRECTED, f"{shown(url)} redirects {why}")


def _is_ours(home: URL, url: URL) -> bool:
    """Return whether `url` is on the server of the settings, also by https instead of http."""
    if home.host != url.host:
        return False
    upgraded = home.is_default_port() and url.is_default_port()
    return home.origin() == url.origin() or (upgraded and url.scheme == "https")


def _proxy(url: URL) -> str | None:
    """Return the proxy of the environment: https_proxy, http_proxy, no_proxy."""
    if url.host is None or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


def _accepted(response: aiohttp.ClientResponse, origin: str) -> None:
    """Raise FeedDown for an answer without content."""
    status = response.status
    if status in (200, 304):
        return
    wait_s = retry_after_s(response.headers.get("Retry-After"), now_s())
    said = f"{origin} answers {status} {' '.join((response.reason or '').split())[:80]}".rstrip()
    if status in _LOGIN:
        text = f"{said}: look at the feed's login and tls, and at what the partner lets us see"
        raise FeedDown(FeedFault.UNAUTHORISED, text, wait_s)
    if status in (404, 410):
        raise FeedDown(FeedFault.MISSING, f"{said}: ask the partner for the address", wait_s)
    if 400 <= status < 500:
        hint = _of_tls(origin) if status == 400 else ""
        raise FeedDown(FeedFault.REFUSED_BY_SERVER, f"{said}{hint}", wait_s)
    if 500 <= status < 600:
        raise FeedDown(FeedFault.DOWN, said, wait_s)
    raise FeedDown(FeedFault.PROTOCOL, f"{said}, which is no answer to our question", wait_s)


@contextmanager
def named_faults(origin: str) -> Iterator[None]:
    """Rename aiohttp's exceptions; their texts may hold a whole address."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or "is not valid"
        text = f"{origin}: the server's certificate is refused: {why}"
        raise FeedDown(FeedFault.CERTIFICATE, text) from error
    except aiohttp.ClientPayloadError as error:
        raise FeedDown(FeedFault.TRUNCATED, f"{origin} broke off before its end") from error
    except aiohttp.ClientHttpProxyError as error:
        reason = FeedFault.UNAUTHORISED if error.status in _LOGIN else FeedFault.DOWN
        raise FeedDown(reason, f"{origin}: the proxy answers {error.status}") from None
    except aiohttp.ClientResponseError as error:
        # What aiohttp says holds the whole address, in a traceback too.
        text = f"{origin} does not answer as HTTP wants it ({type(error).__name__})"
        raise FeedDown(FeedFault.PROTOCOL, text) from None
    except TimeoutError as error:  # aiohttp's own are among them
        text = f"{origin} was silent for too long (answer_s)"
        raise FeedDown(FeedFault.TIMEOUT, text) from error
    except aiohttp.ClientOSError as error:
        raise _connection(origin, error) from error
    except aiohttp.ClientError as error:
        text = f"{origin} closed the connection without an answer{_of_tls(origin)}"
        raise FeedDown(FeedFault.DOWN, text) from error


def _connection(origin: str, error: aiohttp.ClientOSError) -> FeedDown:
    cause: BaseException | None = getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or "no reason given"
        alert = "CERTIFICATE" in reason or "UNKNOWN_CA" in reason
        fault = FeedFault.CERTIFICATE if alert else FeedFault.PROTOCOL
        return FeedDown(fault, f"{origin}: TLS fails ({reason}): look at the feed's tls")
    what = _of_os(cause) if isinstance(cause, OSError) else type(error).__name__
    refused = isinstance(error, aiohttp.ClientConnectorError)
    hint = "" if refused else _of_tls(origin)
    return FeedDown(FeedFault.DOWN, f"{origin} cannot be reached: {what}{hint}")


def _of_tls(origin: str) -> str:
    """Return a hint: in TLS 1.3 a server refuses our certificate after the handshake."""
    wants = "; a server that wants a certificate of ours may do so: look at the feed's tls"
    return wants if origin.startswith("https:") else ""


def _of_os(error: OSError) -> str:
    return error.strerror or type(error).__name__


WAIT_S_MOST = 86_400.0
"""The longest wait that a server may ask for. One slip of a partner would silence its feed."""
_SHA256 = re.compile(r"\bsha-256=:?([A-Za-z0-9+/]{43}=):?", re.IGNORECASE)
_MAX_AGE = re.compile(r'\bmax-age\s*=\s*"?(\d{1,10})', re.IGNORECASE)
_UNCACHED = re.compile(r"\bno-(?:cache|store)\b", re.IGNORECASE)


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """Return Retry-After (RFC 9110 10.2.3), seconds or a date, in seconds from now."""
    text = (text or "").strip()
    if re.fullmatch(r"\d{1,12}", text):
        return min(float(text), WAIT_S_MOST)
    at_s = date_s(text)
    return None if at_s is None else min(max(0.0, at_s - now_s), WAIT_S_MOST)


def fresh_s(headers: Mapping[str, str]) -> float:
    """Return how long an answer stays fresh: Cache-Control's max-age less its Age."""
    control = headers.get("Cache-Control", "")
    found = _MAX_AGE.search(control)
    if found is None or _UNCACHED.search(control):
        return 0.0
    age = headers.get("Age", "")
    age_s = int(age) if re.fullmatch(r"\d{1,10}", age) else 0
    return min(max(0.0, float(int(found[1]) - age_s)), WAIT_S_MOST)


def digests(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 sums in the headers, hex by header, of the bytes on the wire.

    Content-Digest and Repr-Digest (RFC 9530), and the older Digest (RFC 3230).
    """
    sums = {}
    for name in ("Content-Digest", "Repr-Digest", "Digest"):
        found = _SHA256.search(headers.get(name, ""))
        if found is not None:
            try:
                sums[name] = base64.b64decode(found[1], validate=True).hex()
            except NotBase64:
                continue
    return sums


def length(headers: Mapping[str, str]) -> int | None:
    """Return Content-Length; None: it is absent or unreadable."""
    text = headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


_PIECE = 64 * 1024


async def read_body(response: aiohttp.ClientResponse, land: Landing, pace: Pace) -> Intake:
    """Unpack the body into `land`; return the intake, which has its hash. Raises FeedDown.

    An answer with neither a length nor chunks ends where the connection does (RFC 9112 6.3), and so
    does half of it. It is taken only if compressed data in it has its own end.
    """
    origin, announced = land.origin, length(response.headers)
    if announced is not None and announced > land.bytes_max:
        raise too_large(f"{origin} ({announced:,} bytes announced)", land.bytes_max)
    intake = Intake(land, response.headers.get("Content-Encoding", ""))
    sums = digests(response.headers)
    over_wire = hashlib.sha256()
    slow = Slowness(pace, origin)
    # Taken now: at the end of the body aiohttp gives the connection back.
    protocol = response.connection.protocol if response.connection is not None else None
    try:
        async for chunk in response.content.iter_chunked(_PIECE):
            if too_slow := slow.took(len(chunk)):
                raise FeedDown(FeedFault.TOO_SLOW, too_slow)
            if sums:
                over_wire.update(chunk)
            for _ in intake.feed(chunk):
                await asyncio.sleep(0)  # a packed chunk may unpack for seconds: others have a turn
    except aiohttp.ClientPayloadError as error:
        of = f" of {announced:,}" if announced is not None else ""
        text = f"{origin} broke off after {intake.taken:,}{of} bytes"
        raise FeedDown(FeedFault.TRUNCATED, text) from error
    if announced is not None and intake.taken != announced:
        text = f"{origin} announced {announced:,} bytes and sent {intake.taken:,}"
        raise FeedDown(FeedFault.WRONG_LENGTH, text)
    if protocol is not None and isinstance(protocol.exception(), HttpProcessingError):
        text = f"{origin} goes on after its end, at {intake.taken:,} bytes: is it cut short?"
        raise FeedDown(FeedFault.WRONG_LENGTH, text)
    intake.end()
    if announced is None and not _is_chunked(response) and not (sums or intake.knows_its_end):
        text = f"{origin} came without a length, so half of it would look whole: the server"
        text += " should send Content-Length or chunks, or a file that is compressed"
        raise FeedDown(FeedFault.TRUNCATED, text)
    for name, expected in sums.items():
        checked(over_wire.hexdigest(), expected, f"{origin} ({name})")
    return intake


def _is_chunked(response: aiohttp.ClientResponse) -> bool:
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()
