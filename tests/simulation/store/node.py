"""One run of one Redis server: connections, replies, transactions, waits, and a role.

Requests are parsed by hiredis, as redis-py's answers are. A connection speaks RESP 2 until HELLO.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hiredis

from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.store.database import (
    OK,
    PONG,
    QUEUED,
    WRITES,
    Args,
    Database,
    Members,
    Refused,
    Reply,
    Status,
)
from tests.simulation.store.scripts import Scripts

PORT = 6379
_READ_BYTES = 1 << 16
_READ_ONLY = "READONLY You can't write against a read only replica."
_UNBLOCKED = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
_DISK_FULL = "MISCONF Errors writing to the AOF file: No space left on device"
_LOADING = "LOADING Redis is loading the dataset in memory"


class Node:
    """A server's process. `wrote` is called with the effects of each change, as one piece."""

    def __init__(
        self,
        loop: VirtualLoop,
        host: str,
        database: Database,
        wrote: Callable[["Node", tuple[Args, ...]], None],
        ahead_s: float = 0.0,
    ) -> None:
        self.loop, self.host, self.database, self.ahead_s = loop, host, database, ahead_s
        self.process = Process(loop, host)
        self.primary_host = ""
        """Host of its primary; "": it is one."""
        self.history = ""
        """Replication id."""
        self.run_id = ""
        """Another one at each start."""
        self.offset = 0
        self.loading = self.disk_full = False
        self.seen: dict[str, int] = {}
        """Offsets that replicas are known to have, by host."""
        self.scripts = Scripts()
        self.connections: dict[_Connection, None] = {}
        self._wrote = wrote
        self._changed: asyncio.Future[None] | None = None

    @property
    def now_ms(self) -> int:
        """The server's clock, in milliseconds since the epoch."""
        return int((self.loop.wall_s + self.ahead_s) * 1000)

    async def start(self) -> None:
        """Listen."""
        self.loop.note("start", self.host)
        await self.process.run(self._listen())

    async def _listen(self) -> None:
        await asyncio.start_server(self._serve, port=PORT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        self.connections[connection] = None
        with suppress(ConnectionError):
            await connection.serve(reader)
        self.connections.pop(connection, None)
        writer.transport.abort()

    def demote(self, primary_host: str, *, hang_up: bool) -> None:
        """Become a replica: waiting clients are let go, or all of them cut off."""
        self.primary_host = primary_host
        self.wake()
        if hang_up:
            for connection in list(self.connections):
                connection.writer.transport.abort()

    def run(self, args: Args) -> Reply:
        """Run one command, or one script, as one change. Raises Refused."""
        database = self.database
        database.effects = []
        try:
            return self._run(args)
        finally:
            if database.effects:
                self.told(tuple(database.effects))
                database.effects = []

    def _run(self, args: Args) -> Reply:
        name = args[0].upper()
        if name == b"EVALSHA":
            return self.scripts.run(args[1], args[2:], self._called)
        if name == b"EVAL":
            return self.scripts.run(self.scripts.load(args[1]), args[2:], self._called)
        return self._called(args)

    def _called(self, args: Args) -> Reply:
        if args[0].upper() in WRITES:
            if self.primary_host:
                raise Refused(_READ_ONLY)
            if self.disk_full:
                raise Refused(_DISK_FULL)
        return self.database.run(args, self.now_ms)

    def told(self, effects: tuple[Args, ...]) -> None:
        """Hand on what changed; wake who waits for it."""
        self.offset += 1
        self._wrote(self, effects)
        self.wake()

    def apply(self, effects: tuple[Args, ...], offset: int) -> None:
        """Make the changes of the primary, as its replica."""
        for args in effects:
            self.database.run(args, self.now_ms)
        self.database.effects = []
        self.offset = offset
        self.wake()

    def wake(self) -> None:
        """Let those look again who wait for a change, or for replicas."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._changed = None

    async def change(self, until_s: float) -> None:
        """Wait for a change, until a moment of the loop's clock at most."""
        if self._changed is None:
            self._changed = self.loop.create_future()
        await asyncio.wait([self._changed], timeout=max(until_s - self.loop.time(), 0.0))

    def info(self) -> bytes:
        """Return what INFO says, as far as it is read."""
        rows = ["redis_version:7.0.15", "cluster_enabled:0", "maxmemory_policy:noeviction"]
        rows += ["aof_enabled:1", f"run_id:{self.run_id}", f"master_replid:{self.history}"]
        if self.primary_host:
            rows += ["role:slave", f"master_host:{self.primary_host}", f"master_port:{PORT}"]
        else:
            rows += ["role:master", f"connected_slaves:{len(self.seen)}"]
        return "".join(f"{row}\r\n" for row in rows).encode()


class _Connection:
    """One client's connection: its protocol, its transaction, its last change."""

    def __init__(self, node: Node, writer: asyncio.StreamWriter) -> None:
        self.node, self.writer = node, writer
        self._resp = 2
        self._queued: list[Args] | None = None
        self._bad = False
        self._wrote_at = 0

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer until the client closes."""
        parser = hiredis.Reader()
        while data := await reader.read(_READ_BYTES):
            parser.feed(data)
            while (args := parser.gets()) is not False:
                try:
                    reply = await self._answer(args)
                except Refused as refused:
                    reply = refused
                self.writer.write(encoded(reply, self._resp))

    async def _answer(self, args: Args) -> Reply:
        node, name = self.node, args[0].upper()
        if node.loading and name not in {b"HELLO", b"CLIENT", b"AUTH", b"SELECT"}:
            raise Refused(_LOADING)
        if self._queued is not None and name not in {b"EXEC", b"DISCARD"}:
            self._queued.append(args)
            return QUEUED
        match name:
            case b"HELLO":
                self._resp = int(args[1])
                return {b"server": b"redis", b"proto": self._resp}
            case b"CLIENT" if args[1].upper() == b"SETINFO":
                return OK
            case b"CLIENT":
                raise Refused(f"ERR unknown subcommand '{args[1].decode()}'. Try CLIENT HELP.")
            case b"AUTH" | b"SELECT":
                return OK
            case b"PING":
                return PONG
            case b"INFO":
                return node.info()
            case b"MULTI":
                self._queued = []
                return OK
            case b"EXEC":
                return self._exec()
            case b"SCRIPT" if args[1].upper() == b"LOAD":
                return node.scripts.load(args[2])
            case b"SCRIPT" if args[1].upper() == b"EXISTS":
                return [int(digest in node.scripts) for digest in args[2:]]
            case b"WAIT":
                return await self._wait(int(args[1]), int(args[2]))
            case b"XREAD":
                return await self._read(args)
        return self._changes(lambda: node.run(args))

    def _changes(self, make: Callable[[], Reply]) -> Reply:
        before = self.node.offset
        try:
            return make()
        finally:
            if self.node.offset > before:
                self._wrote_at = self.node.offset

    def _exec(self) -> Reply:
        if self._queued is None:
            raise Refused("ERR EXEC without MULTI")
        queued, self._queued = self._queued, None

        def each() -> list[Reply]:
            replies: list[Reply] = []
            for args in queued:
                try:
                    replies.append(self.node.run(args))
                except Refused as refused:
                    replies.append(refused)
            return replies

        return self._changes(each)

    async def _wait(self, count: int, ms: int) -> int:
        node = self.node
        until_s = node.loop.time() + ms / 1000
        while True:
            have = sum(offset >= self._wrote_at for offset in node.seen.values())
            if have >= count or node.loop.time() >= until_s:
                return have
            await node.change(until_s)

    async def _read(self, args: Args) -> Reply:
        node, options = self.node, [one.upper() for one in args]
        reply = node.run(args)
        if reply is not None or b"BLOCK" not in options:
            return reply
        role = node.primary_host
        until_s = node.loop.time() + int(args[options.index(b"BLOCK") + 1]) / 1000
        while reply is None and node.loop.time() < until_s:
            await node.change(until_s)
            if node.primary_host != role:
                raise Refused(_UNBLOCKED)
            reply = node.run(args)
        return reply


def encoded(reply: Reply, resp: int) -> bytes:
    """Return a reply as bytes of RESP 2 or 3."""
    if reply is None:
        return b"_\r\n" if resp == 3 else b"$-1\r\n"
    if isinstance(reply, Refused):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, Status):
        return b"+%b\r\n" % bytes(reply)
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, dict):
        flat: list[Any] = [part for pair in reply.items() for part in pair]
        head = b"%%%d\r\n" % len(reply) if resp == 3 else b"*%d\r\n" % len(flat)
        return head + b"".join(encoded(one, resp) for one in flat)
    sign = b"~" if isinstance(reply, Members) and resp == 3 else b"*"
    return b"%b%d\r\n" % (sign, len(reply)) + b"".join(encoded(one, resp) for one in reply)
