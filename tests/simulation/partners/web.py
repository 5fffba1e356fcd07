"""A partner's web server in a simulation, honest or not.

It answers from what its `content` returns at that moment. A mood decides how: each is an item of
the attack list of signed repositories, or a mishap that partners' servers are known for.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.simulation.loop import Process
from tests.simulation.world import World

PORT = 80
_SILENT_S = 300.0
_PAGE = b"<html><body><form>Please log in</form></body></html>\n"
OF_ANSWERS = (
    *("slow", "cut", "silent", "short", "long", "endless", "large", "error", "loop", "page"),
    *("refuse", "garble"),
)
"""The moods, each a method."""
UNSEEN = ("long", "garble")
"""Those that nobody can see without a checksum or a signature: what is announced has come."""


@dataclass(frozen=True)
class Content:
    """A file as it lies on the server. `at_s`: its time, None: it has none."""

    data: bytes
    at_s: int | None = None
    garbled: bool = True
    """True if a mood may alter it: something else says what it must be."""


@dataclass
class _Asked:
    path: str
    headers: Mapping[str, str]
    writer: asyncio.StreamWriter
    close: bool = field(default=False)

    def write(self, status: str, body: bytes, length: int | None, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)


class Web:
    """The server on one host. `large` is more than any client takes."""

    def __init__(
        self, world: World, host: str, content: Callable[[str], Content | None], large: int
    ) -> None:
        self.world, self.host, self.content, self.large = world, host, content, large
        self.mood = ""
        self.asked = 0
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """The address of its root."""
        return f"http://{self.host}"

    async def start(self) -> None:
        """Start it, for the first time or again."""
        self.process = self.world.process(self.host)
        # Calm ends who waits for it in the middle, and not the server that starts (seed 180000651).
        await asyncio.shield(self.process.run(self._listen()))

    async def _listen(self) -> None:
        await asyncio.start_server(self._serve, port=PORT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").splitlines()
                pairs = (line.partition(":")[::2] for line in lines if line)
                headers = {name.strip().lower(): value.strip() for name, value in pairs}
                asked = _Asked(first.split()[1], headers, writer)
                self.asked += 1
                # A mood of what is published is the content's.
                await getattr(self, f"_{self.mood}", self._honest)(asked)
                if asked.close:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def _honest(self, asked: _Asked, *, garble: bool = False) -> None:
        found = self.content(asked.path)
        if found is None:
            asked.write("404 Not Found", b"", 0)
            return
        data, more = found.data, self._said(found)
        if garble and found.garbled and data:
            place = self.world.rng.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        if more["ETag"] == asked.headers.get("if-none-match"):
            asked.write("304 Not Modified", b"", None, **more)
            return
        begin = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        status = "206 Partial Content" if begin else "200 OK"
        asked.write(status, data[begin:], len(data) - begin, **more)

    def _said(self, found: Content) -> dict[str, str]:
        said = {
            "Date": formatdate(self.world.loop.wall_s, usegmt=True),
            "ETag": f'"{hashlib.sha256(found.data).hexdigest()[:16]}"',
        }
        if found.at_s is not None:
            said["Last_Modified"] = formatdate(found.at_s, usegmt=True)
        return said

    def _body(self, asked: _Asked) -> bytes:
        found = self.content(asked.path)
        return found.data if found is not None else _PAGE

    async def _garble(self, asked: _Asked) -> None:
        """Alter one bit of each file."""
        await self._honest(asked, garble=True)

    async def _slow(self, asked: _Asked) -> None:
        """Let a byte drip now and then."""
        body = self._body(asked)
        asked.write("200 OK", b"", len(body))
        for place in range(len(body)):
            await asyncio.sleep(0.5)
            asked.writer.write(body[place : place + 1])

    async def _cut(self, asked: _Asked) -> None:
        """Break the connection in the middle of the body."""
        body = self._body(asked)
        asked.write("200 OK", body[: self.world.rng.randrange(len(body) + 1)], len(body))
        await asyncio.sleep(self.world.rng.expovariate(100))
        asked.writer.transport.abort()
        asked.close = True

    async def _silent(self, _: _Asked) -> None:
        """Take the question and never answer."""
        await asyncio.sleep(_SILENT_S)

    async def _short(self, asked: _Asked) -> None:
        """Announce more than comes, and close in order."""
        body = self._body(asked)
        asked.write("200 OK", body, len(body) + 7)
        asked.close = True

    async def _long(self, asked: _Asked) -> None:
        """Announce less than comes."""
        body = self._body(asked)
        asked.write("200 OK", body, max(len(body) - 7, 0))
        asked.close = True

    async def _endless(self, asked: _Asked) -> None:
        """Send a body that has no end."""
        asked.write("200 OK", self._body(asked), None)
        sent = 0
        while not asked.writer.is_closing() and sent < 4 * self.large:
            asked.writer.write(b"+" * 20_000)
            sent += 20_000
            await asyncio.sleep(0.01)
        asked.close = True

    async def _large(self, asked: _Asked) -> None:
        """Announce more than anybody takes, and send it."""
        asked.write("200 OK", b"+" * self.large, 2 * self.large)
        asked.close = True

    async def _error(self, asked: _Asked) -> None:
        """Fail, and ask for patience at times."""
        more = self.world.rng.choice(({}, {"Retry_After": "2"}))
        asked.write("503 Service Unavailable", _PAGE, len(_PAGE), **more)

    async def _loop(self, asked: _Asked) -> None:
        """Redirect to the same place for ever."""
        asked.write("302 Found", b"", 0, Location=f"{self.url}{asked.path}")

    async def _page(self, asked: _Asked) -> None:
        """Answer with a page for people, as portals do."""
        asked.write("200 OK", _PAGE, len(_PAGE), Content_Type="text/html")

    async def _refuse(self, asked: _Asked) -> None:
        """Forbid it."""
        asked.write("403 Forbidden", b"", 0)
