"""Signed repositories for tests, as a country makes them, and servers that lie about them."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stream.exchange import repository, repository_files, signing
from stream.exchange.mirror import Hub
from stream.exchange.repository_files import PublishedMetadata
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits

VALIDITY = Validity()


@dataclass
class Country:
    """One country's repository: two of three people sign root and targets."""

    home: Path
    owner: str = "KH"
    now_s: int = 0
    people: int = 3
    threshold: int = 2

    def __post_init__(self) -> None:
        self.now_s = self.now_s or int(time.time())
        self.folder = self.home / "repository"
        self.sticks = [self.home / f"stick-{number}" for number in range(self.people)]
        self.ring = KeyRing([self.home / "keys", *self.sticks])
        self.list = f"{self.owner}/scam"
        first = repository.init(self.folder, self.by, self.sticks, self.threshold)
        self.root = first.root
        repository.add_list(self.folder, self.by, self.list)

    @property
    def by(self) -> Signatory:
        return Signatory(self.ring, VALIDITY, self.now_s)

    def publish(self, parts: Mapping[str, bytes | Path | None] | None = None) -> PublishedMetadata:
        parts = parts or {"latest.json": b'{"generation":1}', "1/filter.bloom": b"bits" * 100}
        return repository.publish(self.folder, self.by, self.list, parts, keep=lambda _: True)

    def read(self) -> PublishedMetadata:
        return repository_files.read(self.folder)

    def stamp(self, published: PublishedMetadata) -> None:
        """Publish what was altered, with snapshot and timestamp signed as they should be."""
        repository_files.write(self.folder, signing.stamped(published, self.by))

    def client(
        self, state: Path, url: str | None = None, limits: TufLimits | None = None
    ) -> TufClient:
        return TufClient(url or str(self.folder), state, self.root, limits)


def hub_at(home: Path, now_s: int | None = None, *, marked: bool = True) -> tuple[Hub, bytes]:
    """Make a hub that carries nobody yet; return it and its root. `marked`: the root says so."""
    ring = KeyRing([home / "keys", home / "stick"])
    by = Signatory(ring, VALIDITY, int(time.time()) if now_s is None else now_s)
    folder = home / "hub"
    first = repository.init(folder, by, [home / "stick"], 1, hub=marked)
    return Hub(folder, ring, home / "state", VALIDITY, TufLimits()), first.root


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(
    folder: Path, handler: Callable[..., SimpleHTTPRequestHandler] = _Quiet
) -> Iterator[str]:
    """A plain http.server of a folder; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=partial(server.serve_forever, 0.02), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Lying(_Quiet):
    """Serves a folder, but for what `say` answers by itself."""

    def __init__(self, *args: Any, say: Callable[["Lying"], bool], **kwargs: Any) -> None:
        self._say = say
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        if not self._say(self):
            super().do_GET()
