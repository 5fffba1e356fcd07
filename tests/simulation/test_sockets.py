"""Sockets in memory: datagrams as a network treats them, and a writer whom nobody reads."""

import asyncio
import socket
from typing import Any

import pytest

from tests.simulation.guard import RealWorld
from tests.simulation.network import Weather
from tests.simulation.world import World


class Ear:
    """A process with a socket for datagrams; `heard` is what came."""

    def __init__(self, world: World, name: str) -> None:
        self.process = world.process(name)
        self.heard: list[bytes] = []
        self.process.context().run(self._open, world)

    def _open(self, world: World) -> None:
        self.socket: Any = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 5060))
        world.loop.add_reader(self.socket, self._read)

    def _read(self) -> None:
        self.heard.append(self.socket.recvmsg(100, 64)[0])


def played(weather: Weather, play: Any, count: int = 40) -> Any:
    """Send so many datagrams from `a` to `b`; what `play` makes of both."""

    async def main(world: World) -> Any:
        one, other = Ear(world, "a"), Ear(world, "b")
        sent = [b"%d" % number for number in range(count)]
        return await play(world, one, other, sent)

    return World(1, weather).run(main)


async def all_sent(world: World, one: Ear, other: Ear, sent: list[bytes]) -> tuple[Any, Any]:
    """Send all at once, and wait."""
    for data in sent:
        one.socket.sendto(data, ("b", 5060))
    await asyncio.sleep(10)
    return sent, other.heard


def test_datagrams_come_late_and_in_another_order():
    """Each in its own time; in fair weather none is missing, and none comes twice."""
    sent, heard = played(Weather(), all_sent)
    assert sorted(heard) == sorted(sent)
    assert heard != sent


def test_datagrams_are_lost_and_doubled():
    """Never two in a row are lost, so that a client who asks again is heard in time."""
    sent, heard = played(Weather(lost=0.9), all_sent)
    assert len(sent) / 2 <= len(heard) < 0.7 * len(sent)
    sent, heard = played(Weather(twice=0.5), all_sent)
    assert set(heard) == set(sent)
    assert len(heard) > len(sent)


def test_datagrams_wait_for_a_process_that_is_paused():
    """Its kernel holds so many, and counts the rest."""

    async def play(world: World, one: Ear, other: Ear, sent: list[bytes]) -> tuple[int, int, int]:
        other.process.pause()
        await all_sent(world, one, other, sent)
        paused = len(other.heard)
        other.process.resume()
        await asyncio.sleep(1)
        counts = other.socket.getsockopt(socket.SOL_SOCKET, 55, 36)
        return paused, len(other.heard), int.from_bytes(counts[-4:], "little")

    assert played(Weather(), play, count=700) == (0, 500, 200)


def test_a_process_that_is_killed_hears_nothing():
    """Nor does a host behind a blocked link."""

    async def play(world: World, one: Ear, other: Ear, sent: list[bytes]) -> list[int]:
        world.network.block("a", "b")
        await all_sent(world, one, other, sent)
        blocked = len(other.heard)
        world.network.heal("a", "b")
        other.process.kill()
        await all_sent(world, one, other, sent)
        return [blocked, len(other.heard)]

    assert played(Weather(), play) == [0, 0]


def test_a_socket_connects_to_nothing():
    """A use of something that is not simulated fails the history."""

    async def play(world: World, one: Ear, other: Ear, sent: list[bytes]) -> None:
        one.socket.connect(("b", 5060))

    with pytest.raises(RealWorld, match="connect"):
        played(Weather(), play)


class Writer(asyncio.Protocol):
    """Notes when it is to wait, and to go on."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_writing(self) -> None:
        self.told.append("wait")

    def resume_writing(self) -> None:
        self.told.append("go on")


def test_a_writer_whom_nobody_reads_waits():
    """Until enough of it is read; before, what it has not sent is counted."""

    async def main(world: World) -> tuple[list[str], int, list[str], int]:
        reader = asyncio.Protocol()

        async def listens() -> None:
            await world.loop.create_server(lambda: reader, port=80)

        await world.process("reader").run(listens())
        writer = Writer()
        transport, _ = await world.loop.create_connection(lambda: writer, "reader", 80)
        await asyncio.sleep(0.1)
        (theirs,) = world.network.connections("reader")
        theirs.pause_reading()
        for _ in range(40):
            transport.write(bytes(10_000))
        await asyncio.sleep(1)
        told, unsent = list(writer.told), transport.get_write_buffer_size()
        theirs.resume_reading()
        await asyncio.sleep(1)
        return told, unsent, writer.told, transport.get_write_buffer_size()

    told, unsent, told_then, unsent_then = World(1).run(main)
    assert (told, told_then) == (["wait"], ["wait", "go on"])
    assert unsent > 100_000
    assert unsent_then == 0


class Ending(asyncio.Protocol):
    """Notes how its connection ended."""

    ended: Exception | None = None

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = error


async def connected(world: World, timeout_s: float) -> tuple[Any, Ending]:
    """A connection from `writer` to `reader` whose kernel waits so long for acknowledgements."""

    async def listens() -> None:
        await world.loop.create_server(asyncio.Protocol, port=80)

    async def connects() -> tuple[Any, Ending]:
        transport, ending = await world.loop.create_connection(Ending, "reader", 80)
        return transport, ending

    await world.process("reader").run(listens())
    transport, ending = await world.process("writer").run(connects())
    made = transport.get_extra_info("socket")
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))
    return transport, ending


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (lambda world: world.network.forget(*world.network.connections("writer")), True),
        (lambda world: world.network.block("writer", "reader", both=False), True),
        (lambda world: world.network.block("reader", "writer", both=False), True),
        (lambda world: world.network.connections("reader")[0].pause_reading(), False),
        (lambda _: None, False),
    ],
    ids=["forgotten", "blocked", "acknowledgements blocked", "not read", "no fault"],
)
def test_data_that_nobody_acknowledges_end_a_connection(fault, ends):
    """After the time that was set, as Linux does it; a kernel acknowledges what nobody reads."""

    async def main(world: World) -> tuple[Exception | None, Exception | None]:
        transport, ending = await connected(world, 10)
        transport.write(b"before")
        await asyncio.sleep(30)
        fault(world)
        transport.write(b"data")
        await asyncio.sleep(9)
        early = ending.ended
        await asyncio.sleep(2)
        return early, ending.ended

    early, late = World(1).run(main)
    assert early is None
    assert isinstance(late, TimeoutError) == ends


def test_a_link_that_is_back_in_time_keeps_its_connections():
    """Data that were sent meanwhile arrive, and are acknowledged."""

    async def main(world: World) -> Exception | None:
        transport, ending = await connected(world, 10)
        for both in (True, False):
            world.network.block("writer", "reader", both=both)
            transport.write(b"data")
            await asyncio.sleep(8)
            world.network.heal("writer", "reader")
            await asyncio.sleep(8)
        return ending.ended

    assert World(1).run(main) is None


class Reader(asyncio.Protocol):
    """Reads a piece, then waits a moment."""

    def __init__(self) -> None:
        self.heard = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)


def test_who_reads_by_and_by_reads_in_order():
    """Data that arrived without a reader are not overtaken by data that arrive with one.

    Seed 450: the body of a request was not the one that was sent.
    """

    async def main(world: World) -> tuple[bytes, bytes]:
        reader = Reader()

        async def listens() -> None:
            await world.loop.create_server(lambda: reader, port=80)

        await world.process("reader").run(listens())
        transport, _ = await world.loop.create_connection(asyncio.Protocol, "reader", 80)
        sent = b"".join(b"%03d" % number for number in range(300))
        for first in range(0, len(sent), 3):
            transport.write(sent[first : first + 3])
            await asyncio.sleep(0.0007)
        await asyncio.sleep(10)
        return sent, reader.heard

    # Some things fall into one turn of the loop.
    sent, heard = World(1, Weather(delay_s=0.001), turn_s=0.0005).run(main)
    assert heard == sent
