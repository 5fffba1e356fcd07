"""A program whose children do one and the same work, each being killed one step later.

    python -m tests.support.killed_importer URL

A step is a command about to be sent to Redis, one that was sent, or a stage that is named. For
each line on its standard input, the name of the file to import or `rebuild`, it forks a child that
ends itself with SIGKILL at the next step, and answers with a line: `killed` or `done`. So the
modules are loaded only once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.asyncio.connection import AbstractConnection

from stream.feeds.import_file import import_file
from stream.lists.store.rewrite import rebuild
from stream.ops.kernels import warm_up
from tests.conftest import KERNELS_DIR
from tests.support.builders import NOW_S
from tests.support.lists import BY, NAME, opened, request

REBUILD = "rebuild"


class Doom:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with a step before it is called and one after it was."""

        async def called(*args: Any, **kwargs: Any) -> Any:
            self.step()
            answer = await function(*args, **kwargs)
            self.step()
            return answer

        return called


async def work(url: str, line: str, doom: Doom) -> None:
    """Make a file the list, or rebuild it."""
    async with opened(url) as register:
        if line == REBUILD:
            await rebuild(register, NAME, b"", BY, NOW_S, doom.step)
        else:
            await import_file(register, request(Path(line), replace=True), NOW_S, doom.step)


def main() -> None:
    """See the module."""
    url = sys.argv[1]
    warm_up(KERNELS_DIR)
    for at, line in enumerate(sys.stdin):
        child = os.fork()
        if not child:
            doom = Doom(at)
            send = AbstractConnection.send_packed_command
            AbstractConnection.send_packed_command = doom.around(send)  # type: ignore[method-assign]
            asyncio.run(work(url, line.strip(), doom))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            sys.stdout.write("killed\n")
        else:
            sys.stdout.write(f"done {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
