"""Connections of HTTP clients in a simulation: those of aiohttp, and the blocking ones of urllib3.

Partners' hosts have addresses for names, so that nobody asks for one.
"""

import asyncio
import datetime as dt
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import aiohappyeyeballs
import aiohttp.connector
import tuf.ngclient._internal.trusted_metadata_set as trusted
import urllib3.connection
import urllib3.util.connection

from tests.simulation.loop import VirtualLoop
from tests.simulation.partners.strands import waited


class _Raw(io.RawIOBase):
    """The side of a socket that is read."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        wire.readers += 1

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        piece = self._wire.read(len(room))
        room[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._wire.readers -= 1
            self._wire.close_if_unused()


class Wire:
    """As much of a blocking socket as urllib3 uses."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float | None
    ) -> None:
        self._reader, self._writer, self._timeout_s = reader, writer, timeout_s
        self.readers = 0
        self._closed = False

    def settimeout(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s

    def setsockopt(self, *_: object) -> None:
        """Options change nothing here."""

    def sendall(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise BrokenPipeError(32, "Broken pipe")
        self._writer.write(data)

    def read(self, size: int) -> bytes:
        return waited(asyncio.wait_for(self._reader.read(size), self._timeout_s))

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self))

    @property
    def has_news(self) -> bool:
        """True if there is something to read, which may be the end."""
        reader: Any = self._reader
        return bool(reader._buffer) or reader._eof or reader._exception is not None

    def shutdown(self, _: int) -> None:
        self._writer.close()

    def close(self) -> None:
        self._closed = True
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """Close the connection once nobody reads from it, as the system does."""
        if self._closed and not self.readers:
            self._writer.close()


def _dialled(address: tuple[str, int], timeout: Any = None, **_: object) -> Wire:
    """Connect as `socket.create_connection` does. Raises OSError."""
    opened = asyncio.open_connection(*address)
    seconds = timeout if isinstance(timeout, int | float) else None
    reader, writer = waited(asyncio.wait_for(opened, seconds))
    return Wire(reader, writer, seconds)


class _Moment(dt.datetime):
    """The time of day by the clock of who asks."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)


@contextmanager
def wired(loop: VirtualLoop) -> Iterator[None]:
    """Within the block, HTTP clients use the simulated network, and TUF its clock."""

    async def start(addr_infos: Any, **_: object) -> Any:
        return addr_infos[0][4]

    connect = loop.create_connection

    async def create(factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        if (address := more.pop("sock", None)) is not None:
            host, port = address[:2]
        return await connect(factory, host, port, **more)

    with (
        patch.object(aiohappyeyeballs, "start_connection", start),
        patch.object(aiohttp.connector, "monotonic", loop.time),
        patch.object(loop, "create_connection", create),
        patch.object(urllib3.util.connection, "create_connection", _dialled),
        patch.object(urllib3.connection, "wait_for_read", lambda wire, **_: wire.has_news),
        patch.object(trusted, "datetime", SimpleNamespace(datetime=_Moment, timezone=dt.timezone)),
    ):
        yield
