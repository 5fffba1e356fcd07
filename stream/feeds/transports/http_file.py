"""HTTP(S): a file on a web server, or an interface that answers with one.

A request names the last version by its ETag or Last-Modified, so that an unchanged list costs a few
hundred bytes. Once a day it names none: a server or cache may call any version unchanged for ever.
Where the partner supports it, it asks for the changes since a version.
"""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.http_get import (
    Secrets,
    WebSession,
    WebSettings,
    address_of,
    fresh_s,
    known_of,
    read_body,
    web_of,
)
from stream.feeds.transports.intake import checked, checksum_in
from stream.feeds.transports.landing import date_s, landing
from stream.feeds.transports.transport import Fetched, Unchanged, shown
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

CHECKSUM_BYTES_MAX = 1 << 20
"""A checksum file has 100 bytes; a list of checksums of many files may have some KB."""

_ASK_EVERY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings(WebSettings):
    """Settings of a feed over HTTP.

    `sha256_url`: a file with its SHA-256, as `sha256sum` writes it. `since_parameter`: the query
    parameter that asks for data newer than a version. The answer is a JSON object and has its
    version as `since_field`. After `whole_every` increments the whole list is asked for again.
    `max_age_s_max` bounds the wait that Cache-Control asks for.
    """

    sha256_url: Annotated[str, Checked(checks.maybe(checks.web_url))] = ""
    since_parameter: str = ""
    since_field: str = "version"
    whole_every: Annotated[int, Between(1, 100_000)] = 40
    max_age_s_max: Annotated[float, Between(0, 86_400)] = 3600.0

    def __post_init__(self) -> None:
        if self.since_parameter and self.sha256_url:
            text = "has no meaning with since_parameter: each answer is another file"
            raise Problems([Problem(("sha256_url",), text)])


class HttpTransport:
    """One feed on a web server."""

    def __init__(self, settings: HttpSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        self._url = URL(settings.url)
        self._origin = shown(self._url)
        self._address = address_of(settings.url, settings.since_parameter)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the newest version, or with `since_parameter` the changes. Raises FeedDown."""
        known = known_of(remembered, self._address)
        async with web_of(self._settings, self._secrets) as web:
            if self._settings.since_parameter:
                return await self._since(web, known, into)
            return await self._whole(web, known, into)

    async def _whole(
        self, web: WebSession, known: Mapping[str, str], into: Path
    ) -> Fetched | Unchanged:
        expected = await self._checksum(web, into)
        trusted = known_of(known, self._address, _ASK_EVERY_S)
        if expected is not None and expected == trusted.get("published"):
            return Unchanged(known)
        asked = {"If-None-Match": "etag", "If-Modified-Since": "modified"}
        conditions = {name: trusted[key] for name, key in asked.items() if trusted.get(key)}
        async with web.get(self._url, conditions) as response:
            wait_s = min(fresh_s(response.headers), self._settings.max_age_s_max)
            if response.status == 304:
                if not conditions:
                    text = f"{self._origin} answers 304 though no version was named"
                    raise FeedDown(FeedFault.PROTOCOL, text)
                return Unchanged(known, wait_s)
            with landing(into, self._settings.bytes_max, self._origin) as land:
                intake = await read_body(response, land, self._settings.pace())
                if expected is not None:
                    checked(intake.published_sha256, expected, self._origin)
                if known.get("published") == intake.published_sha256:
                    land.drop()
            remember = {
                "address": self._address,
                "published": intake.published_sha256,
                "etag": response.headers.get("ETag", ""),
                "modified": response.headers.get("Last-Modified", ""),
                "whole_at_s": str(now_s()),
            }
            as_of_s = date_s(remember["modified"])
        if land.dropped:
            return Unchanged(remember, wait_s)
        return land.fetched(remember, as_of_s=as_of_s, wait_s_min=wait_s)

    async def _checksum(self, web: WebSession, into: Path) -> str | None:
        """Fetch `sha256_url` before the file: it may save fetching the file."""
        if not self._settings.sha256_url:
            return None
        url = URL(self._settings.sha256_url)
        # Not `bytes_max`: a list of one number is smaller than its checksum.
        data, _ = await web.read_small(url, into, CHECKSUM_BYTES_MAX)
        return checksum_in(data.decode("utf-8", "replace"), self._url.name, shown(url))

    async def _since(
        self, web: WebSession, known: Mapping[str, str], into: Path
    ) -> Fetched | Unchanged:
        settings = self._settings
        since = known.get("since", "")
        answers = int(known.get("answers", "0")) + 1
        if answers > settings.whole_every:
            since = ""
        url = self._url.update_query({settings.since_parameter: since}) if since else self._url
        async with web.get(url, {}) as response:
            wait_s = min(fresh_s(response.headers), settings.max_age_s_max)
            with landing(into, settings.bytes_max, self._origin) as land:
                await read_body(response, land, settings.pace())
                version = _version_in(land.path, settings.since_field, self._origin)
                is_older = bool(since) and _is_older(version, since)
                if is_older or version == since:
                    land.drop()
        if is_older:  # the server began again: what is newer than its version of now is not all
            return await self._since(web, {}, into)
        if land.dropped:
            return Unchanged(known, wait_s)
        remember = {
            "address": self._address,
            "since": version,
            "answers": str(answers if since else 0),
        }
        return land.fetched(remember, whole=not since, wait_s_min=wait_s)


def _version_in(path: Path, name: str, origin: str) -> str:
    """Return a top-level field of a JSON object, without loading the rest. Raises FeedDown."""
    shape: Any = msgspec.defstruct("Answer", [("version", int | str)], rename={"version": name})
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return str(msgspec.json.decode(data, type=shape).version)
    except (ValueError, RecursionError) as error:  # no JSON, another shape, or nothing at all
        text = f'{origin} is no JSON object with a "{name}", which since_field names'
        raise FeedDown(FeedFault.PROTOCOL, text) from error


def _is_older(version: str, since: str) -> bool:
    return version.isdecimal() and since.isdecimal() and int(version) < int(since)
