"""The key of ids that no call led to: one for all processes of a register, which holds it."""

import os
from typing import Any

from redis.asyncio import Redis

from stream.lists import keys
from stream.sinks.names import KEY_BYTES, Names


async def names_in(redis: Redis) -> Names:
    """The ids of a register; its key is made if there is none. Raises as redis-py does."""
    await redis.set(keys.NAMES, os.urandom(KEY_BYTES), nx=True)
    key: Any = await redis.get(keys.NAMES)
    return Names(key)
