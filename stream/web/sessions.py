"""Sessions of signed-in people, kept on the server by a random number in the browser's cookie.

They are in Redis, so any worker knows them and a restart forgets none. Their key is the SHA-256 of
the cookie: a reader of the list store cannot act as a user. A process also remembers the sessions
that it has seen, for while Redis is away: people need the page then. A session ends after a time
without use, after a time in all, by signing out, and with its token.
"""

import hashlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from redis.asyncio import Redis

from stream.core.model.errors import UNREADABLE, ListStoreDown
from stream.edge.http.tokens import Client, digest_of
from stream.lists.store import redis_keys
from stream.lists.store.redis_client import renamed
from stream.ops.skipped_records import Skipped, StoredKind, skip

log = logging.getLogger(__name__)

NEAR_MAX: Final = 10_000
"""Sessions that a process remembers itself; the longest unused is forgotten first."""
TOUCH_S: Final = 60
"""A session's last use is written down at most so often."""
_COOKIE_CHARS_MAX: Final = 64


class Session(msgspec.Struct, frozen=True):
    """One person's session. Times in seconds since the epoch; `token` is the token's SHA-256.

    `csrf` is in every form, so no other site can send one. `notice` is shown once.
    """

    token: str
    csrf: str
    began_at_s: int
    seen_at_s: int
    notice: str = ""


@dataclass(slots=True)
class Sessions:
    """All sessions. `idle_s` without use, or `whole_s` in all, end one.

    `still` gives the client of a token's SHA-256 as long as there is one.
    """

    redis: Redis
    still: Callable[[bytes], Client | None]
    now_s: Callable[[], int]
    idle_s: int
    whole_s: int
    _near: "OrderedDict[str, Session]" = field(init=False, default_factory=OrderedDict)
    _unsaved: set[str] = field(init=False, default_factory=set)

    async def begin(self, token: str) -> str:
        """Open a session for the owner of `token`; return the value of its cookie."""
        cookie, now_s = secrets.token_urlsafe(32), self.now_s()
        session = Session(digest_of(token.strip()).hex(), secrets.token_urlsafe(24), now_s, now_s)
        await self._write(_key(cookie), session)
        return cookie

    async def find(self, cookie: str, *, use: bool = True) -> tuple[Session, Client] | None:
        """Return the session of a cookie and its client, if it has not ended.

        `use`: a person acts. Requests that a page makes by itself keep no session alive.
        """
        if not cookie or len(cookie) > _COOKIE_CHARS_MAX:
            return None
        key, now_s = _key(cookie), self.now_s()
        session = await self._read(key)
        if session is None:
            return None
        client = self.still(bytes.fromhex(session.token))
        idle = now_s - session.seen_at_s > self.idle_s
        if client is None or idle or now_s - session.began_at_s > self.whole_s:
            await self.end(cookie)
            return None
        if not use:
            return session, client
        told = msgspec.structs.replace(session, seen_at_s=now_s, notice="")
        if session.notice or key in self._unsaved or now_s - session.seen_at_s >= TOUCH_S:
            await self._write(key, told, again=True)
        return session, client

    async def tell(self, cookie: str, session: Session, notice: str) -> None:
        """Let the next page show `notice`, once. It is a use: `session` is as it was before."""
        told = msgspec.structs.replace(session, notice=notice, seen_at_s=self.now_s())
        await self._write(_key(cookie), told, again=True)

    async def end(self, cookie: str) -> None:
        """Forget a session."""
        key = _key(cookie)
        self._near.pop(key, None)
        self._unsaved.discard(key)
        try:
            with renamed("ending a session"):
                await self.redis.delete(redis_keys.session(key))
        except ListStoreDown as down:
            log.warning("a session ended here only, and in Redis by its time: %s", down)

    async def _read(self, key: str) -> Session | None:
        near = self._near.get(key)
        try:
            with renamed("reading a session"):
                data = await self.redis.get(redis_keys.session(key))
        except ListStoreDown:
            return near
        if data is None:
            if key in self._unsaved:
                return near
            self._near.pop(key, None)
            return None
        try:
            session = msgspec.json.decode(data, type=Session)
            bytes.fromhex(session.token)
        except UNREADABLE:
            # The person signs in again; the record ends by its time.
            self._near.pop(key, None)
            skip(Skipped(StoredKind.SESSION, redis_keys.session(key[:8]), "it is no session"))
            return None
        self._keep(key, session)
        return session

    async def _write(self, key: str, session: Session, *, again: bool = False) -> None:
        """Write it; `again`: only where it still is, so one that ended meanwhile stays ended."""
        self._keep(key, session)
        only_there = again and key not in self._unsaved
        left_s = min(self.idle_s, session.began_at_s + self.whole_s - self.now_s())
        try:
            with renamed("writing a session"):
                await self.redis.set(
                    redis_keys.session(key),
                    msgspec.json.encode(session),
                    ex=max(left_s, 1),
                    xx=only_there,
                )
        except ListStoreDown:
            self._unsaved.add(key)
        else:
            self._unsaved.discard(key)

    def _keep(self, key: str, session: Session) -> None:
        self._near[key] = session
        self._near.move_to_end(key)
        if len(self._near) > NEAR_MAX:
            oldest, _ = self._near.popitem(last=False)
            self._unsaved.discard(oldest)


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
