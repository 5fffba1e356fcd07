"""Connections to the primary that sentinels name."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.lists.store.redis_client import client, sentinels_of
from stream.lists.store.settings import ListStoreSettings

PRIMARY = ("127.0.0.1", 7000)
STATE = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2}


def answers(turns: int, *, refused: bool = False) -> Callable[[], Awaitable[object]]:
    """A sentinel's answer, or a refused connection, after some turns of the loop."""

    async def masters() -> object:
        for _ in range(turns):
            await asyncio.sleep(0)
        if refused:
            raise RedisConnectionError("refused")
        return {"ours": STATE | {"ip": PRIMARY[0], "port": PRIMARY[1]}}

    return masters


async def test_connections_that_are_made_at_once_lose_no_sentinel(monkeypatch):
    """With redis-py's own list the first was never asked again: the second was there twice."""
    addresses = tuple(f"127.0.0.1:{port}" for port in (7001, 7002, 7003))
    manager = sentinels_of(ListStoreSettings("redis://127.0.0.1", sentinels=addresses))
    first, second, third = manager.sentinels
    monkeypatch.setattr(first, "sentinel_masters", answers(1, refused=True))
    monkeypatch.setattr(second, "sentinel_masters", answers(3))
    monkeypatch.setattr(third, "sentinel_masters", answers(1))
    found = await asyncio.gather(*(manager.discover_master("ours") for _ in range(5)))
    assert found == [PRIMARY] * 5
    assert manager.sentinels == [second, first, third]


async def test_the_sentinels_connections_close_though_the_primarys_fail(monkeypatch):
    """A connection of a primary that died may not close in time."""
    addresses = ("127.0.0.1:7001", "127.0.0.1:7002")
    redis = client(ListStoreSettings("redis:///0", sentinels=addresses, sentinel_master="ours"))
    pool: Any = redis.connection_pool
    closed = []
    for sentinel in pool.sentinel_manager.sentinels:

        async def close(sentinel: object = sentinel) -> None:
            closed.append(sentinel)

        monkeypatch.setattr(sentinel, "aclose", close)
    monkeypatch.setattr(pool, "disconnect", answers(0, refused=True))
    with pytest.raises(RedisConnectionError):
        await redis.aclose()
    assert closed == pool.sentinel_manager.sentinels
