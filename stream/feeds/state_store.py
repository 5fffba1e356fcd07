"""The state of feeds, in Redis beside their lists; each step has its audit entry.

One script writes a feed's fields and their audit entry, in a transaction with the counts: a crash
leaves all or nothing. Nothing here touches a list.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from stream.core.model.errors import UNREADABLE, ListStoreLost, ListUnknown
from stream.core.policy.list_scope import Scope
from stream.feeds.feed import Feed, FeedState, VersionRecord
from stream.feeds.gate import GateReason, GateVerdict
from stream.lists.store import list_lua, redis_keys
from stream.lists.store.audit_entries import FEED_FORGOTTEN
from stream.lists.store.enforcement_counts import FRESH_MAX, Effect, note_effect, note_verdict
from stream.lists.store.heads import By, unknown
from stream.lists.store.list_store import AUDIT_MAX, CHANGES_MAX
from stream.lists.store.redis_client import Closing, client, renamed
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import scope_json, scope_of
from stream.ops.clock import now_ms
from stream.ops.skipped_records import Skipped, StoredKind, skip

T = TypeVar("T")


class FeedStateStore(Closing):
    """Use `async with FeedStateStore.open(settings) as states`. Methods may raise ListStoreDown."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._write = redis.register_script(list_lua.FEED)
        self._scope = redis.register_script(list_lua.SCOPE)

    @classmethod
    def open(cls, settings: ListStoreSettings) -> Self:
        """Return the store at the Redis of the list store."""
        return cls(client(settings))

    async def names(self) -> list[str]:
        """Return all feeds of which something is remembered, also those whose file is gone."""
        prefix, _, suffix = redis_keys.feed("*").partition("*")
        with renamed("reading which feeds are known"):
            found = [
                key.decode().removeprefix(prefix).removesuffix(suffix)
                async for key in self._redis.scan_iter(match=f"{prefix}*{suffix}", count=1000)
            ]
        return sorted(found)

    async def forget(self, feed: str, list_name: str, by: By, detail: str) -> None:
        """Delete the state of a feed. The audit keeps who did it, and why."""
        fields = ("accepted", "held", "refused", "remembered", "confirmed_at_s", "tried_at_s")
        gone = [word for name in (*fields, "fault", "detail", "failures") for word in (name, "")]
        args: list[Any] = [list_name, by.actor, by.reason, FEED_FORGOTTEN, 0, detail, AUDIT_MAX]
        with renamed(f"forgetting feed {feed}"):
            await self._write(keys=[redis_keys.feed(feed)], args=[*args, *gone])

    async def state(self, feed: str) -> FeedState:
        """Return all that is remembered of a feed. Raises ListStoreLost if it cannot be read."""
        (held,) = await self._held([feed])
        return self._state_of(feed, held)

    async def states(self, feeds: Sequence[str]) -> dict[str, FeedState]:
        """Return the states of several feeds with one request to Redis.

        A state that cannot be read has a fault that says so, and does not cost the others.
        """
        found = await self._held(feeds)
        return {feed: self._seen(feed, held) for feed, held in zip(feeds, found, strict=True)}

    async def _held(self, feeds: Sequence[str]) -> list[Mapping[bytes, bytes]]:
        with renamed("reading what is known of feeds"):
            # No transaction: feeds are independent, and Redis need not hold others up.
            async with self._redis.pipeline(transaction=False) as pipe:
                for feed in feeds:
                    pipe.hgetall(redis_keys.feed(feed))
                found: list[Mapping[bytes, bytes]] = await pipe.execute()
        return found

    def _seen(self, feed: str, held: Mapping[bytes, bytes]) -> FeedState:
        try:
            return self._state_of(feed, held)
        except ListStoreLost as error:
            skip(Skipped(StoredKind.FEED, redis_keys.feed(feed), "it is no state of a feed"))
            return FeedState(fault="register", detail=str(error), failures=1)

    @staticmethod
    def _state_of(feed: str, held: Mapping[bytes, bytes]) -> FeedState:
        fields = {name.decode(errors="replace"): value for name, value in held.items()}
        try:
            return FeedState(
                accepted=_decoded(fields.get("accepted"), VersionRecord),
                held=_decoded(fields.get("held"), VersionRecord),
                refused=_decoded(fields.get("refused"), VersionRecord),
                remembered=_decoded(fields.get("remembered"), dict[str, str]) or {},
                confirmed_at_s=int(fields.get("confirmed_at_s", 0)),
                tried_at_s=int(fields.get("tried_at_s", 0)),
                fault=fields.get("fault", b"").decode(),
                detail=fields.get("detail", b"").decode(),
                failures=int(fields.get("failures", 0)),
            )
        except UNREADABLE as error:
            key = redis_keys.feed(feed)
            text = f"what is known of feed {feed} cannot be read ({error}): DEL {key}"
            raise ListStoreLost(f"{text}, and it begins again") from error

    async def bound(self, list_name: str, scope: Scope, by: By) -> bool:
        """Write at the list which numbers its feed may list; return True if that is new.

        The worker reads it there when it matches calls. Raises ListUnknown.
        """
        with renamed(f"writing down what {list_name} may name"):
            answer: Any = await self._scope(
                keys=[redis_keys.head(list_name)],
                args=[list_name, scope_json(scope), *(by.actor, by.reason), CHANGES_MAX, AUDIT_MAX],
            )
        if answer[0] == list_lua.UNKNOWN:
            raise ListUnknown(unknown(list_name))
        return bool(answer[0] == 1)

    async def bound_again(self, list_name: str, scope: Scope, by: By) -> None:
        """Write the scope where the list has none or an old one of the same feed.

        The feed's file may have changed, or Redis may have lost it. A list that is not there, or
        that another feed fills, stays as it is.
        """
        with renamed(f"reading what {list_name} may name"):
            fields: Any = await self._redis.hmget(
                redis_keys.head(list_name), ["generation", "scope"]
            )
        generation, said = fields
        held = None if said is None else scope_of(said)
        mine = held is None or (held.feed == scope.feed and held != scope)
        if generation is not None and mine:
            await self.bound(list_name, scope, by)

    async def tried(self, feed: str, at_s: int, fault: str, detail: str, failures: int) -> None:
        """Record the end of a try to fetch; `fault` "": it worked."""
        fields = {"tried_at_s": str(at_s), "fault": fault, "detail": detail}
        await self._put(feed, {**fields, "failures": str(failures or "")})

    async def confirmed(self, feed: str, at_s: int, remember: Mapping[str, str]) -> None:
        """Record that the source has nothing new."""
        fields = {"confirmed_at_s": str(at_s), "remembered": _encoded(dict(remember))}
        await self._put(feed, fields)

    async def accepted(
        self, feed: Feed, record: VersionRecord, by: By, fresh: NDArray[np.uint64] | None = None
    ) -> None:
        """Record that a version was stored. It replaces the last accepted and the held one.

        The live version, read again, is no newer one: what is held waits on.
        `fresh` are the fingerprints that it brought; their way from the owner is measured.
        """
        effect = None
        if fresh is not None:
            effect = Effect(now_ms(), record.published_ms, tuple(fresh[:FRESH_MAX].tolist()))
        fields = {
            "accepted": _encoded(record),
            "remembered": _encoded(record.remember),
            "confirmed_at_s": str(record.at_s),
        }
        if not (await self.state(feed.name)).still_waits_after(record):
            fields["held"] = ""
        await self._put(feed.name, fields, (feed.list_name, by, record), effect)

    async def held(self, feed: Feed, record: VersionRecord, by: By) -> None:
        """Record that a version waits for a person. It replaces one that waited before."""
        fields = {"held": _encoded(record)}
        await self._put(feed.name, fields, (feed.list_name, by, record))

    async def refused(self, feed: Feed, record: VersionRecord, by: By) -> None:
        """Record that a version does not go live. If it was held, it waits no more.

        The live version, if a person refuses it, is kept in its place: it is not read again.
        """
        fields, state = {"refused": _encoded(record)}, await self.state(feed.name)
        if state.held is not None and state.held.sha256 == record.sha256:
            fields["held"] = ""
        elif record.by and state.accepted is not None and state.accepted.sha256 == record.sha256:
            fields["accepted"] = fields["refused"]
        await self._put(feed.name, fields, (feed.list_name, by, record))

    async def refused_unseen(self, feed: str, list_name: str, reason: GateReason, why: str) -> None:
        """Record that a version was refused before it could be kept, once for a series of tries."""
        detail = _encoded({"feed": feed, "findings": (f"{reason}: {why}",)})
        args: list[Any] = [list_name, f"feed:{feed}", why[:200], "feed_refused", 0, detail]
        args.append(AUDIT_MAX)
        with renamed(f"writing down what is known of feed {feed}"):
            async with self._redis.pipeline(transaction=True) as pipe:
                await self._write(keys=[redis_keys.feed(feed)], args=args, client=pipe)
                note_verdict(pipe, list_name, feed, GateVerdict.REFUSED, now_ms())
                await pipe.execute()

    async def _put(
        self,
        feed: str,
        fields: Mapping[str, str],
        told: tuple[str, By, VersionRecord] | None = None,
        effect: Effect | None = None,
    ) -> None:
        pairs = [word for pair in fields.items() for word in pair]
        head: list[Any] = ["", "", "", "", 0, ""]
        if told is not None:
            list_name, by, record = told
            head = [list_name, by.actor, by.reason, f"feed_{record.verdict}", record.generation]
            head.append(_detail(feed, record))
        args: list[Any] = [*head, AUDIT_MAX, *pairs]
        with renamed(f"writing down what is known of feed {feed}"):
            if told is None:
                await self._write(keys=[redis_keys.feed(feed)], args=args)
                return
            async with self._redis.pipeline(transaction=True) as pipe:
                await self._write(keys=[redis_keys.feed(feed)], args=args, client=pipe)
                note_verdict(pipe, told[0], feed, told[2].verdict, now_ms())
                if effect is not None:
                    note_effect(pipe, told[0], effect)
                await pipe.execute()


def _detail(feed: str, record: VersionRecord) -> str:
    """Encode the audit's detail of a version: counts and reasons, no number."""
    return _encoded(
        {
            "feed": feed,
            "version": record.id,
            "sha256": record.sha256,
            "findings": record.findings,
            "rows": record.good,
            "bad": record.bad,
            "gained": record.gained,
            "lost": record.lost,
            "updated": record.updated,
        }
    )


def _decoded(value: bytes | None, kind: type[T]) -> T | None:
    return None if value is None else msgspec.json.decode(value, type=kind)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
