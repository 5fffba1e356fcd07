"""Ctrl-C, SIGTERM and a closed terminal: the first of them ends the demo.

Later ones are not listened to: they would interrupt the clearing up that the first one set off.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Came = TypeVar("Came")


class Interrupted(KeyboardInterrupt):
    """A signal ends the demo; `code` is its exit code."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + signum


class Stop:
    """Turns the first signal into Interrupted, or into the end of the running event loop's task."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._deaf = False
        self._cancel: Callable[[], object] | None = None

    def listen(self) -> None:
        """Take the signals over from Python."""
        for signum in SIGNALS:
            signal.signal(signum, self._came)

    def go_deaf(self) -> None:
        """From here on only clearing up is left: nothing interrupts it.

        Ignored by the kernel, they do not even end an interpreter that is about to end by itself.
        """
        self._deaf = True
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)

    def run(self, work: Coroutine[Any, Any, Came]) -> Came:
        """`asyncio.run` in which a signal cancels `work`; Interrupted once it has cleared up."""
        heeding = self._heeding(work)
        try:
            came = asyncio.run(heeding)
        except asyncio.CancelledError:
            if self._signum is None:
                raise
        finally:
            # A signal that came before they began: they are not awaited.
            heeding.close()
            work.close()
        if self._signum is not None:
            raise Interrupted(self._signum)
        return came

    async def _heeding(self, work: Coroutine[Any, Any, Came]) -> Came:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await work
        finally:
            self._cancel = None

    def _came(self, signum: int, _frame: FrameType | None) -> None:
        if self._deaf:
            return
        self._deaf = True
        self._signum = signum
        if self._cancel is None:
            raise Interrupted(signum)
        self._cancel()


def outcome_of(
    work: Callable[[ExitStack, Stop], tuple[int, str]], interrupted: str
) -> tuple[int, str]:
    """Run `work`; its exit code and last line ("": none), `interrupted` after a signal.

    Whatever happens, nothing that it put on the stack is left behind.
    """
    stop = Stop()
    stop.listen()
    closing = ExitStack()
    try:
        return work(closing, stop)
    except Interrupted as signalled:
        return signalled.code, interrupted
    finally:
        stop.go_deaf()
        closing.close()
