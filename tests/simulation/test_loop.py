"""The simulated world keeps its own promises: time, order, processes, connections, the seal."""

import asyncio
import importlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from stream.lists.snapshot.durable_files import locked
from tests.simulation.guard import RealWorld
from tests.simulation.loop import BEGIN_S, Deadlock, Livelock
from tests.simulation.network import Weather
from tests.simulation.world import World


def run(main: Callable[[World], Coroutine[Any, Any, Any]], seed: int = 1, **more: Any) -> Any:
    """Run `main` in a world of its own."""
    return World(seed, **more).run(main)


def test_time_passes_only_while_nothing_is_left_to_do():
    """An hour of sleep takes no time, and all clocks agree that it has passed."""

    async def main(world: World) -> tuple[float, float, float]:
        began = time.monotonic(), time.time(), time.perf_counter()
        await asyncio.sleep(3600)
        return tuple(  # type: ignore[return-value]
            now - then
            for now, then in zip(
                (time.monotonic(), time.time(), time.perf_counter()), began, strict=True
            )
        )

    assert run(main) == pytest.approx((3600, 3600, 3600))


def test_a_history_begins_at_the_same_moment():
    """The first reading of the clock is the same in every history."""

    async def main(world: World) -> float:
        return time.time()

    assert run(main) == run(main, seed=2) == BEGIN_S


def test_chance_is_the_seeds():
    """The same seed draws the same, in the modules that product code draws from."""

    async def main(world: World) -> tuple[Any, ...]:
        return random.random(), os.urandom(4), uuid.uuid4(), random.SystemRandom().random()

    assert run(main) == run(main) != run(main, seed=2)


def test_a_set_of_futures_has_the_seeds_order():
    """Tasks and futures in a set come in the same order in each run."""

    async def main(world: World) -> list[int]:
        ended: list[int] = []

        async def job(number: int) -> None:
            ended.append(number)

        tasks = {asyncio.ensure_future(job(number)): number for number in range(20)}
        done, _ = await asyncio.wait(set(tasks))
        return [tasks[task] for task in done]

    assert run(main) == run(main) != run(main, seed=2)


def test_waiting_for_nothing_is_an_error():
    """A history in which nothing can happen any more ends with Deadlock, not with a hang."""

    async def main(world: World) -> None:
        await world.loop.create_future()

    with pytest.raises(Deadlock, match="nothing has ended it"):
        run(main)


def test_a_loop_without_timers_says_deadlock():
    """Where not even a timer is left, it is said at once."""

    async def main(world: World) -> None:
        world.loop._scheduled.clear()  # type: ignore[attr-defined]
        await world.loop.create_future()

    with pytest.raises(Deadlock):
        run(main)


def test_turning_without_end_is_an_error():
    """A loop that never waits is found, though no time passes."""

    async def main(world: World) -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(main)


def test_a_wait_too_short_for_a_float_ends():
    """A clock moves on, so that the rest of a pause is not waited for again and again."""

    async def main(world: World) -> float:
        began_s = world.loop.time()
        while world.loop.time() == began_s:  # noqa: ASYNC110
            await asyncio.sleep(1e-14)
        return world.loop.time() - began_s

    assert 0 < run(main) < 1e-6


def test_a_killed_process_runs_no_line_more():
    """Not even a `finally`: that is what kill -9 means."""

    async def main(world: World) -> list[str]:
        said: list[str] = []

        async def job() -> None:
            said.append("began")
            try:
                await asyncio.sleep(1)
            finally:
                said.append("cleaned up")

        process = world.process("victim")
        process.run(job())
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(10)
        return list(said)

    assert run(main) == ["began"]


def test_a_paused_process_goes_on_where_it_was():
    """Its timers come due while it is stopped, and run when it goes on."""

    async def main(world: World) -> list[float]:
        at: list[float] = []

        async def job() -> None:
            for _ in range(3):
                at.append(world.loop.past_s)
                await asyncio.sleep(1)

        process = world.process("sleeper")
        process.run(job())
        await asyncio.sleep(0.5)
        process.pause()
        await asyncio.sleep(10)
        process.resume()
        await asyncio.sleep(5)
        return at

    assert run(main) == pytest.approx([0, 10.5, 11.5])


def test_what_came_during_a_pause_runs_before_what_comes_at_its_end():
    """Else the end of a connection is read before its last bytes (seed 190007224)."""

    async def main(world: World) -> list[str]:
        process, read = world.process("reader"), list[str]()
        context = process.context()
        process.pause()
        world.loop.call_soon(read.append, "bytes", context=context)
        await asyncio.sleep(1)
        world.loop.call_soon(read.append, "end", context=context)
        process.resume()
        await asyncio.sleep(1)
        return read

    assert run(main) == ["bytes", "end"]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def _served(world: World, name: str = "server") -> Any:
    process = world.process(name)

    async def serve() -> None:
        await asyncio.start_server(_echo, port=80)

    await process.run(serve())
    return process


def test_bytes_arrive_late_in_pieces_and_in_order():
    """Written bytes come whole, after some time."""

    async def main(world: World) -> tuple[bytes, float]:
        await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        sent = bytes(range(256)) * 40
        writer.write(sent)
        got = await reader.readexactly(len(sent))
        assert got == sent
        writer.close()
        return await reader.read(), world.loop.past_s

    rest, past_s = run(main, weather=Weather(pieces=0.9))
    assert rest == b""
    assert past_s > 0


def test_a_connection_is_cut_for_both():
    """Its ends learn of it; nobody listens where nobody did."""

    async def main(world: World) -> None:
        await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        writer.write(b"x")
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("server", 81)

    run(main, weather=Weather(cut=1.0))


def test_a_blocked_link_delivers_when_it_is_back():
    """Nothing is lost: TCP sends again. A new connection waits as long."""

    async def main(world: World) -> float:
        await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        world.network.block("here", "server")
        writer.write(b"x")
        world.loop.call_later(20, world.network.heal, "here", "server")
        _, other = await asyncio.open_connection("server", 80)
        assert await reader.readexactly(1) == b"x"
        other.close()
        writer.close()
        return world.loop.past_s

    assert 20 < run(main) < 21


def test_a_link_that_is_blocked_one_way_lets_the_other_pass():
    """A host's messages arrive, and it receives nothing."""

    async def main(world: World) -> float:
        await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        world.network.block("server", "here", both=False)
        writer.write(b"x")
        world.loop.call_later(20, world.network.heal, "here", "server")
        assert await reader.readexactly(1) == b"x"
        writer.close()
        return world.loop.past_s

    assert 20 < run(main) < 21


def test_a_slow_link_is_slow_until_it_hurries():
    """Three seconds for three bytes at one byte a second; then none."""

    async def main(world: World) -> float:
        await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        world.network.slow("here", "server", Weather(0.001, 0.0, 0.0, 1.0))
        writer.write(b"xxx")
        await reader.readexactly(3)
        slow_s = world.loop.past_s
        world.network.hurry("server", "here")
        writer.write(b"x")
        await reader.readexactly(1)
        writer.close()
        assert world.loop.past_s - slow_s < 1
        return slow_s

    assert run(main) > 3


def test_a_connection_that_was_forgotten_says_nothing():
    """Neither an answer nor an end comes; a new connection is none of it."""

    async def main(world: World) -> None:
        await _served(world)
        reader, lost = await asyncio.open_connection("server", 80)
        (pipe,) = world.network.connections("here")
        world.network.forget(pipe)
        lost.write(b"x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await reader.readexactly(1)
        reader, writer = await asyncio.open_connection("server", 80)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        lost.close()
        writer.close()

    run(main)


def test_each_process_has_a_clock_of_its_own():
    """The time of day jumps and drifts; the monotonic clock does not."""

    async def main(world: World) -> tuple[float, float]:
        process = world.process("server")
        process.clock.off_s, process.clock.drift = -3600.0, 0.5

        async def look() -> tuple[float, float]:
            await asyncio.sleep(10)
            return time.time(), time.monotonic()

        theirs, monotonic = await process.run(look())
        return theirs - time.time(), monotonic - time.monotonic()

    off_s, monotonic_s = run(main)
    assert off_s == pytest.approx(-3595.0)
    assert monotonic_s == 0.0


@pytest.mark.parametrize("reset", [True, False])
def test_a_dead_process_resets_its_connections_or_is_silent(reset):
    """A kernel that lives resets; a host without power says nothing until it is up again."""

    async def main(world: World) -> float:
        process = await _served(world)
        reader, writer = await asyncio.open_connection("server", 80)
        if not reset:
            world.network.off.add("server")
        process.kill(reset=reset)
        world.loop.call_later(30, world.network.off.discard, "server")

        async def asking() -> None:
            while True:
                writer.write(b"x")
                await asyncio.wait([reading], timeout=1)
                if reading.done():
                    await reading

        reading = asyncio.create_task(reader.readexactly(1))
        with pytest.raises(ConnectionError):
            await asking()
        return world.loop.past_s

    assert (run(main) < 1) is reset


@pytest.mark.parametrize(
    ("reach", "word"),
    [
        (lambda: socket.create_server(("127.0.0.1", 0)), "socket"),
        (lambda: time.sleep(1), "sleep"),
        (lambda: threading.Thread(target=int).start(), "thread"),
        (lambda: subprocess.run([sys.executable, "-V"], check=True), "process"),
    ],
)
def test_reaching_for_the_real_world_fails_the_history(reach, word):
    """Also where the code that did it swallowed the error."""

    async def main(world: World) -> None:
        try:
            reach()
        except RealWorld:
            return

    with pytest.raises(RealWorld, match=word):
        run(main)


def test_an_import_that_draws_chance_fails_the_history(monkeypatch, tmp_path):
    """Only a process's first history has it: each seed after it was another one than alone.

    NumPy's generators were imported so, in the middle of the first history that built a list.
    """
    (tmp_path / "planted_draw.py").write_text("import os\nos.urandom(16)\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def main(world: World) -> None:
        with suppress(RealWorld):
            importlib.import_module("planted_draw")

    with pytest.raises(RealWorld, match="the import of planted_draw drew chance"):
        run(main)


def test_a_module_of_ours_may_not_hold_the_real_clock(monkeypatch):
    """`from time import monotonic` would escape the seal, so it is refused by its name."""
    module = types.ModuleType("stream.planted")
    module.now = time.monotonic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stream.planted", module)

    async def main(world: World) -> None:
        return None

    with pytest.raises(RealWorld, match=r"stream\.planted holds monotonic as now"):
        run(main)


def test_threads_run_inline_and_answer_later():
    """Work for a thread runs here, and its error reaches the one who waits."""

    async def main(world: World) -> tuple[int, float]:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await asyncio.to_thread(lambda: 7), world.loop.past_s

    value, past_s = run(main)
    assert value == 7
    assert past_s > 0


def test_a_process_that_is_killed_lets_go_of_its_locks(tmp_path):
    """As its kernel does: the next life of a worker waits for nobody."""

    async def main(world: World) -> list[bool]:
        async def held() -> None:
            with locked(tmp_path / "lock"):
                await asyncio.sleep(1000)

        process = world.process("worker")
        process.run(held())
        await asyncio.sleep(1)
        found = []
        with locked(tmp_path / "lock", wait=False) as mine:
            found.append(mine)
        process.kill()
        with locked(tmp_path / "lock", wait=False) as mine:
            found.append(mine)
        return found

    assert run(main) == [False, True]
