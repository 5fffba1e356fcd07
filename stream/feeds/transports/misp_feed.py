"""A MISP feed on a web server: manifest.json, and a file for each event that it names.

The first fetch takes all events, the next ones those that are new or have another timestamp in the
manifest. Timestamps do not show an attribute that was deleted for good, nor an event that is gone;
`whole_every_s` reads everything again.

MISP deletes an event's file at once, and names it in the manifest until that is written again. So
an event that the server does not have is left out, and asked for again at the next fetch.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import msgspec
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.formats.misp import EVENT_BYTES_MAX
from stream.feeds.transports.http_get import (
    Secrets,
    WebSession,
    WebSettings,
    address_of,
    known_of,
    web_of,
)
from stream.feeds.transports.landing import Bundle, bundle, date_s, landing
from stream.feeds.transports.misp_folder import EVENTS_MAX, MANIFEST, MANIFEST_BYTES_MAX
from stream.feeds.transports.transport import Fetched, Seconds, Unchanged, shown
from stream.ops.clock import now_s
from stream.ops.schema.toml import Between

_DAY_S = 86_400
_MARK_CHARS = 8
"""Characters of one event in what is remembered: 1,000 events are 8 kB in Redis."""
_EVENT = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MispFeedSettings(WebSettings):
    """`url` of the folder with the manifest.json. `bytes_max` bounds all events together."""

    whole_every_s: Annotated[int, Between(0, 366 * _DAY_S)] = _DAY_S
    deadline_s: Seconds = 1800.0


class _Entry(msgspec.Struct):
    timestamp: str | int = 0


class _Manifest:
    """A decoded manifest.json. Raises FeedDown(PROTOCOL)."""

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

    def marks(self) -> dict[str, str]:
        """Return a short text for each event and its time; 48 bits tell those of one feed apart."""
        hashed = {
            event: hashlib.sha256(f"{event} {at_s}".encode()).digest()
            for event, at_s in self.times.items()
        }
        return {event: b64encode(digest[:6]).decode() for event, digest in hashed.items()}

    def newest(self) -> int:
        """Return the time of the latest change, seconds since the epoch; 0: there is none."""
        return max(self.times.values(), default=0)

    def only(self, events: list[str]) -> bytes:
        """Return the manifest of some of its events."""
        return msgspec.json.encode({event: self._raw[event] for event in events})


def _parted(seen: str) -> set[str]:
    return {seen[at : at + _MARK_CHARS] for at in range(0, len(seen), _MARK_CHARS)}


class MispFeedTransport:
    """One MISP feed."""

    def __init__(self, settings: MispFeedSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        url = URL(settings.url)
        self._url = url if url.path.endswith("/") else url / ""
        self._origin = shown(self._url)
        self._address = address_of(settings.url)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return all events, or those that changed since what was remembered. Raises FeedDown."""
        known = known_of(remembered, self._address, self._settings.whole_every_s)
        async with web_of(self._settings, self._secrets) as web:
            return await self._fetch(web, known, into)

    async def _fetch(
        self, web: WebSession, known: Mapping[str, str], into: Path
    ) -> Fetched | Unchanged:
        reading_s = now_s()
        data, as_of_s = await self._get(web, MANIFEST, MANIFEST_BYTES_MAX, into)
        digest = hashlib.sha256(data).hexdigest()
        if known.get("manifest") == digest:
            return Unchanged(known)
        manifest = _Manifest(data, f"{self._origin}{MANIFEST}")
        since = int(known.get("since", "-1"))
        seen, marks = _parted(known.get("seen", "")), manifest.marks()
        # `>=`: an event may change twice within the second that its timestamp has. The newest time
        # alone says too little: an event may be published after one that was edited later.
        events = sorted(
            event
            for event, at_s in manifest.times.items()
            if at_s >= since or marks[event] not in seen
        )
        with landing(into, self._settings.bytes_max, self._origin) as land:
            with bundle(land) as whole:
                gone = await self._add_events(web, events, whole, into)
                if gone and len(gone) == len(manifest.times):
                    text = f"{self._origin} has none of the events that its {MANIFEST} names"
                    raise FeedDown(FeedFault.MISSING, text)
                chosen = manifest.only([event for event in events if event not in gone])
                whole.add(MANIFEST, len(chosen), BytesIO(chosen))
            if known and len(gone) == len(events):
                land.drop()
        remember = {
            "address": self._address,
            "whole_at_s": known.get("whole_at_s", str(reading_s)),
            "manifest": "" if gone else digest,
            "since": str(min(max(since, manifest.newest()), reading_s)),
            "seen": "".join(sorted(marks[event] for event in marks.keys() - gone)),
        }
        if land.dropped:
            return Unchanged(remember)
        return land.fetched(remember, whole=not known, as_of_s=as_of_s)

    async def _add_events(
        self, web: WebSession, events: Iterable[str], whole: Bundle, into: Path
    ) -> set[str]:
        """Add the files of events; return those that the server does not have."""
        gone = set()
        for event in events:
            try:
                found, _ = await self._get(web, f"{event}.json", EVENT_BYTES_MAX, into)
            except FeedDown as fault:
                if fault.reason is not FeedFault.MISSING:
                    raise
                gone.add(event)
            else:
                whole.add(f"{event}.json", len(found), BytesIO(found))
        return gone

    async def _get(
        self, web: WebSession, name: str, bytes_max: int, into: Path
    ) -> tuple[bytes, int | None]:
        """Return a file of the folder and its time, if the server has one."""
        most = min(bytes_max, self._settings.bytes_max)
        data, headers = await web.read_small(self._url / name, into, most)
        return data, date_s(headers.get("Last-Modified"))
