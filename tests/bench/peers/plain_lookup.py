"""The plain lookup: what a good Python engineer writes in an afternoon to answer a proxy.

FastAPI with a pydantic answer, pybloom-live `in` on ONE list, and a GET from Redis where it hits,
to confirm. Nothing is tuned and nothing is crippled: uvicorn with its fast parser and event loop as
installed, no access log. `python -m tests.bench.peers.plain_lookup --help`.

Differences to Ringfence, all in the plain lookup's favour: one list instead of 64; no token; no
emergency numbers, no allowlist, no agreements, no reasons, no answer for SIP; no number is cleaned.
"""

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pybloom_live import BloomFilter  # type: ignore[attr-defined]
from pydantic import BaseModel
from redis.asyncio import Redis


class Answer(BaseModel):
    """As short as one can be and still be of use."""

    caller: str
    callee: str
    verdict: str


def application(blocklist: BloomFilter, redis: Redis) -> FastAPI:
    """One route."""
    app = FastAPI()

    @app.get("/v1/decision")
    async def decision(caller: str, callee: str) -> Answer:
        listed = caller in blocklist and await redis.get(f"bl:{caller}") is not None
        return Answer(caller=caller, callee=callee, verdict="block" if listed else "allow")

    @app.get("/ready")
    async def ready() -> bool:
        return True

    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--list", type=Path, required=True)
    options = parser.parse_args()
    with options.list.open("rb") as file:
        blocklist = BloomFilter.fromfile(file)
    app = application(blocklist, Redis.from_url(options.redis))
    # Connections of the bench may be idle longer than uvicorn's 5 s.
    uvicorn.run(
        app, port=options.port, access_log=False, log_level="warning", timeout_keep_alive=60
    )


if __name__ == "__main__":
    main()
