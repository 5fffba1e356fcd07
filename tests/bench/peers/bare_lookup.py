"""The bare lookup: what uvicorn costs an answer, by hand and without any decision.

`python -m tests.bench.peers.bare_lookup --help`.
"""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

KEPT_S = 60
"""Longer than a bench leaves a connection idle."""
_BODY = b'{"verdict":"allow"}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))],
}
_REST = {"type": "http.response.body", "body": _BODY}


async def application(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Say the same to everybody."""
    del scope, receive
    await send(_START)
    await send(_REST)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        application,
        port=options.port,
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=KEPT_S,
    )


if __name__ == "__main__":
    main()
