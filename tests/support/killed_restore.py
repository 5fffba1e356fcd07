"""`ringfence restore` that ends itself with SIGKILL at its N-th step: `killed_restore N WORDS`.

A step is a round trip that writes what is restored; the last is the one that moves it into place.
"""

import os
import signal
import sys

from redis.asyncio import connection as connections

from stream.cli.main import app


def main() -> None:
    """Run the command until its step."""
    left = int(sys.argv[1])
    send = connections.AbstractConnection.send_packed_command

    async def counted(self: connections.AbstractConnection, *words: object, **more: object) -> None:
        nonlocal left
        if any(b"rf:restoring:" in word for part in words for word in _bytes(part)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        await send(self, *words, **more)  # type: ignore[arg-type]

    connections.AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]
    sys.argv[1:] = sys.argv[2:]
    app()


def _bytes(part: object) -> list[bytes]:
    return [part] if isinstance(part, bytes) else [bytes(one) for one in part]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
