"""Redis as carriers run it: a primary with replicas, and sentinels that choose another primary.

Replication follows the answer, as Redis does it: what the primary had not handed on when it died is
lost. A sentinel learns of another primary a moment after the others; a primary that was only out of
their sight goes on as one until it is in sight again, and then loses what it took meanwhile.
"""

import asyncio
import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import hiredis

from tests.simulation.loop import Process
from tests.simulation.network import Network
from tests.simulation.store.database import Args, Database, Refused, Reply
from tests.simulation.store.node import PORT, Node, encoded

MASTER = "ringfence"
SENTINEL_PORT = 26379
_SYNC_S = 0.05
_AGAIN_S = 0.5


@dataclass(frozen=True)
class StorePace:
    """The usual speed of things.

    `lag_s`: mean delay until a replica has a change. `notice_s`: until sentinels agree that the
    primary is gone. `tell_s`: mean delay until one of them knows the next. `ahead_s`: how far the
    clocks of two servers may differ.
    """

    lag_s: float = 0.001
    notice_s: float = 3.0
    tell_s: float = 0.2
    ahead_s: float = 0.0


class Ensemble:
    """All servers of one list store. With `sentinels` 0 there is one server, and nobody fails over.

    `committed` is called with each change that a primary makes: its host, history and effects.
    `prefix` begins the names of its hosts.
    """

    def __init__(
        self,
        network: Network,
        pace: StorePace,
        servers: int = 3,
        sentinels: int = 3,
        committed: Callable[[Node, tuple[Args, ...]], None] = lambda *_: None,
        prefix: str = "",
    ) -> None:
        self.network, self.loop, self.rng = network, network.loop, network.loop.rng
        self.pace, self.committed, self.prefix = pace, committed, prefix
        self.servers, self.sentinels = range(servers), range(sentinels)
        self.nodes: dict[int, Node] = {}
        self.primary = 0
        """The server that is, or is to be, the primary."""
        self.named = dict.fromkeys(self.sentinels, 0)
        """The primary that each sentinel names."""
        self._databases = {number: Database() for number in self.servers}
        # A server that begins again follows whom it followed: sentinels write it into its file.
        self._configured = {n: "" if n == 0 else self.host(0) for n in self.servers}
        self._ahead = {n: self.rng.uniform(-pace.ahead_s, pace.ahead_s) for n in self.servers}
        self.fail_overs = self._histories = 0
        self._queues: dict[tuple[int, int], list[tuple[float, tuple[Args, ...], int]]] = {}
        self._more: dict[tuple[int, int], asyncio.Event] = {}

    def host(self, number: int) -> str:
        """Return the host of a server."""
        return f"{self.prefix}redis-{number}"

    def sentinel_host(self, number: int) -> str:
        """Return the host of a sentinel."""
        return f"{self.prefix}sentinel-{number}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the sentinels."""
        return tuple(f"{self.sentinel_host(number)}:{SENTINEL_PORT}" for number in self.sentinels)

    @property
    def url(self) -> str:
        """The url of a server that stands alone."""
        return f"redis://{self.host(0)}:{PORT}/0"

    async def start(self) -> None:
        """Start all, with nothing in them."""
        for number in self.servers:
            await self.start_server(number)
        for number in self.sentinels:
            process = Process(self.loop, self.sentinel_host(number))
            await process.run(self._listen(number))

    def alive(self) -> list[int]:
        """Return the servers that run."""
        return [number for number, node in self.nodes.items() if node.process.alive]

    async def start_server(self, number: int) -> None:
        """Start a server with what it had, in the role that it had."""
        self.network.off.discard(self.host(number))
        node = Node(
            self.loop, self.host(number), self._databases[number], self._wrote, self._ahead[number]
        )
        self.nodes[number] = node
        node.primary_host = self._configured[number]
        self._new_history(node)
        node.run_id = node.history
        await node.start()
        if number == self.primary:
            self._lead(number)
        elif node.primary_host == self.host(self.primary):
            self._sync(number)
        else:  # it does not know of another primary yet, and may believe to be the one
            self._later(self.pace.tell_s, partial(self._follow, number, node))

    def kill(self, number: int, *, reset: bool = True) -> None:
        """End a server between two commands; `reset` False: with its host.

        Its file has what it answered: its kernel writes on, or the file was synced each time.
        """
        node = self.nodes[number]
        if not reset:
            self.network.off.add(node.host)
        node.process.kill(reset=reset)
        if number == self.primary:
            self._later(0, self._elect_soon, exactly_s=self.pace.notice_s)

    def split(self, number: int) -> list[tuple[str, str]]:
        """Part a server from the others and the sentinels, not from clients; return the links."""
        host = self.host(number)
        others = [self.host(n) for n in self.servers if n != number]
        links = [(host, other) for other in (*others, *map(self.sentinel_host, self.sentinels))]
        for link in links:
            self.network.block(*link)
        if number == self.primary:
            self._later(0, self._elect_soon, exactly_s=self.pace.notice_s)
        return links

    def empty(self, number: int) -> None:
        """Lose all data of a server that does not run."""
        self._databases[number] = Database()

    # Failing over.

    def _sees(self, number: int) -> bool:
        node = self.nodes.get(number)
        if node is None or not node.process.alive or node.process.paused:
            return False
        return all(
            tuple(sorted((self.sentinel_host(s), node.host))) not in self.network.blocked
            for s in self.sentinels
        )

    def _elect_soon(self) -> None:
        """Choose another primary, if this one is still gone."""
        if not self.sentinels or self._sees(self.primary):
            return
        primary_host = self.host(self.primary)
        able = [
            number
            for number in self.alive()
            if self._sees(number) and self.nodes[number].primary_host == primary_host
        ]
        if not able:
            self._later(0, self._elect_soon, exactly_s=_AGAIN_S)
            return
        before, self.primary = self.primary, max(able, key=lambda n: (self.nodes[n].offset, n))
        self.fail_overs += 1
        self.loop.note("fail over to", self.host(self.primary))
        chosen = self.nodes[self.primary]
        chosen.primary_host = self._configured[self.primary] = ""
        self._new_history(chosen)
        self._lead(self.primary)
        for sentinel in self.sentinels:
            self._later(self.pace.tell_s, partial(self._tell, sentinel))
        old = self.nodes[before]
        self._later(self.pace.tell_s, partial(self._follow, before, old))

    def _tell(self, sentinel: int) -> None:
        self.named[sentinel] = self.primary

    def _new_history(self, node: Node) -> None:
        self._histories += 1
        # As Redis' own: their first half tells them apart.
        text = f"history {self._histories}".encode()
        node.history = hashlib.sha1(text, usedforsecurity=False).hexdigest()

    def _lead(self, number: int) -> None:
        """Let all others follow: each copies the data as a whole first."""
        for other in self.alive():
            if other != number and self.nodes[other].primary_host:
                self._sync(other)
            elif other != number:
                node = self.nodes[other]
                self._later(self.pace.tell_s, partial(self._follow, other, node))

    def _follow(self, number: int, node: Node) -> None:
        """Make a server a replica, once it is in sight."""
        if self.nodes[number] is not node or not node.process.alive or number == self.primary:
            return
        if not self._sees(number) or not self.nodes[self.primary].process.alive:
            self._later(0, partial(self._follow, number, node), exactly_s=_AGAIN_S)
            return
        # Sentinels cut all clients off. A person with REPLICAOF does not.
        node.demote(self.host(self.primary), hang_up=self.rng.random() < 0.7)
        self.loop.note(node.host, "follows", self.host(self.primary))
        self._sync(number)

    def _sync(self, number: int) -> None:
        """Copy the primary's data to a replica, and then each change."""
        primary, replica = self.nodes[self.primary], self.nodes[number]
        replica.primary_host = self._configured[number] = primary.host
        link = (self.primary, number)
        self._queues[link], self._more[link] = [], asyncio.Event()
        primary.process.run(self._feed(primary, replica, link, self._queues[link]))

    async def _feed(
        self,
        primary: Node,
        replica: Node,
        link: tuple[int, int],
        queue: list[tuple[float, tuple[Args, ...], int]],
    ) -> None:
        more = self._more[link]
        way = (min(primary.host, replica.host), max(primary.host, replica.host))

        async def open_way() -> bool:
            while (blocked := self.network.blocked.get(way)) is not None:
                await asyncio.wait([blocked])
            return (
                self._queues.get(link) is queue
                and replica.process.alive
                and not primary.primary_host
                and replica.primary_host == primary.host
            )

        await asyncio.sleep(self.rng.expovariate(1 / _SYNC_S))
        if not await open_way():
            return
        queue.clear()
        # In place: the server's kept data are these.
        replica.database.__dict__.update(deepcopy(primary.database).__dict__)
        replica.offset, replica.history = primary.offset, primary.history
        primary.seen[replica.host] = replica.offset
        replica.wake()
        while True:
            while not queue:
                more.clear()
                await more.wait()
            at_s, effects, offset = queue[0]
            if at_s > self.loop.time():
                await asyncio.sleep(at_s - self.loop.time())
            if not await open_way():
                primary.seen.pop(replica.host, None)
                return
            if replica.process.paused:
                await asyncio.sleep(_AGAIN_S)
                continue
            del queue[0]
            replica.apply(effects, offset)
            primary.seen[replica.host] = offset
            primary.wake()

    def _wrote(self, node: Node, effects: tuple[Args, ...]) -> None:
        number = next(n for n, one in self.nodes.items() if one is node)
        self.committed(node, effects)
        for (primary, replica), queue in self._queues.items():
            if primary == number:
                late_s = self.rng.expovariate(1 / self.pace.lag_s)
                after_s = queue[-1][0] if queue else 0.0
                queue.append((max(after_s, self.loop.time() + late_s), effects, node.offset))
                self._more[primary, replica].set()

    def _later(self, mean_s: float, then: Callable[[], None], exactly_s: float = 0.0) -> None:
        self.loop.call_later(exactly_s or self.rng.expovariate(1 / mean_s), then)

    # Sentinels.

    async def _listen(self, number: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answered(reader, writer, lambda args: self._asked(number, args))

        await asyncio.start_server(serve, port=SENTINEL_PORT)

    def _asked(self, number: int, args: Args) -> Reply:
        if [one.upper() for one in args[:2]] != [b"SENTINEL", b"MASTERS"]:
            raise Refused(f"ERR unknown command '{args[0].decode()}'")
        named = self.named[number]
        flags = b"master" if self._sees(named) else b"s_down,master"
        fields = {
            b"name": MASTER.encode(),
            b"ip": self.host(named).encode(),
            b"port": b"%d" % PORT,
            b"flags": flags,
            b"num-slaves": b"2",
            b"num-other-sentinels": b"%d" % (len(self.sentinels) - 1),
            b"quorum": b"2",
        }
        return [fields]


async def _answered(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Args], Reply]
) -> None:
    parser, resp = hiredis.Reader(), 2
    try:
        while data := await reader.read(1 << 16):
            parser.feed(data)
            while (args := parser.gets()) is not False:
                reply: Reply
                if args[0].upper() == b"HELLO":
                    resp = int(args[1])
                    reply = {b"server": b"redis", b"proto": resp}
                elif args[0].upper() == b"CLIENT":
                    reply = Refused("ERR unknown subcommand")
                else:
                    try:
                        reply = answer(args)
                    except Refused as refused:
                        reply = refused
                writer.write(encoded(reply, resp))
    except ConnectionError:
        pass
    writer.transport.abort()
