"""An asyncio event loop in virtual time: one seed, one history.

Time moves only when nothing is left to do. Where asyncio leaves an order open, the seed decides: of
events at one moment, and of futures in a set. Processes are groups of callbacks: one can be killed
between any two of them, or paused.
"""

import asyncio
import hashlib
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN_S = 1_795_564_428.0
"""The time at which every history begins, in seconds since the epoch."""
_MONOTONIC_S = 1000.0
"""The monotonic clock at that moment."""
_TURNS_MAX = 50_000
"""Turns within one virtual second. A loop that takes more waits for something that never comes."""
_TICK_S = 1e-9
"""The least by which time moves from one wait to the next."""
_ALL_TURNS_MAX, _TURNS_S = 500_000, 1_500
"""Turns of a history, which takes some 20,000, and of each second that it is longer than that:
more are a storm, of restarts or of questions. Three workers that rest take 1,000 a second."""
_TURNS_A_PIECE = 3
"""A piece arrives, is taken, and its reader looks for more."""

PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)
"""The process whose code runs now. Tasks, timers and connections inherit it from their maker."""


_LONGEST_S = 7200.0
"""No history is meant to last so long: something waits that will never come."""


class Deadlock(Exception):
    """Nothing will ever happen again."""


class Livelock(Exception):
    """Callbacks follow one another while time hardly moves."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is the seed's, not the memory's."""

    def __init__(self, coro: Any, loop: "VirtualLoop", **more: Any) -> None:
        self.order = loop.rng.getrandbits(32)
        super().__init__(coro, loop=loop, **more)

    def __hash__(self) -> int:
        return self.order


class _Future(asyncio.Future[Any]):
    """A future whose place in a set is the seed's, not the memory's."""

    order: int

    def __hash__(self) -> int:
        return self.order


# A history makes tens of thousands of handles: they leave out what asyncio does for debugging.


class _Handle(asyncio.Handle):
    """A callback to run in the next turn."""

    def __init__(self, callback: Any, args: Any, loop: "VirtualLoop", context: Any) -> None:
        self._callback, self._args, self._loop = callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None


class _TimerHandle(asyncio.TimerHandle):
    """A callback to run at a moment."""

    def __init__(
        self, when: float, callback: Any, args: Any, loop: "VirtualLoop", context: Any
    ) -> None:
        self._when, self._callback, self._args, self._loop = when, callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled, self._callback = True, None
        self._args = None  # type: ignore[assignment]


@dataclass(slots=True)
class Clock:
    """The time of day on one host: off by `off_s` since the loop's `since_s`, and drifting."""

    off_s: float = 0.0
    drift: float = 0.0
    since_s: float = 0.0

    def seconds(self, past_s: float) -> float:
        """Return by how much it is wrong."""
        return self.off_s + self.drift * (past_s - self.since_s)


@dataclass(eq=False)
class Process:
    """A process of the simulated world, on a host of its own name.

    `ends` are called when it is killed: its connections break. `reset` says whether their other
    ends learn of it, as from a kernel that lives on, or hear nothing, as after a loss of power.
    `tasks` keeps its tasks in memory to the end: collected, they would run their `finally`.
    """

    loop: "VirtualLoop"
    name: str
    alive: bool = True
    paused: bool = False
    disk_full: bool = False
    clock: Clock = field(default_factory=Clock)
    ends: dict[Callable[[bool], None], None] = field(default_factory=dict)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _waiting: list[asyncio.Handle] = field(default_factory=list)
    _tasks_max: int = 1000

    def __post_init__(self) -> None:
        self.loop.processes.append(self)

    def context(self) -> Context:
        """Return a context in which code belongs to this process."""
        context = copy_context()
        context.run(PROCESS.set, self)
        return context

    def run(self, job: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task of this process."""
        return self.loop.create_task(job, name=self.name, context=self.context())

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task until it is done, or the history is over."""
        self.tasks.append(task)
        if len(self.tasks) > self._tasks_max:
            self.tasks = [one for one in self.tasks if not one.done()]
            self._tasks_max = 2 * len(self.tasks) + 1000

    def kill(self, *, reset: bool = True) -> None:
        """End it between two callbacks; no line of its code runs any more, no `finally` either."""
        if not self.alive:
            return
        self.loop.note("kill" if reset else "power off", self.name)
        self.alive = False
        self._waiting.clear()
        for end in list(self.ends):
            end(reset)
        self.ends.clear()

    def pause(self) -> None:
        """Stop it where it is; the world goes on."""
        self.loop.note("pause", self.name)
        self.paused = True

    def resume(self) -> None:
        """Let it go on. Whatever came due meanwhile comes now."""
        self.loop.note("resume", self.name)
        self.paused = False
        waiting, self._waiting = self._waiting, []
        self.loop.adopt(waiting)

    def hold_back(self, handle: asyncio.Handle) -> None:
        """Keep what comes due for a paused process; forget it for a dead one."""
        if self.alive:
            self._waiting.append(handle)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one history. `turn_s` is what one turn costs of virtual time."""

    def __init__(self, seed: int, turn_s: float = 0.0) -> None:
        super().__init__()
        self.seed, self.turn_s = seed, turn_s
        self.rng = Random(seed)
        self.network: Any = None
        self.timeline: list[tuple[float, str]] = []
        self.unhandled: list[str] = []
        self.processes: list[Process] = []
        self._now = self._since_s = _MONOTONIC_S
        self._turns = self._all_turns = self._timers = 0
        self.torn = 0
        """Pieces into which the network tore what was written at once: no storm of its writer."""
        self._draw = self.rng.getrandbits
        self._hash = hashlib.blake2b(digest_size=8)
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._failed)

    def note(self, *what: object) -> None:
        """Put an event into the history: it counts for the trace, and is printed for a person."""
        text = " ".join(map(str, what))
        self.timeline.append((self.past_s, text))
        self._hash.update(f"{self._now:.9f} {text}\n".encode())

    @property
    def trace(self) -> str:
        """The hash of the history so far. The same seed gives the same, in every process."""
        return self._hash.hexdigest()

    @property
    def past_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now - _MONOTONIC_S

    def time(self) -> float:
        """Return the virtual time of monotonic clocks, in seconds."""
        return self._now

    @property
    def wall_s(self) -> float:
        """The virtual time of day, in seconds since the epoch, by the clock of who asks."""
        process = PROCESS.get()
        wrong_s = process.clock.seconds(self.past_s) if process is not None else 0.0
        return BEGIN_S + self.past_s + wrong_s

    @property
    def wall_ms(self) -> int:
        """The same in milliseconds, rounded as the product's clock is: by way of nanoseconds."""
        return int(self.wall_s * 1e9) // 1_000_000

    def adopt(self, handles: list[asyncio.Handle]) -> None:
        """Run `handles` next, in their order, before all that became ready in this turn."""
        self._ready.extendleft(reversed(handles))  # type: ignore[attr-defined]

    # What asyncio asks of a loop.

    def create_future(self) -> "asyncio.Future[Any]":
        future = _Future(loop=self)
        future.order = self._draw(32)
        return future

    # Most of a history's time goes by here: no checks, and a heap that compares numbers.

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = _TimerHandle(when, callback, args, self, context)
        self._timers += 1
        heapq.heappush(self._scheduled, (when, self._timers, handle))  # type: ignore[attr-defined]
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Run `func` here and now; its caller learns of it later, as of a thread."""
        future = self.create_future()
        tell: Callable[[], None]
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - as a thread hands it on
            failure = error

            def tell() -> None:
                if not future.done():
                    future.set_exception(failure)
        else:

            def tell() -> None:
                if not future.done():
                    future.set_result(result)

        self.call_later(self.rng.expovariate(1000), tell)
        return future

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        assert not more.get("ssl"), "the simulated network has no TLS"
        return await self.network.connect(protocol_factory, host, port)

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        bound = more.get("sock")
        return self.network.listen(protocol_factory, bound.getsockname()[1] if bound else port)

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Any, *args: Any
    ) -> None:
        fd.reads(partial(callback, *args))

    def remove_reader(self, fd: Any) -> bool:
        return bool(fd.reads(None))

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Any, *args: Any
    ) -> None:
        """Nobody signals: a process is stopped or killed from outside."""

    def _new_task(self, loop: Any, coro: Any, **more: Any) -> "asyncio.Task[Any]":
        task = _Task(coro, self, **more)
        context = more.get("context")
        process = (context or copy_context()).get(PROCESS)
        if process is not None:
            process.keep(task)
        return task

    def _failed(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.unhandled.append(f"{context.get('message')}: {error!r}")

    def _write_to_self(self) -> None:
        """Nothing sleeps: there is nobody to wake."""

    def _process_events(self, event_list: object) -> None:
        """Events of the network are timers."""

    def _run_once(self) -> None:
        """Run turns until somebody stops the loop: it is asked for the next one only then."""
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while True:
            while scheduled and scheduled[0][2]._cancelled:
                heapq.heappop(scheduled)
            if not ready and not self._stopping:  # type: ignore[attr-defined]
                if not scheduled:
                    raise Deadlock("nothing will ever happen again")
                # A clock moves on between two turns. Else a wait for less than a float can add to
                # the time (aiokafka's rests of a pause) would be waited for again and again.
                self._now = max(self._now + _TICK_S, scheduled[0][0])
            self._turns += 1
            if self._now - self._since_s > 1.0 or self._turns > _TURNS_MAX:
                self._look_at_turns()
            if scheduled and scheduled[0][0] <= self._now:
                self._come_due(scheduled, ready)
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                process = handle._context.get(PROCESS)
                if process is None or (process.alive and not process.paused):
                    handle._run()
                else:
                    process.hold_back(handle)
            self._now += self.turn_s
            if self._stopping:  # type: ignore[attr-defined]
                return

    def _come_due(self, scheduled: list[Any], ready: Any) -> None:
        """Make ready what is due: in its order, and of one moment in the seed's."""
        due = []
        while scheduled and scheduled[0][0] <= self._now:
            due.append(heapq.heappop(scheduled)[2])
        if len(due) > 1:
            due.sort(key=lambda handle: (handle._when, self.rng.random()))
        ready.extend(due)

    def _look_at_turns(self) -> None:
        """Raise where a history does not get on. Called each second, and after too many turns."""
        self._all_turns += self._turns
        if self.past_s > _LONGEST_S:
            raise Deadlock(f"nothing has ended it within {_LONGEST_S:g} s")
        allowed = _ALL_TURNS_MAX + _TURNS_S * self.past_s + _TURNS_A_PIECE * self.torn
        if self._all_turns > allowed:
            raise Livelock(f"{self._all_turns} turns in {self.past_s:.0f} s")
        if self._turns > _TURNS_MAX:
            raise Livelock(f"{_TURNS_MAX} turns within a second, at {self.past_s:.3f} s")
        self._turns, self._since_s = 0, self._now

    def leave_behind(self) -> None:
        """Forget what is still pending: histories end in the middle of things."""
        pending = [*asyncio.all_tasks(self)]
        for process in self.processes:
            pending += process.tasks
            process.tasks.clear()
        for task in pending:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            # Here, while what it holds is there; and not when garbage is collected, at any time.
            with suppress(BaseException):
                task.get_coro().close()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
