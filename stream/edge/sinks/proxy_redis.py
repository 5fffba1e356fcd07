"""The Redis that SIP proxies ask: the only place that writes its `bl:` keys.

No method repeats anything by itself. Each raises ProxiesDown, after which the sink reads all keys
again: what a command did that was cut off is unknown.
"""

import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from stream.core.model.errors import Fault, ListStoreDown, ListStoreRefuses
from stream.edge.sinks import proxy_keys
from stream.edge.sinks.preload_ids import KEY_BYTES, NumberIds
from stream.edge.sinks.proxy_keys import Held, Put
from stream.lists.store import redis_keys
from stream.lists.store.redis_client import Closing, client, look_at
from stream.lists.store.settings import ListStoreSettings

log = logging.getLogger(__name__)

WRITE_KEYS = 500
"""Keys of one script: about 2 ms in which Redis answers no other client, proxies among them."""
_NAME, _MARK = 24, 16
"""Signs of each of Redis' two names of its data, and of our mark: 64 bytes together, the most."""
_LOAD_KEYS = 500
"""Keys that SCAN looks at in one go, for the same reason."""


class ProxiesDown(Fault):
    """The Redis of the SIP proxies does not answer, or does not let us write."""


@dataclass(frozen=True, slots=True)
class ProxyRedisState:
    """State of the Redis that answers: its `run`, new at each start, and the fields of `bl:meta`.

    `may_evict` is its eviction policy, "" where it evicts nothing. `data` names its data: it is
    another at each start, at each fail-over, and once all was deleted. `read` are the fields of
    `bl:read`.
    """

    run: str
    meta: Mapping[str, str]
    may_evict: str
    data: str = ""
    read: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Return whether the keys were complete, and Redis did not restart or fail over since."""
        meta = self.meta
        whole = bool(meta.get("build")) and meta.get("format") == proxy_keys.FORMAT
        return whole and meta.get("redis") == self.run and (self.older or meta["data"] == self.data)

    @property
    def older(self) -> bool:
        """Return whether a sink of 0.1 completed the keys: it named only the run."""
        return "data" not in self.meta

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of the decisions topic whose decisions are in these data."""
        return _partitions(self.read, self.data)


@contextmanager
def _renamed(doing: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise ProxiesDown(f"{doing}: {error}") from error


class ProxyRedis(Closing):
    """One connection. Use `async with`."""

    def __init__(self, settings: ListStoreSettings) -> None:
        super().__init__(client(settings))
        self._settings = settings
        self.info: Mapping[str, Any] = {}
        """The last answer to INFO."""
        self._put = self._redis.register_script(proxy_keys.PUT)
        self._load = self._redis.register_script(proxy_keys.LOAD)
        self._beat = self._redis.register_script(proxy_keys.BEAT)
        self._standing = self._redis.register_script(proxy_keys.STANDING)
        self._has_read = self._redis.register_script(proxy_keys.HAS_READ)

    async def let_in(self) -> None:
        """Raise ListStoreRefuses where it answers and refuses us: a person has to change that."""
        try:
            await look_at(self._redis, self._settings)
        except ListStoreRefuses:
            raise
        except ListStoreDown as fault:
            log.warning("the proxies' Redis is waited for: %s", fault)

    async def standing(self) -> ProxyRedisState:
        """Return which Redis answers, and whether our keys are complete in it."""
        with _renamed("looking at the proxies' Redis"):
            self.info = info = await self._redis.info()
            # In one step: all may be deleted between two.
            mark, meta, read = await self._standing(
                keys=[proxy_keys.META, proxy_keys.READ], args=[uuid4().hex[:_MARK]]
            )
        policy = str(info.get("maxmemory_policy", "noeviction"))
        run = str(info["run_id"])
        return ProxyRedisState(
            run=run,
            meta=_fields(meta),
            may_evict="" if policy == "noeviction" else policy,
            data=run[:_NAME] + str(info.get("master_replid", ""))[:_NAME] + mark.decode(),
            read=_fields(read),
        )

    async def forget_read(self, partitions: Iterable[int]) -> None:
        """Note that the data may lack decisions of `partitions`."""
        with _renamed("writing bl:read"):
            if fields := [str(number) for number in partitions]:
                await self._redis.hdel(proxy_keys.READ, *fields)

    async def has_read(self, data: str, partitions: Iterable[int]) -> frozenset[int]:
        """Note that these data have all decisions of `partitions`; return which they have now.

        Raises ProxiesDown too where the data were deleted.
        """
        with _renamed("writing bl:read"):
            args = [data[-_MARK:], data, *map(str, partitions)]
            read = await self._has_read(keys=[proxy_keys.READ], args=args)
        if read is None:
            raise ProxiesDown("Redis lost its keys")
        return _partitions(_fields(read), data)

    async def load(self) -> AsyncIterator[Held]:
        """Yield every key of ours. One written meanwhile may be missing, but is never torn."""
        cursor = b"0"
        while True:
            with _renamed("reading the keys"):
                cursor, *values = await self._load(args=[cursor, _LOAD_KEYS])
            rest = iter(values)
            while item := tuple(islice(rest, 4)):
                text, action, expires, decided = (value.decode(errors="replace") for value in item)
                yield Held(text, action, _whole(expires), _whole(decided))
            if cursor == b"0":
                return

    async def put(self, puts: Sequence[Put]) -> None:
        """Write keys, with their expiry; Redis has them when this returns."""
        for start in range(0, len(puts), WRITE_KEYS):
            with _renamed("writing keys"):
                await self._put(args=[_packed(_texts_of(puts[start : start + WRITE_KEYS]))])

    async def drop(self, texts: Sequence[str]) -> None:
        """Delete keys; one that is gone already is no fault."""
        for start in range(0, len(texts), WRITE_KEYS):
            some = texts[start : start + WRITE_KEYS]
            with _renamed("deleting keys"):
                await self._redis.unlink(*(f"{proxy_keys.PREFIX}{text}" for text in some))

    async def begin(self) -> None:
        """Mark the keys as incomplete: proxies see no `bl:meta`."""
        with _renamed("beginning to rebuild"):
            await self._redis.delete(proxy_keys.META)

    async def complete(self, build: str, run: str, data: str) -> None:
        """Mark the keys as complete in these data; `beat` follows."""
        named = {"build": build, "redis": run, "data": data}
        with _renamed("writing bl:meta"):
            fields = {"format": proxy_keys.FORMAT, **named, "version": "1"}
            await self._redis.hset(
                proxy_keys.META, items=[word for item in fields.items() for word in item]
            )

    async def beat(
        self, build: str, run: str, now_s: int, count: int, digits: str, writes: int
    ) -> bool:
        """Write that the keys are right as of now. False: Redis lost them, or has restarted."""
        with _renamed("writing bl:meta"):
            self.info = info = await self._redis.info()
            args: list[str | int] = [build, now_s, count, digits, writes]
            return info["run_id"] == run and bool(
                await self._beat(keys=[proxy_keys.META], args=args)
            )


def _fields(words: Sequence[bytes]) -> dict[str, str]:
    texts = [word.decode(errors="replace") for word in words]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _partitions(read: Mapping[str, str], data: str) -> frozenset[int]:
    return frozenset(_whole(number) for number, of in read.items() if of == data)


_packed = msgspec.msgpack.Encoder().encode


def _texts_of(puts: Sequence[Put]) -> list[tuple[str, ...]]:
    return [
        (text, action, reason, of_list, name, f"{expires_at_s}", f"{decided_at_ms}")
        for text, action, reason, of_list, name, expires_at_s, decided_at_ms in puts
    ]


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0


async def number_ids(redis: Redis) -> NumberIds:
    """Return the ids of a list store, which holds their key for all processes.

    Makes the key if there is none. Raises as redis-py does.
    """
    await redis.set(redis_keys.NAMES, os.urandom(KEY_BYTES), nx=True)
    key: Any = await redis.get(redis_keys.NAMES)
    return NumberIds(key)
