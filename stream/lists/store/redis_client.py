"""The connection to Redis: explicit time-outs, no silent retries, checks of its set-up.

With sentinels, each new connection asks them for the primary (redis-py's own pool). A primary that
was demoted answers a write with READONLY: its connection closes, and the next one finds the new
primary. The command itself fails once, and its caller decides what to repeat.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import copy
from typing import Any, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
)

from stream.core.model.errors import ChangeUnsafe, ListStoreDown, ListStoreRefuses, ListStoreUnsafe
from stream.lists.store import redis_keys
from stream.lists.store.settings import ListStoreSettings
from stream.ops.renewed_secret import RenewedSecret, Secret, text_of
from stream.ops.stored_format import LIST_STORE, check_number
from stream.ops.tasks import running

FORMAT = LIST_STORE
"""Of a list store that we make."""
CONNECTIONS_MAX = 8
"""Connections of one client. A request for one more waits, at most `timeout_s`."""
_AWAITED_S = 60.0
"""Longest wait for a process that does what one at a time does: a large base takes seconds."""
_HELD_S, _RENEWED_S = 5.0, 1.5
"""The holder of a lock renews it while it lives. One that was killed, or whose release a fail-over
lost, keeps others waiting no longer than this."""
NO_CLUSTER = (
    "Redis Cluster is not supported: the list store's changes are scripts over keys of several "
    "slots. Use one primary with replicas, by Redis Sentinel ([redis] sentinels) or managed with "
    "cluster mode off"
)


class _Renewed(SSLConnection):
    """A connection that reads its certificates each time that it is made.

    redis-py reads them once for each object, which connects again and again: a renewal would need
    a restart. Costs up to 20 ms of CPU a connection, where the system's authorities are read.
    """

    def _connection_arguments(self) -> Mapping[str, Any]:
        self.ssl_context.context = None
        arguments: Mapping[str, Any] = super()._connection_arguments()
        return arguments


class _RenewedManaged(SentinelManagedSSLConnection, _Renewed):
    """The same, to the primary that the sentinels name."""


class _RenewedLogin(CredentialProvider):
    """User and password of files: redis-py asks for them at each connection."""

    def __init__(self, username: Secret | None, password: Secret | None) -> None:
        self._username, self._password = username, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password of now, and the user before it, where there is one."""
        username, password = text_of(self._username), text_of(self._password) or ""
        return (username, password) if username else (password,)


class _Sentinels(Sentinel):
    """Sentinels of which none is lost.

    redis-py puts the one that answered first in its list, while other connections go over the same
    list. Two at once leave the second sentinel there twice; the first is never asked again, nor
    closed. So each goes over a list of its own.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the primary's address. Raises MasterNotFoundError."""
        asked = copy(self)
        asked.sentinels = list(self.sentinels)
        address: tuple[str, int] = await Sentinel.discover_master(asked, service_name)
        self.sentinels = asked.sentinels
        return address


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary that the sentinels name; the sentinels' own close with it."""

    async def aclose(self) -> None:
        """Close all connections."""
        try:
            await super().aclose()  # of a primary that died: it may raise
        finally:
            await self.sentinel_manager.aclose()


def client(settings: ListStoreSettings, wait_s: float = 0.0) -> Redis:
    """Return a client that waits at most `timeout_s`, plus `wait_s` where a command may block so
    long.

    It repeats nothing by itself: a change that was cut off may have been done, and a second one
    would count twice.
    """
    kwargs: dict[str, Any] = {
        "max_connections": CONNECTIONS_MAX,
        "timeout": settings.timeout_s,
        **_login(settings.username, settings.password),
        "socket_timeout": settings.timeout_s + wait_s,
        **_patience(settings),
        # Closes the connection, and repeats nothing either: there are 0 retries.
        "retry_on_error": [ReadOnlyError],
    }
    tls = settings.url.startswith("rediss:")
    files = _files(settings) if tls else {}
    if not settings.sentinels:
        pool = BlockingConnectionPool.from_url(settings.url, **kwargs, **files)
        if tls:
            pool.connection_class = _Renewed  # the url's scheme goes before an argument
        return Redis.from_pool(pool)
    kwargs |= {"db": parse_url(settings.url).get("db", 0), **files}
    if tls:
        kwargs["connection_class"] = _RenewedManaged
    primary: Redis = sentinels_of(settings).master_for(
        settings.sentinel_master, connection_pool_class=_SentinelPool, **kwargs
    )
    return primary


def sentinels_of(settings: ListStoreSettings) -> Sentinel:
    """Return clients of the sentinels, in the order of their addresses."""
    places = [one.rpartition(":") for one in settings.sentinels]
    kwargs: dict[str, Any] = {
        **_login(settings.sentinel_username, settings.sentinel_password),
        "socket_timeout": settings.timeout_s,
        **_patience(settings),
    }
    if settings.sentinel_tls:
        kwargs |= {"ssl": True, **_files(settings)}
    addresses = [(host.strip("[]"), int(port)) for host, _, port in places]
    return _Sentinels(addresses, sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]


def _login(username: Secret | None, password: Secret | None) -> dict[str, Any]:
    if isinstance(username, RenewedSecret) or isinstance(password, RenewedSecret):
        return {"credential_provider": _RenewedLogin(username, password)}
    return {"username": username, "password": password}


def _patience(settings: ListStoreSettings) -> dict[str, Any]:
    return {"socket_connect_timeout": settings.timeout_s, "retry": Retry(NoBackoff(), 0)}


def _files(settings: ListStoreSettings) -> dict[str, str | None]:
    return {
        "ssl_ca_certs": settings.ca_file or None,
        "ssl_certfile": settings.cert_file or None,
        "ssl_keyfile": settings.key_file or None,
    }


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
    """Rename Redis' errors to ours, with what was being done.

    Raises ListStoreDown, ListStoreRefuses; ListStoreUnsafe where a cluster answers.
    """
    try:
        yield
    except (MovedError, ClusterCrossSlotError) as error:
        raise ListStoreUnsafe(f"{doing}: {error}: {NO_CLUSTER}") from error
    except (AuthenticationError, NoPermissionError) as error:
        raise ListStoreRefuses(f"{doing}: {error}") from error
    except (RedisError, OSError) as error:
        raise ListStoreDown(f"{doing}: {told(error)}") from error


@asynccontextmanager
async def alone(redis: Redis, key: str, doing: str) -> AsyncIterator[None]:
    """Let no other process do the same meanwhile; after a minute of waiting two do it at once.

    A lock that ran out is another process's, which must do no harm. Raises ListStoreDown.
    """
    with renamed(f"waiting for another process: {doing}"):
        lock = redis.lock(key, _HELD_S, blocking_timeout=_AWAITED_S)
        await lock.acquire()

    async def renewed() -> None:
        with suppress(ListStoreDown), renamed(doing):
            while True:
                await asyncio.sleep(_RENEWED_S)
                await lock.reacquire()

    try:
        async with running(renewed(), f"lock: {doing}"):
            yield
    finally:
        with suppress(ListStoreDown), renamed(f"letting others go on: {doing}"):
            await lock.release()


def told(error: Exception) -> str:
    """Return an error's text; of sentinels that name no primary without their objects."""
    if not isinstance(error, MasterNotFoundError):
        return str(error)
    words = re.findall(r"\w+", str(error))
    why = ", ".join(sorted({word for word in words if word.endswith("Error")}))
    more = f" ({why})" if why else ""
    return f"no sentinel names a primary that is up{more}: `ringfence doctor` asks each"


async def keep_told(
    settings: ListStoreSettings, tell: Callable[[Mapping[str, Any]], None], every_s: float
) -> None:
    """Pass on Redis' INFO at intervals, until cancelled; nothing while it is away."""
    redis = client(settings)
    async with Closing(redis):
        while True:
            with suppress(ListStoreDown), renamed("checking the list store"):
                tell(await redis.info())
            await asyncio.sleep(every_s)


async def look_at(redis: Redis, settings: ListStoreSettings) -> Mapping[str, Any]:
    """Return Redis' INFO. Raises ListStoreDown, ListStoreRefuses with what to check.

    ListStoreUnsafe for a cluster and for a replica: neither takes our changes.
    """
    people = settings.named[1]
    try:
        with renamed("INFO"):
            info: Mapping[str, Any] = await redis.info()
    except ListStoreRefuses as fault:
        text = f"{settings.place} refuses us ({fault}): look at {people}, and at its ACL"
        raise ListStoreRefuses(text) from fault
    except ListStoreDown as fault:
        raise ListStoreDown(f"{settings.place}: {fault}: look at {settings.setting}") from fault
    if int(info.get("cluster_enabled", 0)):
        raise ListStoreUnsafe(f"{settings.place}: {NO_CLUSTER}")
    if info.get("role") == "slave":
        raise _replica(info, settings)
    return info


def _replica(
    info: Mapping[str, Any], settings: ListStoreSettings
) -> ListStoreDown | ListStoreUnsafe:
    if settings.sentinels:  # in the middle of a fail-over, which ends by itself
        return ListStoreDown(f"{settings.place}: the primary that they name is a replica as yet")
    primary = f"{info.get('master_host')}:{info.get('master_port')}"
    return ListStoreUnsafe(
        f"{settings.place} is a replica of {primary} and takes no changes: name the primary in "
        f"{settings.named[0]}, or its sentinels (sentinels, sentinel_master)"
    )


async def check_format(redis: Redis) -> None:
    """Raise FormatNewer where a newer Ringfence wrote this list store."""
    with renamed("reading the format of the list store"):
        held: Any = await redis.hget(redis_keys.IDENTITY, "format")
    number = held.decode(errors="replace") if held is not None else None
    place = f"the list store ({redis_keys.IDENTITY} in Redis)"
    check_number(place, number, LIST_STORE)


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


async def check_primary(redis: Redis, settings: ListStoreSettings) -> str:
    """Return the history of data (replication id) of the primary that answers.

    Raises ListStoreDown where a connection leads to one that was demoted meanwhile. That answers
    reads with what it knows, which may be old. The next connection finds the new primary, by the
    sentinels or by its name.
    """
    with renamed("asking whether it is the primary"):
        info: Mapping[str, Any] = await redis.info("replication")
    if info.get("role") == "slave":
        raise ListStoreDown(f"{settings.place} is a replica now: its primary is asked for again")
    return str(info.get("master_replid", ""))


async def clock_ahead_s(redis: Redis, clock: Callable[[], float]) -> float:
    """Return how far Redis' clock is ahead of `clock`, to half of the time of the answer.

    Raises ListStoreDown, ListStoreRefuses.
    """
    asked_s = clock()
    with renamed("asking for its time"):
        seconds, micros = await redis.time()
    return float(seconds + micros / 1e6 - (asked_s + clock()) / 2)


class Replicas:
    """Replicas that must have a change before it is reported as done; none unless set.

    The question goes through the connection of the change, right after it: Redis counts by
    connection, and another one may lead to another primary.
    """

    def __init__(self, settings: ListStoreSettings) -> None:
        self._count, self._wait_ms = settings.wait_replicas, settings.wait_ms

    def ask(self, pipe: Pipeline) -> None:
        """Make Redis wait after the commands in `pipe`, which must be no transaction."""
        if self._count:
            pipe.wait(self._count, self._wait_ms)

    def checked(self, answers: list[Any], doing: str) -> list[Any]:
        """Return the answers to the commands before `ask`. Raises ChangeUnsafe for too few."""
        if not self._count:
            return answers
        *answers, reached = answers
        if reached < self._count:
            raise ChangeUnsafe(
                f"{doing}: Redis has the change, and {reached} of {self._count} replicas "
                f"(wait_replicas) within {self._wait_ms} ms: a fail-over now may lose it. Look at "
                "the replicas (`ringfence doctor`), then give the change again"
            )
        return answers

    async def run(
        self,
        redis: Redis,
        script: AsyncScript,
        keys: Sequence[str],
        args: Sequence[Any],
        doing: str,
    ) -> Any:
        """Run a script that changes something, and wait for the replicas."""
        if not self._count:
            return await script(keys=keys, args=args)
        async with redis.pipeline(transaction=False) as pipe:
            await script(keys=keys, args=args, client=pipe)
            self.ask(pipe)
            answers = await pipe.execute()
        return self.checked(answers, doing)[0]
