"""TAXII 2.1 (OASIS): a collection's objects, page by page, as one envelope in one file.

Paging by time alone loses objects (cti-taxii2 issue 44): several may have one date, and some come
late with an earlier one. So each fetch asks again for the last `overlap_s`, and an answer equal to
the last one counts as none. A server without `next` is asked from just before the last date. A
server does not report what it deletes; `whole_every_s` reads everything again.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import xxhash
from yarl import URL

from stream.core.model.errors import FeedDown, FeedFault
from stream.core.model.moments import read_rfc3339
from stream.feeds.transports.http_get import (
    Secrets,
    WebSession,
    WebSettings,
    address_of,
    known_of,
    web_of,
)
from stream.feeds.transports.landing import Landing, landing
from stream.feeds.transports.transport import Fetched, Unchanged, shown
from stream.ops.clock import now_s
from stream.ops.schema.toml import Between

MEDIA_TYPE = "application/taxii+json;version=2.1"
DATE_ADDED_LAST = "X-TAXII-Date-Added-Last"
TICK = timedelta(microseconds=1)
"""`added_after` is exclusive: one tick less asks for the same moment again."""

T = TypeVar("T")


class Envelope(msgspec.Struct):
    """A page of objects, each as it came."""

    more: bool = False
    next: str | None = None
    objects: list[msgspec.Raw] = []


class Discovery(msgspec.Struct):
    """The API roots of a server. The answer of a root itself is not used."""

    api_roots: list[str] = []
    default: str = ""

    def in_order(self) -> list[str]:
        """Return the API roots, the default first."""
        return sorted(set(self.api_roots), key=lambda root: (root != self.default, root))


class Collection(msgspec.Struct):
    """A collection that a server names."""

    id: str
    title: str = ""
    alias: str = ""
    can_read: bool = True


class Collections(msgspec.Struct):
    """The collections of an API root."""

    collections: list[Collection] = []


def decoded(data: bytes, kind: type[T], origin: str) -> T:
    """Decode an answer as a `kind`. Raises FeedDown(PROTOCOL)."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        text = f"{origin} does not answer as TAXII 2.1 has it ({type(error).__name__})"
        raise FeedDown(FeedFault.PROTOCOL, text) from error


def check_type(content_type: str, origin: str) -> None:
    """Raise FeedDown(PROTOCOL) for the answers of other versions and other servers."""
    name, _, rest = content_type.lower().replace(" ", "").partition(";")
    if name != "application/taxii+json" or (rest and "version=2.1" not in rest):
        text = f'{origin} speaks no TAXII 2.1: its Content-Type is "{content_type[:80]}"'
        raise FeedDown(FeedFault.PROTOCOL, text)


def moment_in(text: str | None) -> datetime | None:
    """Return the point in time that a text names, in UTC; None: it names none."""
    moment = read_rfc3339((text or "").strip())
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def written(moment: datetime) -> str:
    """Return a point in time as TAXII writes it: RFC 3339 in UTC, to the microsecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def earlier(moment: datetime, by: timedelta) -> datetime:
    """Return a point in time before, not before year 1."""
    start = datetime.min.replace(tzinfo=UTC)
    return moment - by if moment - start > by else start


PAGE_BYTES_MAX = 64 << 20
"""A page is held in memory. Servers choose its size and stay far below this."""
IDLE_PAGES_MAX = 3
"""Pages in a row with nothing new, after which a fetch fails: the server makes no progress."""
REMEMBERED_MAX = 1000
"""Last objects that are remembered, to recognise an overlap: 17 KB."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxiiSettings(WebSettings):
    """Settings of a TAXII collection.

    `url`: the collection's own address, or, with `collection` (its id, alias or title), that of an
    API root or of the server's discovery. `limit`: objects a page.
    """

    collection: str = ""
    limit: Annotated[int, Between(1, 100_000)] = 1000
    overlap_s: Annotated[int, Between(0, _DAY_S)] = 60
    whole_every_s: Annotated[int, Between(0, 366 * _DAY_S)] = _DAY_S


class TaxiiTransport:
    """One collection."""

    def __init__(self, settings: TaxiiSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        self._url = URL(settings.url)
        self._origin = shown(self._url)
        self._address = address_of(settings.url, settings.collection)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return all objects, or those that came since what was remembered. Raises FeedDown."""
        known = known_of(remembered, self._address, self._settings.whole_every_s)
        async with web_of(self._settings, self._secrets) as web:
            asking = _Asking(web, self._settings, self._origin, into)
            objects_url = await self._objects_url(asking)
            return await self._fetch(asking, objects_url, known, into)

    async def _fetch(
        self, asking: "_Asking", url: URL, known: Mapping[str, str], into: Path
    ) -> Fetched | Unchanged:
        after = moment_in(known.get("added_after"))
        since = (
            None if after is None else earlier(after, timedelta(seconds=self._settings.overlap_s))
        )
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
            remember["added_after"] = written(newest)
        # Not as of its newest object: where that is deleted, all would look older than before.
        return land.fetched(remember, whole=since is None)

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
    def __init__(self, web: WebSession, settings: TaxiiSettings, origin: str, into: Path) -> None:
        self._web, self._origin, self._into = web, origin, into
        self._bytes_max = min(PAGE_BYTES_MAX, settings.bytes_max)

    async def page(self, url: URL) -> tuple[Envelope, datetime | None]:
        """Return one page and the time at which its last object was added. Raises FeedDown."""
        data, last = await self._get(url)
        return decoded(data, Envelope, self._origin), moment_in(last)

    async def ask(self, url: URL, kind: type[T]) -> T:
        """Return one answer, decoded. Raises FeedDown."""
        data, _ = await self._get(url)
        return decoded(data, kind, self._origin)

    async def _get(self, url: URL) -> tuple[bytes, str | None]:
        accept = {"Accept": MEDIA_TYPE}
        data, headers = await self._web.read_small(url, self._into, self._bytes_max, accept)
        check_type(headers.get("Content-Type", ""), shown(url))
        return data, headers.get(DATE_ADDED_LAST)


class _Pages:
    """All pages of one request. Each object is written once."""

    def __init__(self, asking: _Asking, settings: TaxiiSettings, land: Landing) -> None:
        self._asking, self._settings, self._land = asking, settings, land
        self.seen: set[str] = set()
        self.tail: deque[str] = deque(maxlen=REMEMBERED_MAX)

    async def read(self, url: URL, since: datetime | None) -> datetime | None:
        """Write the envelope; return when its last object was added, if known. Raises FeedDown."""
        limit = {"limit": str(self._settings.limit)}
        query = limit if since is None else {**limit, "added_after": written(since)}
        newest: datetime | None = None
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
                query = {**limit, "added_after": written(earlier(last, TICK))}
            else:
                raise self._lost(url, "says that there is more, and not how to ask for it")
            if idle >= IDLE_PAGES_MAX:
                raise self._lost(url, f"answered {idle} pages with nothing new")
        self._land.write(b"]}\n")
        return newest

    def _keep(self, envelope: Envelope) -> bool:
        """Write new objects; return whether there was one."""
        before = len(self.seen)
        for raw in envelope.objects:
            # By its bytes, not its id: a new version of an object has the same id.
            digest = xxhash.xxh3_64_hexdigest(raw)
            if digest not in self.seen:
                self._land.write((b",\n" if self.seen else b"") + bytes(raw))
                self.seen.add(digest)
                self.tail.append(digest)
        return len(self.seen) > before

    def _lost(self, url: URL, what: str) -> FeedDown:
        text = f"{shown(url)} {what}: perhaps more objects have one date than limit ="
        return FeedDown(FeedFault.PROTOCOL, f"{text} {self._settings.limit:,}; raise it")
