"""Processes that the product begins itself: a model of `multiprocessing`'s context, with pipes.

A child is a process of the simulated world on its parent's host. It can be killed at any await, and
goes on for a moment after its parent was killed, until it finds its pipe closed.
"""

import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any
from unittest.mock import patch

from stream.feeds.follow import subprocess_job
from tests.simulation.loop import PROCESS, Process, VirtualLoop
from tests.simulation.partners.strands import settle, strand

_PASS_S = 0.0005
"""Mean time from one end of a pipe to the other."""


class _Side:
    """The bytes that one side of a pipe has received, and the number of holders."""

    def __init__(self, loop: VirtualLoop, number: int) -> None:
        self.loop, self.number = loop, number
        self.other: _Side
        self.came: deque[Any] = deque()
        self.over = False
        """True if nobody holds the other side any more."""
        self.holders = 1
        self.told: list[Callable[[], None]] = []
        self._arrives_s = 0.0

    def arrives(self, then: Callable[[], None]) -> None:
        """Let something happen here a moment later, in order."""
        late_s = self.loop.rng.expovariate(1 / _PASS_S)
        self._arrives_s = max(self._arrives_s + 1e-9, self.loop.time() + late_s)

        def now() -> None:
            then()
            told, self.told = self.told, []
            for one in told:
                one()

        # No process' own: what is in a kernel arrives, even if its process has died.
        self.loop.call_at(self._arrives_s, now, context=Context())


class End:
    """One end of a pipe as one process holds it: `multiprocessing`'s `Connection`."""

    def __init__(self, side: _Side) -> None:
        self._side = side
        self._closed = False

    def held_by(self, process: Process) -> "End":
        """Return the same end for a child, whose kernel closes it."""
        self._side.holders += 1
        end = End(self._side)
        process.ends[end.dropped] = None
        return end

    def dropped(self, _: bool) -> None:
        """Close it as its process' kernel does."""
        self.close()

    def fileno(self) -> int:
        """Return its number, for `add_reader`."""
        return self._side.number

    def send(self, what: Any) -> None:
        """Send an object. Raises BrokenPipeError."""
        if self._closed or not self._side.other.holders:
            raise BrokenPipeError
        other = self._side.other
        other.arrives(lambda: other.came.append(what))

    def recv(self) -> Any:
        """Return what came, or wait for it. Raises EOFError."""
        self.poll(None)
        if not self._side.came:
            raise EOFError
        return self._side.came.popleft()

    send_bytes, recv_bytes = send, recv

    def poll(self, _: None) -> None:
        """Wait until something came, or the other side is gone."""
        side = self._side
        while not side.came and not side.over:
            here = strand()
            assert here is not None, "this wait would stop the world"
            future = side.loop.create_future()
            side.told.append(partial(settle, future))
            here.wait(future)

    def close(self) -> None:
        """Let go of it. The last holder's going is the end for the other side."""
        if self._closed:
            return
        self._closed = True
        self._side.holders -= 1
        if not self._side.holders:
            other = self._side.other
            other.arrives(lambda: setattr(other, "over", True))


class Child:
    """A process that the product begins: `multiprocessing`'s `Process`."""

    def __init__(
        self, loop: VirtualLoop, *, target: Callable[..., None], args: tuple[Any, ...], **_: Any
    ) -> None:
        self.exitcode: int | None = None
        self._loop, self._target, self._args = loop, target, args
        self._process: Process | None = None

    def start(self) -> None:
        """Start it on the host of the process that runs now."""
        parent = PROCESS.get()
        assert parent is not None
        self._process = process = Process(self._loop, parent.name)
        process.clock, process.disk_full = parent.clock, parent.disk_full
        parent.ends[self._with_host] = None
        held = [one.held_by(process) if isinstance(one, End) else one for one in self._args]
        thread = threading.Thread(target=self._main, args=held, name="main")
        process.context().run(thread.start)

    def _with_host(self, reset: bool) -> None:
        """Die with the parent's host; where the parent alone died, the pipe says so."""
        if not reset and self._process is not None:
            self._process.kill(reset=False)

    def _main(self, *args: Any) -> None:
        try:
            self._target(*args)
        except BrokenPipeError:  # nobody is there any more who would take its answer
            self._ended(1)
        except Exception:
            self._ended(1)
            raise
        self._ended(0)

    def _ended(self, code: int) -> None:
        assert self._process is not None
        if self._process.alive:
            self.exitcode = code
            self._process.kill()

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.alive

    def kill(self) -> None:
        """Kill it."""
        self._ended(-signal.SIGKILL)

    def join(self, _: float) -> None:
        """Return: one that is killed is gone at once."""
        if self._process is not None and not self._process.alive and self.exitcode is None:
            self.exitcode = -signal.SIGKILL


class _Context:
    """The context from which the product takes its processes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.sides: list[_Side] = []

    def Pipe(self, duplex: bool = True) -> tuple[End, End]:  # noqa: N802
        """Return both ends; the first one reads, and the second one writes."""
        one, other = (_Side(self._loop, len(self.sides) + n) for n in range(2))
        one.other, other.other = other, one
        self.sides += [one, other]
        process, ends = PROCESS.get(), (End(one), End(other))
        for end in ends:
            if process is not None:
                process.ends[end.dropped] = None
        return ends

    def Process(self, **what: Any) -> Child:  # noqa: N802
        """Return a process that is not started yet."""
        return Child(self._loop, **what)

    def add_reader(self, number: int, told: Callable[[], None]) -> None:
        """Call `told` once there is something to read."""
        side = self.sides[number]
        if side.came or side.over:
            self._loop.call_soon(told)
        else:
            context = copy_context()

            def ready() -> None:
                self._loop.call_soon(told, context=context)

            side.told.append(ready)


@contextmanager
def children(loop: VirtualLoop) -> Iterator[None]:
    """Within the block, processes of feeds are processes of the simulated world."""
    context = _Context(loop)

    def ended(_: int) -> None:
        """End the process whose code calls, at once."""
        process, here = PROCESS.get(), strand()
        assert process is not None
        assert here is not None
        process.kill()
        here.wait(loop.create_future())

    def nothing(*_: object) -> None:
        """Limits and signals are the real process'."""

    with (
        patch.object(subprocess_job, "_CONTEXT", context),
        patch.object(loop, "add_reader", context.add_reader, create=True),
        patch.object(loop, "remove_reader", nothing, create=True),
        patch.object(os, "_exit", ended),
        patch.object(os, "nice", nothing),
        patch.object(resource, "setrlimit", nothing),
        patch.object(signal, "signal", nothing),
    ):
        yield
