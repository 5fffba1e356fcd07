"""Put a backup back into a list store: beside what is there, then all of it into place at once.

Each key is written under `rf:restoring:`, which nothing reads, and one script moves all of them to
their places. So a restore that is killed has changed nothing; the next one begins by removing what
it left, and it expires by itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from stream.core.model.errors import BackupUnreadable, RestoreRefused
from stream.lists.backup.backup_keys import OpeningKey
from stream.lists.backup.backup_records import (
    BackupSummary,
    GoneKey,
    KeyPiece,
    piece_of,
    summary_of,
)
from stream.lists.backup.sealed_file import SealedReader
from stream.lists.store import list_lua, redis_keys
from stream.lists.store.redis_client import renamed

T = TypeVar("T")

PREFIX: Final = b"rf:restoring:"
STAYS: Final = (*("rf:restoring:", "rf:session:", "rf:decided:"), redis_keys.PUT_BACK)
"""Keys that a restore leaves alone: no backup has them, and they are no part of the lists."""
IN_EMPTY: Final = (*STAYS, redis_keys.ONCE)
"""Keys that an empty list store may have.

`replace` removes answers kept for repeated requests: it undoes their changes. A client that sends
one again would get the old answer, and no change.
"""
STAGED_TTL_S: Final = 12 * 3600
"""Memory that a killed restore left is free after so long; a restore takes minutes."""
_PIECES: Final = 64
"""Written in one round trip, up to 64 MB."""
_ABSENT, _FULL = -3, -2
"""Answers of the script."""


@dataclass(frozen=True, slots=True)
class CheckedBackup:
    """A backup that was read to its end: its last record, and the keys with their expiries."""

    summary: BackupSummary
    expiries: dict[bytes, int] = field(default_factory=dict)


def checked(file: BinaryIO, name: str, key: OpeningKey) -> CheckedBackup:
    """Read a backup to its end. Raises BackupUnreadable where a byte of it is not as written."""
    expiries: dict[bytes, int] = {}
    for record in _records(file, name, key):
        if isinstance(record, BackupSummary):
            if len(expiries) != record.keys:
                text = f"{name}: it has {len(expiries):,} keys, and its end says {record.keys:,}"
                raise BackupUnreadable(f"{text}. Nothing was restored; take another copy.")
            return CheckedBackup(record, expiries)
        if isinstance(record, GoneKey):
            expiries.pop(record.key, None)
        else:
            expiries[record.key] = record.expires_at_ms
    raise AssertionError("the reader refuses a file without its last record")


async def restore(
    redis: Redis, file: BinaryIO, name: str, key: OpeningKey, whole: CheckedBackup, *, replace: bool
) -> None:
    """Put the backup that was checked as `whole` into the list store.

    `replace`: what is in the list store goes. Raises RestoreRefused where it is not empty,
    ListStoreDown; nothing is changed then.
    """
    if not replace and (there := await _anything(redis)):
        raise RestoreRefused(_full(there))
    await _clear(redis)
    try:
        for some in _batched(_records(file, name, key), _PIECES):
            with renamed("writing what is restored"):
                async with redis.pipeline(transaction=False) as pipe:
                    for record in some:
                        _stage(pipe, record)
                    await pipe.execute()
        await _swap(redis, whole, replace=replace)
    except BaseException:  # a Ctrl-C too: the memory is Redis'
        await _clear(redis)
        raise


async def _swap(redis: Redis, whole: CheckedBackup, *, replace: bool) -> None:
    with renamed("looking at Redis' clock"):
        seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    live = {key: at for key, at in whole.expiries.items() if not at or at > now_ms}
    stays = "\n".join(STAYS if replace else IN_EMPTY)
    with renamed("putting what was restored into place"):
        answer: Any = await redis.register_script(list_lua.SWAP)(
            keys=list(live), args=[PREFIX, "1" if replace else "", stays, *live.values()]
        )
    if answer == 1:
        # Those that expired since the backup was made.
        await _clear(redis)
        return
    status, key = answer[0], answer[1].decode(errors="replace")
    if status == _FULL:
        raise RestoreRefused(_full(key))
    raise RestoreRefused(f"Redis lost {key} while it was restored: nothing was changed. Try again")


def _full(key: str) -> str:
    return (
        f"the list store is not empty (it has {key}): nothing was restored. Name an empty Redis, "
        "or --replace to delete what is there"
    )


async def _anything(redis: Redis) -> str:
    """Return a key of a list store that holds something; "": it is empty."""
    with renamed("looking whether the list store is empty"):
        async for key in redis.scan_iter(match="rf:*", count=1000):
            told = key.decode(errors="replace")
            if not told.startswith(IN_EMPTY):
                return str(told)
    return ""


async def _clear(redis: Redis) -> None:
    """Remove what a restore wrote and did not put into place."""
    with renamed("removing what a restore left"):
        held = [k async for k in redis.scan_iter(match=f"{PREFIX.decode()}*", count=1000)]
        for some in _batched(held, 1000):
            await redis.unlink(*some)


def _stage(pipe: Pipeline, record: KeyPiece | GoneKey | BackupSummary) -> None:
    if isinstance(record, BackupSummary):
        return
    key: Any = PREFIX + record.key
    if isinstance(record, GoneKey):
        pipe.unlink(key)
        return
    if record.first:
        pipe.unlink(key)
    items: list[Any] = list(record.items)
    match record.kind:
        case "string":
            pipe.append(key, items[0])
        case "hash":
            pipe.execute_command("HSET", key, *items)
        case "zset":
            scored = [word for at in range(0, len(items), 2) for word in (items[at + 1], items[at])]
            pipe.execute_command("ZADD", key, *scored)
        case "set":
            pipe.execute_command("SADD", key, *items)
        case "list":
            pipe.execute_command("RPUSH", key, *items)
        case "stream":
            for identity, *words in items:
                pipe.execute_command("XADD", key, identity, *words)
        case kind:
            text = f"the backup has a key of type {kind!r}, which this Ringfence does not know"
            raise BackupUnreadable(f"{text}: restore it with the Ringfence that made it")
    pipe.expire(key, STAGED_TTL_S)


def _batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    each = iter(values)
    while some := list(islice(each, size)):
        yield some


def _records(
    file: BinaryIO, name: str, key: OpeningKey
) -> Iterator[KeyPiece | GoneKey | BackupSummary]:
    file.seek(0)
    for data, last in SealedReader(file, name).records(key):
        yield summary_of(data) if last else piece_of(data)
