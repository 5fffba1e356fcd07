"""The key of ids that no call led to: one for all processes of a register, which holds it."""

import os
from typing import Any

from redis.asyncio import Redis

from stream.edge.sinks.preload_ids import KEY_BYTES, Names
from stream.lists.store import redis_keys


async def names_in(redis: Redis) -> Names:
    """The ids of a register; its key is made if there is none. Raises as redis-py does."""
    await redis.set(redis_keys.NAMES, os.urandom(KEY_BYTES), nx=True)
    key: Any = await redis.get(redis_keys.NAMES)
    return Names(key)
