"""Decisions by id: a bounded copy in Redis, made from the topic.

A decision's id is in the SIP answer to a blocked call, and a blocked caller asks by it. Kafka
cannot find a record by it. So blocks, flags and those of trials are copied into Redis, a hash a day
(`rf:decided:<day>`). They stay for some days and up to a number; beyond it, the oldest day goes
first. A day with more than half of that number goes on in a new hash, and `:before` has its older
ones: so the newest ones, which people ask about, stay. The copy may be lost: the topic is the
record, and the group's position stays behind the copy.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import WatchError

from stream.core.model.decision import Decision, Reason, Role, Verdict, read_decision
from stream.core.model.entry import NEVER
from stream.core.model.errors import UNREADABLE, ListStoreDown
from stream.core.model.moments import rfc3339_ms
from stream.core.numbers.number import masked
from stream.edge.sinks.number_policy import Blocked, NumberPolicy
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_redis import number_ids
from stream.kafka.batch import RawBatch
from stream.lists.store import redis_keys
from stream.lists.store.redis_client import renamed
from stream.ops.clock import now_ms, now_s
from stream.ops.retry import Backoff
from stream.ops.skipped_records import Skipped, StoredKind, skip

log = logging.getLogger(__name__)

DAY_S: Final = 86_400
ASKED_MAX: Final = 10_000
"""Decisions of lookups that wait or are being written; beyond, the newest are dropped."""
_WRITE_S: Final = 0.5
"""Interval of the writes of lookups' decisions: one round trip for all of them."""
_LAST_S: Final = 1.0
"""Longest last write, when the process ends: less than `serve` has after the last request."""
_ID_MAX: Final = 32  # ids have 13 characters; a much longer text is not looked up


class DecisionStoreMetrics(Protocol):
    """Metrics of the store, in the catalogue of its process."""

    kept: Counter
    kept_now: Gauge


_LEFT_OUT: Final = frozenset({"call_id", "sip", "origin", "repeats"})
"""Fields that the answer by id does not show: a third of a decision's bytes."""
_ABSENT: Final = {"call_id": "", "sip": None, "called_at": None, "expires_at": None, "origin": ""}
"""Their values when it is read. Earlier versions also left out times that were null."""


def packed(decision: Decision) -> bytes:
    """Return the stored form of a decision; numbers of the other party are masked."""
    held = msgspec.to_builtins(decision)
    held |= {name: held[name] and masked(held[name]) for name in ("caller", "callee")}
    kept = {name: value for name, value in held.items() if name not in _LEFT_OUT}
    return msgspec.msgpack.encode(kept)


def unpacked(data: bytes) -> Decision:
    """Return the decision in a stored form. Raises one of `UNREADABLE`."""
    held = msgspec.msgpack.decode(data, type=dict[str, Any])
    return msgspec.convert({**_ABSENT, **held}, Decision)


def decisions_to_store(values: Iterable[bytes | None]) -> list[Decision]:
    """Return the decisions among `values` that acted on a call, or would have."""
    # Most of a topic with emit = "all" are plain allows, skipped without decoding.
    held = [read_decision(value) for value in values if value and _ALLOWS not in value]
    return [one for one in held if one and (one.verdict != Verdict.ALLOW or one.simulated)]


_ALLOWS: Final = b'"verdict":"allow","simulated":false'
"""In every plain allow as workers write it. Inside a text value the quotation marks are escaped, so
no other decision contains it."""


@dataclass(slots=True)
class DecisionStore:
    """The copy in Redis: of `days`, at most `count_max` decisions of about 300 bytes each.

    Methods raise ListStoreDown.
    """

    redis: Redis
    metrics: DecisionStoreMetrics
    days: int
    count_max: int
    _asked: list[bytes] = field(init=False, default_factory=list)

    async def deliver(self, raw: RawBatch) -> None:
        """Store a batch of the decisions topic; wait for a Redis that is away."""
        backoff = Backoff(0.2, 5.0)
        held = decisions_to_store(raw.values)
        while True:
            try:
                await self.keep(held)
            except ListStoreDown as fault:
                log.warning("decisions by id cannot be written, still trying: %s", fault)
                await backoff.pause()
            else:
                return

    async def keep(self, decisions: Sequence[Decision]) -> None:
        """Write decisions; one that is there is overwritten with the same."""
        if not decisions:
            return
        by_day: dict[str, dict[str, bytes]] = {}
        for decision in decisions:
            by_day.setdefault(decision.decided_at[:10], {})[decision.decision_id] = packed(decision)
        days = self._days()
        with renamed("keeping decisions"):
            async with self.redis.pipeline(transaction=False) as pipe:
                for day, held in by_day.items():
                    if day in days:
                        pipe.hset(redis_keys.decided(day), mapping=held)  # type: ignore[arg-type]
                        pipe.expire(redis_keys.decided(day), (self.days + 1) * DAY_S)
                keys = self._keys()
                for key in keys:
                    pipe.hlen(key)
                counts = dict(zip(keys, (await pipe.execute())[-len(keys) :], strict=True))
            for day in by_day:
                if counts.get(redis_keys.decided(day), 0) > self.count_max // 2:
                    await self._begin_anew(day, counts)
            await self._bound(counts)
        self.metrics.kept.inc(len(decisions))

    async def _begin_anew(self, day: str, counts: dict[str, int]) -> None:
        """Let the decisions of a day be its older ones; those that were are deleted."""
        key, before = redis_keys.decided(day), redis_keys.decided_before(day)
        async with self.redis.pipeline() as pipe:
            await pipe.watch(key)
            # Asked again: another process may have done it just now.
            count = await pipe.hlen(key)
            if count <= self.count_max // 2:
                return
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.unlink(before)
            pipe.rename(key, before)
            try:
                await pipe.execute()
            except WatchError:  # another process has written: with the next write
                return
        _report(counts[before], before)
        counts[key], counts[before] = 0, count

    async def _bound(self, counts: dict[str, int]) -> None:
        """Delete the oldest hashes while there are too many decisions."""
        total = sum(counts.values())
        for key in reversed(counts):
            if total <= self.count_max:
                break
            if counts[key]:
                await self.redis.unlink(key)
            _report(counts[key], key)
            total -= counts[key]
        self.metrics.kept_now.set(total)

    async def find(self, decision_id: str) -> Decision | None:
        """Return the decision with that id; None: unknown, or not kept any more."""
        if len(decision_id) > _ID_MAX or not decision_id.isascii():
            return None
        with renamed("looking for a decision"):
            async with self.redis.pipeline(transaction=False) as pipe:
                for key in self._keys():
                    pipe.hget(key, decision_id)
                found = next((value for value in await pipe.execute() if value), None)
        if found is None:
            return None
        try:
            return unpacked(found)
        except UNREADABLE:
            where = f"{redis_keys.decided('DAY')} {decision_id}"
            skip(Skipped(StoredKind.DECISION, where, "it is no decision"))
            return None

    def asked(self, answers: Iterable[bytes]) -> None:
        """Queue decisions of lookups: written soon, if the list store answers; never waits."""
        room = ASKED_MAX - len(self._asked)
        for answer in answers:
            if _ALLOWS not in answer and room > 0:
                self._asked.append(answer)
                room -= 1

    async def run(self) -> None:
        """Write the decisions of lookups, until cancelled; `close` writes the last ones."""
        while True:
            await asyncio.sleep(_WRITE_S)
            await self._write_asked()

    async def close(self) -> None:
        """Write the decisions of lookups that wait, within `_LAST_S`, and close the connection."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self._write_asked()
        except TimeoutError:
            log.warning(
                "%d decisions of lookups were not stored by id: the list store took longer than "
                "%g s at the end",
                len(self._asked),
                _LAST_S,
            )
        finally:
            await self.redis.aclose()

    async def _write_asked(self) -> None:
        asked = self._asked.copy()
        try:
            await self.keep(decisions_to_store(asked))
        except ListStoreDown as fault:
            log.warning("%d decisions of lookups were not stored by id: %s", len(asked), fault)
        # Not before: they are on no topic, and a write that is cancelled comes again.
        del self._asked[: len(asked)]

    def _days(self) -> list[str]:
        """Return the stored days, newest first; tomorrow too: a worker's clock may be ahead."""
        today = now_s() // DAY_S
        return [
            datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
            for day in range(today + 1, today - self.days, -1)
        ]

    def _keys(self) -> list[str]:
        """Return the hashes, newest first."""
        named = ((redis_keys.decided(day), redis_keys.decided_before(day)) for day in self._days())
        return [*chain.from_iterable(named)]


def _report(count: int, key: str) -> None:
    if count:
        log.warning("deleted %d decisions by id in %s: decisions_max is reached", count, key)


@dataclass(slots=True)
class PreloadedDecisions:
    """Decisions for the ids of preloaded keys, which no call led to.

    `policy` gives the lists of the moment. Raises ListStoreDown.
    """

    redis: Redis
    policy: Callable[[], NumberPolicy]
    _names: NumberIds | None = field(init=False, default=None)

    async def find(self, decision_id: str) -> Decision | None:
        """Return the decision now about the number of this id; None: no number, or it may call."""
        if self._names is None:
            with renamed("reading the key of ids"):
                self._names = await number_ids(self.redis)
        text = self._names.text(decision_id)
        if text is None:
            return None
        policy, at_s = self.policy(), now_s()
        is_prefix = text.endswith("*")
        why = (
            policy.prefixes(at_s).get(text[:-1])
            if is_prefix
            else policy.numbers(np.array([text], "S16"), at_s).get(0)
        )
        return None if why is None else _decision(policy, decision_id, text, why)


def _decision(policy: NumberPolicy, decision_id: str, text: str, why: Blocked) -> Decision:
    confirmed = why.reason != "unconfirmed"
    ends = None if why.expires_at_s == NEVER else rfc3339_ms(why.expires_at_s * 1000)
    is_prefix = text.endswith("*")
    generations = {live.name: live.generation for live in policy.blocklists.lists}
    reason = Reason(
        list=why.list,
        category=why.reason if confirmed else None,
        confirmed=confirmed,
        confidence=None,
        generation=generations.get(why.list, 0),
        expires_at=ends,
        prefix=text if is_prefix else msgspec.UNSET,
    )
    return Decision(
        decision_id=decision_id,
        verdict=Verdict.BLOCK,
        simulated=False,
        rule=f"list:{why.list}",
        number=None if is_prefix else text,
        role=Role.CALLER,
        call_id="",
        caller=None,
        callee=None,
        reasons=[reason],
        sip=None,
        called_at=None,
        decided_at=rfc3339_ms(now_ms()),
        expires_at=ends,
        origin="",
    )
