"""`ringfence restore WORDS` in processes that end themselves with SIGKILL at a step of theirs.

`killed_restore WORDS` plays one for each number of a step on its stdin, and prints its exit code. A
step is a round trip that writes what is restored; the last is the one that moves it into place.
"""

import os
import signal
import sys
from importlib import import_module

from redis.asyncio import connection as connections

from stream.cli.main import app


def main() -> None:
    """Run the command once for each step."""
    import_module("stream.cli.ops.backup_commands")  # once, for all
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _restore(int(line))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _restore(step: int) -> None:
    left = step
    send = connections.AbstractConnection.send_packed_command

    async def counted(self: connections.AbstractConnection, *words: object, **more: object) -> None:
        nonlocal left
        if any(b"rf:restoring:" in word for part in words for word in _bytes(part)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        await send(self, *words, **more)  # type: ignore[arg-type]

    connections.AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]
    app()


def _bytes(part: object) -> list[bytes]:
    return [part] if isinstance(part, bytes) else [bytes(one) for one in part]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
