"""Scenes of what others bring: into our Redis, and in their lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from tests.tools.faults.place import Place


@asynccontextmanager
async def another_program_writes(place: Place) -> AsyncIterator[None]:
    """A script puts what is no change into the change stream, until it is told not to."""

    async def write() -> None:
        while True:
            await asyncio.to_thread(client.xadd, "rf:changes", {"event": "deployed"})
            await asyncio.sleep(1)

    with redis.Redis.from_url(place.register.url()) as client:
        task = asyncio.create_task(write())
        yield
        task.cancel()
