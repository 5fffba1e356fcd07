"""Work on files in a thread of its own: a mount that hangs must delay its own feed only.

asyncio's shared pool has few threads, and the end of the program waits for them. A thread that
sleeps in the kernel for ever would take one of them at each try. These threads are daemons.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from stream.core.model.errors import FeedDown, FeedFault

T = TypeVar("T")
STOP_S = 5.0
"""Wait for a thread that was asked to stop. It looks at `stop` after each piece of a file."""

Stop = threading.Event


class WorkStopped(Exception):
    """The work stopped on request."""


class OwnThread(Generic[T]):
    """A runner of one job at a time, and of none while an earlier one still hangs."""

    def __init__(self, origin: str, deadline_s: float) -> None:
        self._origin = origin
        self._deadline_s = deadline_s
        self._thread: threading.Thread | None = None

    async def __call__(self, work: Callable[[Stop], T]) -> T:
        """Run `work`, which raises WorkStopped soon after `stop` is set.

        Raises its FeedDown, WorkStopped or OSError, and FeedDown(TIMEOUT).
        """
        if self._thread is not None and self._thread.is_alive():
            raise self._hangs()
        stop, done = Stop(), Future[T]()
        done.set_running_or_notify_cancel()  # a running Future refuses to be cancelled from outside

        def run() -> None:
            try:
                done.set_result(work(stop))
            except (FeedDown, WorkStopped, OSError) as error:
                done.set_exception(error)
            finally:
                if not done.done():  # the log has the thread's own report of the bug
                    done.set_exception(AssertionError(f"a bug ended the thread of {self._origin}"))

        self._thread = threading.Thread(target=run, name=f"feed {self._origin}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._deadline_s):  # wait_for may swallow a cancellation
                return await asyncio.wrap_future(done)
        except TimeoutError as error:
            raise self._hangs() from error
        finally:
            stop.set()
            await self._end()

    async def _end(self) -> None:
        """Wait for a stopping thread, at most STOP_S. A second cancellation ends the wait."""
        deadline_s = asyncio.get_running_loop().time() + STOP_S
        while self._thread is not None and self._thread.is_alive():
            if asyncio.get_running_loop().time() > deadline_s:
                return
            await asyncio.sleep(0.005)  # join() would block the loop, and a second thread may hang
        self._thread = None

    def _hangs(self) -> FeedDown:
        text = f"{self._origin} did not answer within deadline_s = {self._deadline_s:g}: is its"
        return FeedDown(FeedFault.TIMEOUT, f"{text} disk or network mount there?")
