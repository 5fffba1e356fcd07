"""Two countries on one machine: one publishes a list from its register, the other follows it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import redis

from stream.config.feed_files import read_feed
from stream.core.model.agreement import Shared
from stream.exchange.edition import Edition, Offer
from stream.exchange.publisher import ListPublisher
from stream.exchange.repository import add_list, init
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.feed import VersionRecord
from stream.feeds.follow.feed_follower import Follower
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_s
from tests.support.builders import entry
from tests.support.feeds import CONTEXT, workplace

LIST = "KH/scam"
BY = By("sok", "found by the police")
FEED = """
list = "KH/scam"
format = "snapshot"
sources = "both"
may_list = ["*"]
{extra}
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "tuf"
{place}
root = "{root}"
targets = "KH/scam"
"""


class Handler(SimpleHTTPRequestHandler):
    """A plain web server that says what it was asked for, and may break off in the middle."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range", "")))  # type: ignore[attr-defined]
        breaks_after = self.server.breaks_after  # type: ignore[attr-defined]
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        data = data[begin:]
        if breaks_after and len(data) > breaks_after:
            self.wfile.write(data[:breaks_after])
            self.close_connection = True
            return
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@dataclass
class Always:
    """One list that is always shared the same."""

    one: Offer

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.one.name})

    def look(self) -> bool:
        return False

    def offer(self, name: str, circle: str) -> Offer | None:
        assert (name, circle) == (self.one.name, "plain")
        return self.one


class Publisher:
    """A country with a register, a repository and keys."""

    def __init__(self, folder: Path, register: ListStore, shares: Shared, key: bytes = b"") -> None:
        self.folder = folder / "repository"
        self.register = register
        ring = KeyRing([folder / "keys"])
        self.offer = Offer(LIST, shares, key)
        validity = Validity()
        both = KeyRing([folder / "keys", folder / "offline"])
        by = Signatory(both, validity, now_s())
        init(self.folder, by, [folder / "offline"], 1)
        add_list(self.folder, by, LIST)
        self.outlet = ListPublisher(self.folder, ring, validity)
        self.root = folder / "root.json"
        self.root.write_bytes((self.folder / "metadata" / "1.root.json").read_bytes())

    async def add(self, *numbers: str, **fields: Any) -> None:
        made = [entry(number, key=self.offer.key, **fields) for number in numbers]
        await self.register.add(LIST, made, BY)

    async def remove(self, *numbers: str) -> None:
        gone = [Removal(entry(one, key=self.offer.key).fingerprint, one) for one in numbers]
        await self.register.remove(LIST, gone, BY)

    async def publishes(self, *, anew: bool = False) -> Edition | None:
        return await self.outlet.bring_out(self.register, self.offer, restart=anew)


class Country:
    """A country that follows the list."""

    def __init__(self, folder: Path, url: str, feed: Path, key: bytes = b"") -> None:
        self.folder, self.url, self.key = folder, url, key
        self.setup = read_feed(feed, {}, CONTEXT)

    async def pulls(self, *, whole: bool = False) -> VersionRecord | None:
        async with workplace(self.folder / "state", self.url) as place:
            return await Follower(self.setup, place, quiet=True).pull(whole=whole)

    async def accepts(self) -> VersionRecord:
        record = await self.pulls()
        assert record is not None
        assert record.verdict == "accepted", record
        return record

    async def fingerprints(self) -> set[int]:
        async with await ListStore.connect(ListStoreSettings(self.url)) as register:
            _, columns = await entries_of(register, LIST, self.key)
        return set(columns.fingerprint.tolist())

    async def holds(self, *numbers: str) -> bool:
        wanted = {entry(number, key=self.key).fingerprint for number in numbers}
        return wanted <= await self.fingerprints()


class Lab:
    """Both, and the web server between them."""

    def __init__(
        self,
        folder: Path,
        urls: Sequence[str],
        shares: Shared,
        circle: str = "plain",
        key: bytes = b"",
    ) -> None:
        self.folder, self.urls, self.shares = folder, urls, shares
        self.circle, self.key = circle, key
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for url in self.urls:
            with redis.Redis.from_url(url) as client:
                client.flushdb()
        register = await self._stack.enter_async_context(
            await ListStore.connect(ListStoreSettings(self.urls[0]))
        )
        await register.create(LIST, self.circle, BY)
        (self.folder / "kh").mkdir()
        self.kh = Publisher(self.folder / "kh", register, self.shares, self.key)
        handler = partial(Handler, directory=str(self.kh.folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.asked: list[tuple[str, str]] = []
        self.server.asked = self.asked  # type: ignore[attr-defined]
        self.breaks_after(0)
        thread = Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self.server.server_close)
        self._stack.callback(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.th = self.country("th", f'url = "{self.url}"')
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def breaks_after(self, size: int) -> None:
        """From now on the server hangs up after so many bytes of a file; 0: it does not."""
        self.server.breaks_after = size  # type: ignore[attr-defined]

    def country(self, name: str, place: str, extra: str = "") -> Country:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        feed = folder / "kh-scam.toml"
        extra = f'circle = "{self.circle}"\n{extra}'
        feed.write_text(FEED.format(place=place, root=self.kh.root, extra=extra))
        return Country(folder, self.urls[1], feed, self.key)


@asynccontextmanager
async def lab(
    folder: Path,
    urls: Sequence[str],
    shares: Shared = Shared.NUMBERS,
    circle: str = "plain",
    key: bytes = b"",
) -> AsyncIterator[Lab]:
    async with Lab(folder, urls, shares, circle, key) as made:
        yield made
