"""`Idempotency-Key`: one request that is sent again gets the first answer, and changes nothing.

A client that hears nothing sends its request again. The first one claims the key in Redis for as
long as it may run, and leaves its answer there for a day. At most `count_max` answers are kept; of
more the oldest go. Without Redis no list could change either, so nothing is lost by asking it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from stream.core.model.errors import UNREADABLE
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.lists.store import redis_keys
from stream.lists.store.redis_client import renamed
from stream.ops.clock import now_s
from stream.ops.skipped_records import Skipped, StoredKind, skip

KEPT_S: Final = 86_400
"""Seconds that an answer is kept: a client that waits longer has a person look."""
CLAIMED_S: Final = 900
"""Seconds that a request may run. After a crash its key is free again so late."""
KEY_CHARS_MAX: Final = 128
_RETRY_S: Final = 5


class KeptAnswer(msgspec.Struct, frozen=True):
    """The answer to a request, and the hash of what was asked. `status` 0: it runs still."""

    asked: str
    status: int = 0
    body: bytes = b""


@dataclass(slots=True)
class AnswersOnce:
    """Answers by the keys of clients. Methods raise ListStoreDown."""

    redis: Redis
    count_max: int

    async def answer(
        self, client: str, key: str, asked: bytes, work: Callable[[], Awaitable[KeptAnswer]]
    ) -> tuple[KeptAnswer, bool]:
        """Return the answer of `work`, or the one that is kept; the second says which.

        `asked` is the request as a hash. Only an answer of `work` is kept: after an error the same
        request may come again. Raises ProblemError for a key that belongs to another request, or
        to one that runs.
        """
        digest = hashlib.sha256(f"{client}\0{key}".encode()).hexdigest()
        wanted = KeptAnswer(asked.hex())
        while not await self._claim(digest, wanted):
            held = await self._held(digest)
            if held is None:
                continue  # it ended or went meanwhile
            if held.asked != wanted.asked:
                text = "this Idempotency-Key came with another request: take a new one"
                raise ProblemError(ProblemKind.KEY_REUSED, text)
            if not held.status:
                text = "a request with this Idempotency-Key is being worked on; ask again"
                raise ProblemError(ProblemKind.CONFLICT, text, retry_after_s=_RETRY_S)
            return held, True
        try:
            made = await work()
        except BaseException:
            with renamed("giving a key back"):
                await self.redis.delete(redis_keys.once(digest))
            raise
        kept = msgspec.structs.replace(made, asked=wanted.asked)
        await self._keep(digest, kept)
        return kept, False

    async def _claim(self, digest: str, wanted: KeptAnswer) -> bool:
        with renamed("claiming a key"):
            value = msgspec.msgpack.encode(wanted)
            return bool(await self.redis.set(redis_keys.once(digest), value, nx=True, ex=CLAIMED_S))

    async def _held(self, digest: str) -> KeptAnswer | None:
        key = redis_keys.once(digest)
        with renamed("reading what was answered"):
            found: Any = await self.redis.get(key)
        try:
            return None if found is None else msgspec.msgpack.decode(found, type=KeptAnswer)
        except UNREADABLE:
            skip(Skipped(StoredKind.ANSWER, key, "it is no answer that is kept"))
            await self.redis.delete(key)
            return None

    async def _keep(self, digest: str, kept: KeptAnswer) -> None:
        at_s = now_s()
        with renamed("keeping an answer"):
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.set(redis_keys.once(digest), msgspec.msgpack.encode(kept), ex=KEPT_S)
                pipe.zadd(redis_keys.ONCE, {digest: at_s})
                pipe.zremrangebyscore(redis_keys.ONCE, 0, at_s - KEPT_S)
                pipe.zcard(redis_keys.ONCE)
                *_, count = await pipe.execute()
            if count > self.count_max:
                oldest: Any = await self.redis.zpopmin(redis_keys.ONCE, count - self.count_max)
                await self.redis.delete(*(redis_keys.once(name.decode()) for name, _ in oldest))


def key_in(given: str) -> str:
    """Return the key of an `Idempotency-Key` field, with or without quotation marks; "": none.

    Raises ProblemError.
    """
    quoted = len(given) > 1 and given[0] == given[-1] == '"'
    key = given[1:-1] if quoted else given
    if len(key) > KEY_CHARS_MAX or not key.isascii() or not (key.isprintable() or not key):
        text = f"Idempotency-Key takes up to {KEY_CHARS_MAX} visible ASCII characters"
        raise ProblemError(ProblemKind.MALFORMED, text)
    return key
