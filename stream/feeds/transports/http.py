"""HTTP(S): a file on a web server, or an interface that answers with one.

Asked with what the server said of the last version (ETag, Last-Modified), so that an unchanged
list costs a few hundred bytes; or, where the partner has it, for what came since a version.
"""

import asyncio
import hashlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transport import Fetched, Unchanged, shown
from stream.feeds.transports.body import Pace, read_body
from stream.feeds.transports.headers import date_s, fresh_s
from stream.feeds.transports.http_get import LoginSettings, Secrets, TlsSettings, Web, WebSettings
from stream.feeds.transports.intake import checked, checksum_in
from stream.feeds.transports.landing import landing
from stream.feeds.transports.limits import BYTES_MAX, BytesMax, Rate, Seconds
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

CHECKSUM_BYTES_MAX = 1 << 20
"""A checksum file takes 100 bytes; a list of checksums of many files may take some KB."""
Address = Annotated[str, Checked(checks.web_url)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Settings of a feed over HTTP.

    `sha256_url`: a file with its SHA-256, as `sha256sum` writes it. `since_parameter`: the query
    parameter that asks for what is newer than a version, which the answer, a JSON object, has as
    `since_field`; after `whole_every` increments the whole list is asked for again.
    `deadline_s` for all of it, `answer_s` for a silence, and less than `bytes_per_s_min` over
    `slow_window_s` is too slow. `max_age_s_max`: Cache-Control keeps us from asking no longer.
    """

    url: Address
    sha256_url: Annotated[str, Checked(checks.maybe_web_url)] = ""
    since_parameter: str = ""
    since_field: str = "version"
    whole_every: Annotated[int, Between(1, 100_000)] = 40
    login: LoginSettings = field(default_factory=LoginSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    redirects: Literal["same_host", "any"] = "same_host"
    proxy: Literal["none", "environment"] = "none"
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 600.0
    answer_s: Seconds = 30.0
    bytes_per_s_min: Rate = 1000
    slow_window_s: Seconds = 30.0
    max_age_s_max: Annotated[float, Between(0, 86_400)] = 3600.0

    def __post_init__(self) -> None:
        if self.since_parameter and self.sha256_url:
            text = "has no meaning with since_parameter: each answer is another file"
            raise Problems([Problem(("sha256_url",), text)])

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that hold its secrets."""
        return self.login.variables()

    def web(self) -> WebSettings:
        """The settings of the connection to its server."""
        return WebSettings(
            login=self.login,
            tls=self.tls,
            redirects=self.redirects,
            proxy=self.proxy,
            answer_s=self.answer_s,
        )

    def pace(self) -> Pace:
        """The limits of speed and size."""
        return Pace(self.bytes_max, self.bytes_per_s_min, self.slow_window_s)


class HttpTransport:
    """One feed on a web server."""

    def __init__(self, settings: HttpSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        self._url = URL(settings.url)
        self._origin = shown(self._url)
        # What was remembered of another address says nothing of this one; it may hold a key.
        asked = f"{settings.url} {settings.since_parameter}"
        self._address = hashlib.sha256(asked.encode()).hexdigest()[:16]

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the newest version: whole, unless `since_parameter` is set. Raises FeedDown."""
        known = remembered if remembered.get("address") == self._address else {}
        deadline_s = self._settings.deadline_s
        try:
            async with (
                asyncio.timeout(deadline_s),
                Web(self._settings.web(), self._secrets, self._url) as web,
            ):
                if self._settings.since_parameter:
                    return await self._since(web, known, into)
                return await self._whole(web, known, into)
        except TimeoutError as error:
            text = f"{self._origin} was not complete within deadline_s = {deadline_s:g}"
            raise FeedDown(FeedFault.TIMEOUT, text) from error

    async def _whole(self, web: Web, known: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        expected = await self._checksum(web, into)
        if expected is not None and expected == known.get("published"):
            return Unchanged(known)
        asked = {"If-None-Match": "etag", "If-Modified-Since": "modified"}
        conditions = {name: known[key] for name, key in asked.items() if known.get(key)}
        async with web.get(self._url, conditions) as response:
            wait_s = min(fresh_s(response.headers), self._settings.max_age_s_max)
            if response.status == 304:
                if not conditions:
                    text = f"{self._origin} answers 304 though nothing was known"
                    raise FeedDown(FeedFault.PROTOCOL, text)
                return Unchanged(known, wait_s)
            with landing(into, self._settings.bytes_max, self._origin) as land:
                intake = await read_body(response, land, self._settings.pace(), self._origin)
                if expected is not None:
                    checked(intake.published_sha256, expected, self._origin)
                if known.get("published") == intake.published_sha256:
                    land.drop()
            remember = {
                "address": self._address,
                "published": intake.published_sha256,
                "etag": response.headers.get("ETag", ""),
                "modified": response.headers.get("Last-Modified", ""),
            }
            as_of_s = date_s(remember["modified"])
        if land.dropped:
            return Unchanged(remember, wait_s)
        return Fetched(into, land.size, land.sha256, remember, True, as_of_s, wait_s, self._origin)

    async def _checksum(self, web: Web, into: Path) -> str | None:
        """Fetch `sha256_url` before the file: it may save fetching the file."""
        if not self._settings.sha256_url:
            return None
        url = URL(self._settings.sha256_url)
        beside = into.with_name(f"{into.name}.sha256")
        pace = Pace(
            CHECKSUM_BYTES_MAX, self._settings.bytes_per_s_min, self._settings.slow_window_s
        )
        try:
            async with web.get(url, {}) as response:
                with landing(beside, CHECKSUM_BYTES_MAX, shown(url)) as land:
                    await read_body(response, land, pace, shown(url))
            text = beside.read_text("utf-8", "replace")
        finally:
            beside.unlink(missing_ok=True)
        return checksum_in(text, self._url.name, shown(url))

    async def _since(self, web: Web, known: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        settings = self._settings
        since = known.get("since", "")
        answers = int(known.get("answers", "0")) + 1
        if answers > settings.whole_every:
            since = ""
        url = self._url.update_query({settings.since_parameter: since}) if since else self._url
        async with web.get(url, {}) as response:
            wait_s = min(fresh_s(response.headers), settings.max_age_s_max)
            with landing(into, settings.bytes_max, self._origin) as land:
                await read_body(response, land, settings.pace(), self._origin)
                version = _version_in(land.path, settings.since_field, self._origin)
                began_anew = bool(since) and _is_older(version, since)
                if began_anew or version == since:
                    land.drop()
        if began_anew:  # what is newer than its version of now is not all
            return await self._since(web, {}, into)
        if land.dropped:
            return Unchanged(known, wait_s)
        remember = {
            "address": self._address,
            "since": version,
            "answers": str(answers if since else 0),
        }
        return Fetched(
            into, land.size, land.sha256, remember, not since, None, wait_s, self._origin
        )


def _version_in(path: Path, name: str, origin: str) -> str:
    """Return the value of a JSON object's top-level field, read without loading the rest.

    Raises FeedDown(PROTOCOL).
    """
    shape: Any = msgspec.defstruct("Answer", [("version", int | str)], rename={"version": name})
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return str(msgspec.json.decode(data, type=shape).version)
    except (ValueError, RecursionError) as error:  # no JSON, another shape, or nothing at all
        text = f'{origin} is no JSON object with a "{name}", which since_field names'
        raise FeedDown(FeedFault.PROTOCOL, text) from error


def _is_older(version: str, since: str) -> bool:
    return version.isdecimal() and since.isdecimal() and int(version) < int(since)
