"""TAXII 2.1 (OASIS): a collection's objects, page by page, as one envelope in one file.

Paging by time alone loses objects (cti-taxii2 issue 44): several may have one date, and some come
late with an earlier one. So each fetch asks again for the last `overlap_s`, an answer that is the
same as the last time counts as none, and a server without `next` is asked from just before the
last date. Objects that a server deletes are not told; `whole_every_s` reads all of it again.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import xxhash
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transport import Fetched, Unchanged, shown
from stream.feeds.transports.body import Pace, read_body
from stream.feeds.transports.http_get import LoginSettings, Secrets, TlsSettings, Web, WebSettings
from stream.feeds.transports.landing import Landing, landing
from stream.feeds.transports.limits import BYTES_MAX, BytesMax, Rate, Seconds
from stream.feeds.transports.taxii_answers import (
    DATE_ADDED_LAST,
    MEDIA_TYPE,
    TICK,
    Collections,
    Discovery,
    Envelope,
    Moment,
    check_type,
    decoded,
)
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked

PAGE_BYTES_MAX = 64 << 20
"""A page is held in memory; servers choose their size and stay far below this."""
IDLE_PAGES_MAX = 3
"""A server that gives pages without anything new does not get on: stop, and say so."""
REMEMBERED_MAX = 1000
"""The last objects, by which an overlap is known again: 17 KB."""
T = TypeVar("T")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxiiSettings:
    """Settings of a TAXII collection.

    `url`: the collection's own address, or, with `collection` (its id, alias or title), that of an
    API root or of the server's discovery. `limit`: objects a page.
    """

    url: Annotated[str, Checked(checks.web_url)]
    collection: str = ""
    limit: Annotated[int, Between(1, 100_000)] = 1000
    overlap_s: Annotated[int, Between(0, _DAY_S)] = 60
    whole_every_s: Annotated[int, Between(0, 366 * _DAY_S)] = _DAY_S
    login: LoginSettings = field(default_factory=LoginSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    proxy: Literal["none", "environment"] = "none"
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 600.0
    answer_s: Seconds = 30.0
    bytes_per_s_min: Rate = 1000
    slow_window_s: Seconds = 30.0

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that hold its secrets."""
        return self.login.variables()

    def web(self) -> WebSettings:
        """The settings of the connection to its server."""
        return WebSettings(login=self.login, tls=self.tls, proxy=self.proxy, answer_s=self.answer_s)


class TaxiiTransport:
    """One collection."""

    def __init__(self, settings: TaxiiSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        self._url = URL(settings.url)
        self._origin = shown(self._url)
        asked = f"{settings.url} {settings.collection}"
        self._address = hashlib.sha256(asked.encode()).hexdigest()[:16]

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return all objects, or those that came since what was remembered. Raises FeedDown."""
        deadline_s = self._settings.deadline_s
        known = remembered if remembered.get("address") == self._address else {}
        if now_s() - int(known.get("whole_at_s", "0")) >= self._settings.whole_every_s:
            known = {}
        try:
            async with (
                asyncio.timeout(deadline_s),
                Web(self._settings.web(), self._secrets, self._url) as web,
            ):
                asking = _Asking(web, self._settings, self._origin, into)
                objects_url = await self._objects_url(asking)
                return await self._fetch(asking, objects_url, known, into)
        except TimeoutError as error:
            text = f"{self._origin} was not complete within deadline_s = {deadline_s:g}"
            raise FeedDown(FeedFault.TIMEOUT, text) from error

    async def _fetch(
        self, asking: "_Asking", url: URL, known: Mapping[str, str], into: Path
    ) -> Fetched | Unchanged:
        after = Moment.parsed(known.get("added_after"))
        since = None if after is None else after.less(timedelta(seconds=self._settings.overlap_s))
        reading_s = now_s()
        with landing(into, self._settings.bytes_max, self._origin) as land:
            pages = _Pages(asking, self._settings, land)
            newest = await pages.read(url, since)
            nothing_new = pages.seen <= set(known.get("seen", "").split())
            if since is not None and nothing_new:
                land.drop()
        if land.dropped:
            return Unchanged(known)
        remember = {
            "address": self._address,
            "whole_at_s": str(reading_s) if since is None else known["whole_at_s"],
            "seen": " ".join(pages.tail),
        }
        newest = max((one for one in (newest, after) if one is not None), default=None)
        if newest is not None:  # a server that tells no dates is read whole each time
            remember["added_after"] = str(newest)
        # Not as of its newest object: where that is deleted, all would look older than before.
        return Fetched(into, land.size, land.sha256, remember, since is None, origin=self._origin)

    async def _objects_url(self, asking: "_Asking") -> URL:
        """Return the address of the collection's objects. Raises FeedDown."""
        base = self._url / "" if not self._url.path.endswith("/") else self._url
        wanted = self._settings.collection
        if not wanted:
            return base / "objects/"
        server = await asking.ask(self._url, Discovery)
        roots = [base.join(URL(root)) for root in server.in_order()] or [base]
        for root in roots:
            if root.origin() != self._url.origin():
                text = f"{self._origin} has its API root at {shown(root)}: put that in as url"
                raise FeedDown(FeedFault.REDIRECTED, text)
            inside = root if root.path.endswith("/") else root / ""
            known = await asking.ask(inside / "collections/", Collections)
            for one in known.collections:
                if wanted in (one.id, one.alias, one.title):
                    if not one.can_read:
                        text = f'{self._origin}: we may not read the collection "{wanted}"'
                        raise FeedDown(FeedFault.UNAUTHORISED, text)
                    return inside / "collections" / one.id / "objects/"
        text = f'{self._origin} has no collection "{wanted}" in {len(roots)} API roots'
        raise FeedDown(FeedFault.MISSING, text)


class _Asking:
    """One server, asked for small things and for pages."""

    def __init__(self, web: Web, settings: TaxiiSettings, origin: str, into: Path) -> None:
        self._web, self._origin = web, origin
        self._beside = into.with_name(f"{into.name}.page")
        bytes_max = min(PAGE_BYTES_MAX, settings.bytes_max)
        self._pace = Pace(bytes_max, settings.bytes_per_s_min, settings.slow_window_s)

    async def page(self, url: URL) -> tuple[Envelope, Moment | None]:
        """One page, and when its last object was added. Raises FeedDown."""
        data, last = await self._get(url)
        return decoded(data, Envelope, self._origin), Moment.parsed(last)

    async def ask(self, url: URL, kind: type[T]) -> T:
        """One answer. Raises FeedDown."""
        data, _ = await self._get(url)
        return decoded(data, kind, self._origin)

    async def _get(self, url: URL) -> tuple[bytes, str | None]:
        async with self._web.get(url, {"Accept": MEDIA_TYPE}) as response:
            with landing(self._beside, self._pace.bytes_max, shown(url)) as land:
                await read_body(response, land, self._pace, shown(url))
                check_type(response.headers.get("Content-Type", ""), shown(url))
                land.drop()
                return land.content(), response.headers.get(DATE_ADDED_LAST)


class _Pages:
    """All pages of one question, their objects written once each."""

    def __init__(self, asking: _Asking, settings: TaxiiSettings, land: Landing) -> None:
        self._asking, self._settings, self._land = asking, settings, land
        self.seen: set[str] = set()
        self.tail: deque[str] = deque(maxlen=REMEMBERED_MAX)

    async def read(self, url: URL, since: Moment | None) -> Moment | None:
        """Write the envelope; when the last object was added, if the server says. FeedDown."""
        limit = {"limit": str(self._settings.limit)}
        query = limit if since is None else {**limit, "added_after": str(since)}
        newest: Moment | None = None
        idle = 0
        self._land.write(b'{"objects":[')
        while True:
            envelope, last = await self._asking.page(url.update_query(query))
            idle = 0 if self._keep(envelope) else idle + 1
            newest = max((one for one in (newest, last) if one is not None), default=None)
            if not envelope.more:
                break
            if envelope.next is not None:
                query = {**query, "next": envelope.next}
            elif last is not None and not idle:
                query = {**limit, "added_after": str(last.less(TICK))}
            else:
                raise self._lost(url, "says that there is more, and not how to ask for it")
            if idle >= IDLE_PAGES_MAX:
                raise self._lost(url, f"answered {idle} pages with nothing new")
        self._land.write(b"]}\n")
        return newest

    def _keep(self, envelope: Envelope) -> bool:
        """Write the objects that were not there yet; whether there was one."""
        before = len(self.seen)
        for raw in envelope.objects:
            digest = xxhash.xxh3_64_hexdigest(raw)
            if digest not in self.seen:
                self._land.write((b",\n" if self.seen else b"") + bytes(raw))
                self.seen.add(digest)
                self.tail.append(digest)
        return len(self.seen) > before

    def _lost(self, url: URL, what: str) -> FeedDown:
        text = f"{shown(url)} {what}: perhaps more objects have one date than limit ="
        return FeedDown(FeedFault.PROTOCOL, f"{text} {self._settings.limit:,}; raise it")
