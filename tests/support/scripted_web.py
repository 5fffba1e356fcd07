"""A web server in this process that answers exactly as ordered, right or wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Answer = bytes | Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""The bytes to send, unchanged; the connection is closed after them."""


@dataclass(slots=True)
class ScriptedWeb:
    """`answers` by path; `asked` are the requests as they came, heads only."""

    answers: dict[str, Answer]
    scheme: str
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request; it ends at the latest when the client goes away."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.asked.append(head)
            answer = self.answers[urlsplit(head.split()[1]).path]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await _first(answer(writer), reader.read())
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away: that is what many of these tests are about
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _first(*jobs: Coroutine[Any, Any, object]) -> None:
    """The first to end ends the others; what one raises is raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in ended:
        task.result()


@asynccontextmanager
async def scripted_web(
    answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedWeb]:
    """A listening one. A connection that a client leaves open is a task that still runs."""
    web = ScriptedWeb(dict(answers), "https" if tls else "http")
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
