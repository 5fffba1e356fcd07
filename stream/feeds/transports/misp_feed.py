"""A MISP feed on a web server: manifest.json, and a file for each event that it names.

At first all events, then those that changed since, by the manifest's timestamps. An attribute that
was deleted for good, or an event that is gone, is not told by those; `whole_every_s` reads all.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.formats.misp import EVENT_BYTES_MAX
from stream.feeds.misp_folder import EVENTS_MAX, MANIFEST, MANIFEST_BYTES_MAX
from stream.feeds.transport import Fetched, Unchanged, shown
from stream.feeds.transports.body import Pace, read_body
from stream.feeds.transports.folder_tar import bundle
from stream.feeds.transports.headers import date_s
from stream.feeds.transports.http_get import LoginSettings, Secrets, TlsSettings, Web, WebSettings
from stream.feeds.transports.landing import landing
from stream.feeds.transports.limits import BYTES_MAX, BytesMax, Rate, Seconds
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked

_DAY_S = 86_400
_EVENT = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MispFeedSettings:
    """`url` of the folder that has the manifest.json. `bytes_max` of all events together."""

    url: Annotated[str, Checked(checks.web_url)]
    whole_every_s: Annotated[int, Between(0, 366 * _DAY_S)] = _DAY_S
    login: LoginSettings = field(default_factory=LoginSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    redirects: Literal["same_host", "any"] = "same_host"
    proxy: Literal["none", "environment"] = "none"
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 1800.0
    answer_s: Seconds = 30.0
    bytes_per_s_min: Rate = 1000
    slow_window_s: Seconds = 30.0

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


class _Entry(msgspec.Struct):
    timestamp: str | int = 0


class _Manifest:
    """Decode a manifest.json. Raises FeedDown(PROTOCOL)."""

    def __init__(self, data: bytes, origin: str) -> None:
        try:
            self._raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            decode = msgspec.json.Decoder(_Entry).decode
            self.times = {event: int(decode(raw).timestamp) for event, raw in self._raw.items()}
        except (ValueError, RecursionError) as error:
            text = f"{origin} is no manifest of a MISP feed ({type(error).__name__})"
            raise FeedDown(FeedFault.PROTOCOL, text) from error
        for event in self.times:
            if not _EVENT.fullmatch(event):
                text = f'{origin} names "{event[:60]}", which is no event'
                raise FeedDown(FeedFault.PROTOCOL, text)
        if len(self.times) > EVENTS_MAX:
            text = f"{origin} names {len(self.times):,} events, {EVENTS_MAX:,} are the most"
            raise FeedDown(FeedFault.TOO_LARGE, text)

    def newest(self) -> int:
        """Return the latest change, seconds since the epoch; 0 where there is none."""
        return max(self.times.values(), default=0)

    def only(self, events: list[str]) -> bytes:
        """Return the manifest of some of its events."""
        return msgspec.json.encode({event: self._raw[event] for event in events})


class MispFeedTransport:
    """One MISP feed."""

    def __init__(self, settings: MispFeedSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        url = URL(settings.url)
        self._url = url if url.path.endswith("/") else url / ""
        self._origin = shown(self._url)
        self._address = hashlib.sha256(settings.url.encode()).hexdigest()[:16]

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return all events, or those that changed since what was remembered. Raises FeedDown."""
        deadline_s = self._settings.deadline_s
        known = remembered if remembered.get("address") == self._address else {}
        if now_s() - int(known.get("whole_at_s", "0")) >= self._settings.whole_every_s:
            known = {}
        try:
            async with (
                asyncio.timeout(deadline_s),
                Web(self._settings.web(), self._secrets, self._url) as web,
            ):
                return await self._fetch(web, known, into)
        except TimeoutError as error:
            text = f"{self._origin} was not complete within deadline_s = {deadline_s:g}"
            raise FeedDown(FeedFault.TIMEOUT, text) from error

    async def _fetch(self, web: Web, known: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        reading_s = now_s()
        data, as_of_s = await self._get(web, MANIFEST, MANIFEST_BYTES_MAX, into)
        digest = hashlib.sha256(data).hexdigest()
        if known.get("manifest") == digest:
            return Unchanged(known)
        manifest = _Manifest(data, f"{self._origin}{MANIFEST}")
        since = int(known.get("since", "-1"))
        # An event may change twice within the second that its timestamp has.
        events = sorted(event for event, at_s in manifest.times.items() if at_s >= since)
        remember = {
            "address": self._address,
            "whole_at_s": known.get("whole_at_s", str(reading_s)),
            "manifest": digest,
            "since": str(max(since, manifest.newest())),
        }
        if known and not events:
            return Unchanged(remember)
        with landing(into, self._settings.bytes_max, self._origin) as land, bundle(land) as whole:
            chosen = manifest.only(events)
            whole.add(MANIFEST, len(chosen), BytesIO(chosen))
            for event in events:
                found, _ = await self._get(web, f"{event}.json", EVENT_BYTES_MAX, into)
                whole.add(f"{event}.json", len(found), BytesIO(found))
        return Fetched(
            into, land.size, land.sha256, remember, not known, as_of_s, origin=self._origin
        )

    async def _get(
        self, web: Web, name: str, bytes_max: int, into: Path
    ) -> tuple[bytes, int | None]:
        """Return a file of the folder, and when its server says that it was made."""
        url = self._url / name
        bytes_max = min(bytes_max, self._settings.bytes_max)
        pace = Pace(bytes_max, self._settings.bytes_per_s_min, self._settings.slow_window_s)
        beside = into.with_name(f"{into.name}.event")
        async with web.get(url, {}) as response:
            with landing(beside, bytes_max, shown(url)) as land:
                await read_body(response, land, pace, shown(url))
                land.drop()
                return land.content(), date_s(response.headers.get("Last-Modified"))
