"""Blocking code in a simulation: a thread of its own that takes turns with the loop.

Only one of them runs at any moment. A strand runs until it waits for something of the world: bytes,
a lock, a disk. Its process may be killed or paused meanwhile, as at any await. A killed one never
goes on, so no `finally` of it runs before the history is over.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar
from unittest.mock import patch

from tests.simulation.loop import VirtualLoop

T = TypeVar("T")
_START = threading.Thread.start
_BEGIN_S, _DISK_S, _LOCK_S = 0.0005, 0.002, 0.01
"""Means: until a thread has its first turn, until a disk has what was written. And between two
looks at a lock that another process holds."""


class Gone(BaseException):
    """The history is over: what is left of a strand is unwound."""


class Strand:
    """One thread of a simulated process."""

    def __init__(self, loop: VirtualLoop, thread: threading.Thread) -> None:
        self.loop, self._thread = loop, thread
        self.error = ""
        self._over = self._gone = False
        self._ours, self._loops = threading.Lock(), threading.Lock()
        self._ours.acquire()
        self._loops.acquire()

    def begin(self) -> None:
        """Start the thread; its first turn comes later, in the process that runs now."""
        run, context = self._thread.run, copy_context()

        def turns() -> None:
            self._ours.acquire()
            try:
                if not self._gone:
                    run()
            except Gone:
                pass
            except Exception as error:  # noqa: BLE001 - a bug of any kind is what we look for
                self.error = f"thread {self._thread.name} crashed: {error!r}"
            finally:
                self._over = True
                self._loops.release()

        self._thread.run = lambda: context.run(turns)  # type: ignore[method-assign]
        self._thread.strand = self  # type: ignore[attr-defined]
        _START(self._thread)
        self.loop.call_later(self.loop.rng.expovariate(1 / _BEGIN_S), self._turn)

    def _turn(self) -> None:
        """Let the thread run until it waits or ends. The loop waits."""
        self._ours.release()
        self._loops.acquire()
        if self._over:
            self._thread.join()  # `is_alive` is to say the same in each run
            if self.error:
                self.loop.unhandled.append(self.error)

    def wait(self, future: "asyncio.Future[T]") -> T:
        """Return the result of a future of the loop; the loop goes on meanwhile."""
        if self._gone:
            raise Gone
        future.add_done_callback(lambda _: self._turn())
        self._loops.release()
        self._ours.acquire()
        if self._gone:
            raise Gone
        return future.result()

    def sleep(self, seconds: float) -> None:
        """Wait for so long."""
        future = self.loop.create_future()
        self.loop.call_later(seconds, settle, future)
        self.wait(future)

    def end(self) -> None:
        """Unwind it, once nothing else of the history runs."""
        self._gone = True
        if not self._over:
            self._ours.release()
            self._thread.join()


def settle(
    future: "asyncio.Future[Any]", result: Any = None, error: Exception | None = None
) -> None:
    """Give a future its outcome, unless nobody waits for it any more."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def strand() -> Strand | None:
    """Return the strand whose code runs now; None: it is the loop's."""
    return getattr(threading.current_thread(), "strand", None)


def waited(job: Coroutine[Any, Any, T]) -> T:
    """Return the result of `job`, which runs in the loop; the strand that asks waits."""
    here = strand()
    assert here is not None, "blocking code in the loop would stop the world"
    return here.wait(here.loop.create_task(job))


class _Runner:
    """`asyncio.Runner` for the main thread of a simulated process."""

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Run `job` to its end."""
        return waited(job)


@contextmanager
def stranded(loop: VirtualLoop, wrote: Callable[[], None]) -> Iterator[None]:
    """Within the block, run threads as strands. All of them are unwound at its end.

    `wrote` is called after each file or folder that is synced.
    """
    begun: list[Strand] = []

    def start(thread: threading.Thread) -> None:
        begun.append(Strand(loop, thread))
        begun[-1].begin()

    def in_thread(_: object, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        future = loop.create_future()

        def job() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - as a thread hands it on
                loop.call_soon(settle, future, None, error)
            else:
                loop.call_soon(settle, future, result)

        threading.Thread(target=job, name="pool").start()
        return future

    sync, lock = os.fsync, fcntl.flock

    def fsync(handle: int) -> None:
        """Wait for the disk: the world goes on, and may kill whose file it is."""
        sync(handle)
        now_s = loop.wall_s
        os.utime(handle, (now_s, now_s))
        wrote()
        if (here := strand()) is not None:
            here.sleep(loop.rng.expovariate(1 / _DISK_S))

    def flock(handle: int, how: int) -> None:
        """Wait for a lock; the kernel's own wait would stop the world."""
        while True:
            try:
                return lock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError:
                here = strand()
                if how & fcntl.LOCK_NB or here is None:
                    raise
                here.sleep(loop.rng.expovariate(1 / _LOCK_S))

    with (
        patch.object(threading.Thread, "start", start),
        patch.object(loop, "run_in_executor", in_thread),
        patch.object(asyncio, "run", waited),
        patch.object(asyncio, "Runner", _Runner),
        patch.object(os, "fsync", fsync),
        patch.object(fcntl, "flock", flock),
    ):
        try:
            yield
        finally:
            for one in begun:
                one.end()
