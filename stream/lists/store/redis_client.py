"""The connection to Redis: explicit time-outs, no silent retries, a look at its set-up."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from stream.core.model.errors import ListStoreDown, ListStoreRefuses, ListStoreUnsafe
from stream.lists.store.settings import ListStoreSettings

CONNECTIONS_MAX = 8
"""Connections of one client. A request for one more waits, at most `timeout_s`."""


def client(settings: ListStoreSettings, wait_s: float = 0.0) -> Redis:
    """Return a client that waits at most `timeout_s`, plus `wait_s` where a command may block so
    long.

    It repeats nothing by itself: a change that was cut off may have been done, and a second one
    would count twice.
    """
    files = {
        "ssl_ca_certs": settings.ca_file or None,
        "ssl_certfile": settings.cert_file or None,
        "ssl_keyfile": settings.key_file or None,
    }
    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=CONNECTIONS_MAX,
        timeout=settings.timeout_s,
        username=settings.username,
        password=settings.password,
        socket_timeout=settings.timeout_s + wait_s,
        socket_connect_timeout=settings.timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        **(files if settings.url.startswith("rediss:") else {}),
    )
    return Redis.from_pool(pool)


class Closing:
    """Base of stores that have a Redis client of their own; `async with` closes it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()


@contextmanager
def renamed(doing: str) -> Iterator[None]:
    """Rename Redis' errors to ListStoreDown or ListStoreRefuses, with what was being done."""
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise ListStoreRefuses(f"{doing}: {error}") from error
    except (RedisError, OSError) as error:
        raise ListStoreDown(f"{doing}: {error}") from error


async def keep_told(
    settings: ListStoreSettings, tell: Callable[[Mapping[str, Any]], None], every_s: float
) -> None:
    """Tell again and again what Redis says of itself (INFO); nothing while it is away."""
    redis = client(settings)
    async with Closing(redis):
        while True:
            with suppress(ListStoreDown), renamed("checking the list store"):
                tell(await redis.info())
            await asyncio.sleep(every_s)


async def look_at(redis: Redis, settings: ListStoreSettings) -> Mapping[str, Any]:
    """Return Redis' INFO. Raises ListStoreDown, ListStoreRefuses with what to check."""
    place, people = settings.named
    try:
        with renamed("INFO"):
            info: Mapping[str, Any] = await redis.info()
    except ListStoreRefuses as fault:
        text = f"Redis at {settings.url} refuses us ({fault}): look at {people}, and at its ACL"
        raise ListStoreRefuses(text) from fault
    except ListStoreDown as fault:
        raise ListStoreDown(f"Redis at {settings.url}: {fault}: look at {place}") from fault
    return info


async def check_safe(redis: Redis, settings: ListStoreSettings) -> None:
    """Refuse a Redis that may lose entries by itself; ListStoreUnsafe says how to set it up."""
    info = await look_at(redis, settings)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise ListStoreUnsafe(
            f"Redis runs with maxmemory-policy {policy} and may throw entries away: "
            "set `maxmemory-policy noeviction`"
        )
    if settings.require_aof and not int(info.get("aof_enabled", 0)):
        raise ListStoreUnsafe(
            "Redis runs without an append-only file and forgets changes in a crash: "
            "set `appendonly yes` (or require_aof = false in [redis] to accept that)"
        )
