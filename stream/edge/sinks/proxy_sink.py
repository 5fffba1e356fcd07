"""Keep the keys of SIP proxies equal to what the engine would decide.

A decision gives a number its key, if the lists here still hold it. A change of lists, allowlist or
agreements deletes keys or adds them. A sweep checks everything once in a while, for what time alone
changes. Decisions of a worker with newer lists than ours are believed.

One lock is held from each read of the lists until its writes: the last write is by the last lists.
A Redis that was away is read again. One that lost keys is filled from the decisions topic and from
the lists.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import uuid4

import numpy as np

from stream.core.model.entry import NEVER
from stream.core.numbers.codes import texts_of
from stream.edge.sinks.consumer_loop import DecisionReplay
from stream.edge.sinks.decision_records import NumberBlock, RecordOutcome, read_blocks
from stream.edge.sinks.number_policy import NumberPolicy, PrefixKeys, list_changes, speaking
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_keys import BLOCK, Held, Put
from stream.edge.sinks.proxy_redis import ProxiesDown, ProxyRedis
from stream.edge.sinks.settings import RedisSinkSection
from stream.edge.sinks.wanted_keys import (
    KeyIndex,
    KeyKind,
    KeyRules,
    Writes,
    of_numbers,
    of_prefixes,
)
from stream.kafka.batch import RawBatch
from stream.ops.clock import monotonic_s, now_s
from stream.ops.metrics.sink_catalogue import RedisSinkMetrics
from stream.ops.retry import Backoff
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

LOOK_S = 0.02
"""Interval of the check whether the lists changed: it compares two references."""
BEAT_S = 1.0
BELIEVED_MAX = 100_000
"""Blocks by newer lists that are remembered; our lists are mostly a second behind at most."""
PART = 1000
"""Decisions checked in one go, about 10 ms in which nothing else of the process runs."""
CHUNK = 4096
"""Numbers checked in one go, about 10 ms; changes of lists come in between."""
_FIRST_WAIT_S, _MOST_WAIT_S = 0.2, 5.0


class RedisSink:
    """The keys in one Redis. `keep` runs as a task, beside the caller of `deliver`."""

    def __init__(
        self,
        settings: RedisSinkSection,
        ttl_s: int,
        proxies: ProxyRedis,
        policy: Callable[[], NumberPolicy],
        metrics: RedisSinkMetrics,
        names: NumberIds,
        deleted: Callable[[], Mapping[str, int]],
    ) -> None:
        """A key lives for `ttl_s` at most. `policy` gives the lists of the moment.

        It gives the same object until something changes. `deleted` gives the last generation of
        each deleted list.
        """
        self._settings = settings
        self._rules = KeyRules(ttl_s, settings.preload, names)
        self._proxies = proxies
        self._policy = policy
        self._deleted = deleted
        self._metrics = metrics
        self._index = KeyIndex(settings.keys_max)
        self._written: dict[str, Held] = {}
        """The keys of prefixes in Redis."""
        self._around: PrefixKeys = {}
        """The keys of prefixes that should be there."""
        self._believed: dict[str, NumberBlock] = {}
        """Blocks by newer lists than ours, until ours catch up."""
        # Held from a read of the lists until its write. Without it a write by old lists could
        # come after one by new lists, and block a number that was removed.
        self._lock = asyncio.Lock()
        self._up = asyncio.Event()
        self._seen: NumberPolicy | None = None
        self._sweep_due_s = 0.0
        self._swept = False
        self._run = self._build = self._data = ""
        self._marked: frozenset[int] = frozenset()
        """Of `bl:read`, what Redis had at the last look."""
        self._writes = self._beaten_s = 0
        self.replay = DecisionReplay(ttl_s)
        metrics.keys_max.set(settings.keys_max)
        metrics.built.set(0)
        metrics.redis_up.set(0)

    @property
    def up(self) -> bool:
        """Return whether the proxies' Redis answers."""
        return self._up.is_set()

    @property
    def whole(self) -> bool:
        """Return whether all keys that should be there are."""
        return self._up.is_set() and bool(self._build)

    async def deliver(self, raw: RawBatch) -> None:
        """Write the keys of decisions; return once Redis has them, however long that takes."""
        while True:
            await self._up.wait()
            try:
                async with self._lock:
                    await self._deliver(raw)
            except ProxiesDown as error:
                self._down(error)
            else:
                return

    async def keep(self) -> None:
        """Follow the lists and tend the keys until cancelled, through every outage of Redis."""
        backoff = Backoff(_FIRST_WAIT_S, _MOST_WAIT_S)
        while True:
            try:
                await self._connect()
                backoff.reset()
                while True:
                    await self._tend()
                    await asyncio.sleep(LOOK_S)
            except ProxiesDown as error:
                self._down(error)
            await backoff.pause()

    # Redis

    def _down(self, error: ProxiesDown) -> None:
        if self._up.is_set():
            log.warning("%s; decisions wait in Kafka", error)
        self._up.clear()
        self._metrics.redis_up.set(0)

    async def _connect(self) -> None:
        """Learn which keys there are, and whether they are all that should be."""
        standing = await self._proxies.standing()
        self._run, self._build = standing.run, standing.meta.get("build", "")
        read = standing.partitions
        if self._data not in ("", standing.data):
            # What we delivered meanwhile may have gone to a primary that was already demoted.
            await self._proxies.forget_read(self.replay.ours)
            read -= self.replay.ours
        self._data, self._marked = standing.data, read
        self.replay.begin(read, all_held=standing.whole and standing.older)
        if not standing.whole:
            await self._proxies.begin()
            self._build, self._swept = "", False
            self._metrics.rebuilds.inc()
            log.info("the keys are incomplete: rebuilding them from decisions and lists")
        if standing.may_evict:
            log.warning(
                "the proxies' Redis runs with maxmemory-policy %s: under memory pressure it "
                "deletes block keys; set noeviction, and keys_max to what fits",
                standing.may_evict,
            )
        self._index.clear()
        self._written.clear()
        async for held in self._proxies.load():
            if held.text.endswith("*"):
                self._written[held.text[:-1]] = held
            elif held.text[1:].isdigit():
                decided = KeyKind.DECIDED if held.decided_at_ms else KeyKind.PRELOADED
                kind = decided if held.action == BLOCK else KeyKind.SPARED
                self._index.put(held.text, kind, held.expires_at_s)
        self._seen = None
        self._metrics.redis_up.set(1)
        self._up.set()
        log.info("the proxies' Redis answers; %d keys are there", len(self._index))

    async def _tend(self) -> None:
        if not self._up.is_set():
            raise ProxiesDown("it was away while decisions were written")
        await self._catch_up()
        if monotonic_s() >= self._sweep_due_s:
            await self._sweep()
        await self._beat()

    async def _beat(self) -> None:
        """Write for proxies that the keys are right as of now, if they are."""
        at_s = now_s()
        # A clock that was set back is no reason to be silent until it has caught up.
        if 0 <= at_s - self._beaten_s < BEAT_S:
            return
        self._beaten_s = at_s
        await self._tell_read()
        if not self._build:
            if not (self._swept and self.replay.done):
                return
            self._build = uuid4().hex[:16]
            await self._proxies.complete(self._build, self._run, self._data)
            log.info("the keys are complete: %d", len(self._index))
        digits = " ".join(map(str, sorted({len(text) - 1 for text in self._written})))
        count, writes = len(self._index) + len(self._written), self._writes
        if not await self._proxies.beat(self._build, self._run, at_s, count, digits, writes):
            raise ProxiesDown("Redis has restarted, or bl:meta is gone")
        self._writes -= writes
        self._metrics.redis.told(self._proxies.info)
        self._metrics.built.set(at_s)
        for kind in KeyKind:
            self._metrics.keys.labels(kind.name.lower()).set(self._index.count(kind))
        self._metrics.keys.labels("prefixes").set(len(self._written))

    async def _tell_read(self) -> None:
        """Tell the other sinks which partitions we have read again, and learn theirs."""
        self._marked = await self._proxies.has_read(self._data, self.replay.read - self._marked)
        self.replay.told(self._marked)

    # Decisions

    async def _deliver(self, raw: RawBatch) -> None:
        """Have Redis write a part while the next one is checked."""
        # No TaskGroup: a failed write ends the batch as it is, without a group around it.
        writing: list[asyncio.Task[None]] = []
        coming: set[str] = set()
        try:
            for start in range(0, len(raw), PART):
                writes = self._looked_at(raw.values[start : start + PART], coming)
                writing.append(asyncio.create_task(self._write(writes)))
                await asyncio.sleep(0)  # the part goes on the wire
            await asyncio.gather(*writing)
        finally:
            await cancelled(*writing)

    def _looked_at(self, values: Sequence[bytes | None], coming: set[str]) -> Writes:
        """Return the writes for decisions; `coming`: numbers whose writes are under way."""
        at_s, policy, index = now_s(), self._policy(), self._index
        blocks = read_blocks(values, at_s)
        texts = list(blocks.by_number)
        blocked = policy.numbers(np.array(texts, "S16"), at_s) if texts else {}
        writes, unblocked = Writes(), 0
        near_the_cap = len(index) + len(coming) + len(texts) > index.keys_max
        if near_the_cap:  # the index counts what was written meanwhile
            coming -= {text for text in coming if text in index}
        for place, (text, block) in enumerate(blocks.by_number.items()):
            why, put = blocked.get(place), block.put
            if why is None and not self._behind(policy, block):
                unblocked += 1
                continue
            if near_the_cap and not index.takes(text, len(coming - {text})):
                writes.capped += 1
                continue
            coming.add(text)
            if why is None:
                if len(self._believed) < BELIEVED_MAX:
                    self._believed[text] = block
            elif why.expires_at_s != NEVER and why.expires_at_s < put.expires_at_s:
                put = put._replace(expires_at_s=why.expires_at_s)
            writes.puts.append(put)
        counts = {
            **blocks.others,
            RecordOutcome.WRITTEN: len(writes.puts) + blocks.older,
            RecordOutcome.UNBLOCKED: unblocked,
            RecordOutcome.CAPPED: writes.capped,
        }
        for seen, count in counts.items():
            self._metrics.decisions.labels(seen).inc(count)
        return writes

    # Lists

    async def _catch_up(self) -> None:
        """Apply changes of the lists since the last look."""
        policy, seen = self._policy(), self._seen
        if policy is seen:
            return
        self._seen = policy
        if seen is None:
            self._sweep_due_s = 0.0
            return
        found = list_changes(seen.blocklists, policy.blocklists)
        if found.prefixes and self._settings.prefixes:
            await self._let_go_of_prefixes()
        numbers = {*found.numbers, *self._index.beginning(found.allowed), *self._believed}
        await self._look_at(numbers)
        if found.everything or found.prefixes or seen.policy is not policy.policy:
            self._sweep_due_s = 0.0

    async def _look_at(self, texts: Iterable[str]) -> None:
        """Give each number the key that it should have, or none."""
        held = list(texts)
        for start in range(0, len(held), CHUNK):
            some = held[start : start + CHUNK]
            async with self._lock:
                at_s = now_s()
                blocked = self._policy().numbers(np.array(some, "S16"), at_s)
                said = [
                    (text, blocked.get(place))
                    for place, text in enumerate(some)
                    if place in blocked or not self._believes(text)
                ]
                writes = of_numbers(self._index, said, self._around, self._rules, at_s)
                await self._write(writes)

    def _believes(self, text: str) -> bool:
        """Return whether a worker blocked the number by lists that are still newer than ours."""
        block = self._believed.get(text)
        if block is None:
            return False
        if self._behind(self._policy(), block):
            return True
        del self._believed[text]
        return False

    def _behind(self, policy: NumberPolicy, block: NumberBlock) -> bool:
        """Return whether the lists that blocked it are newer than ours: then we believe the worker.

        But a worker that started without the list store may still have a list that was deleted.
        """
        deleted = self._deleted()
        return any(
            generation > deleted.get(name, -1) and policy.behind(name, generation)
            for name, generation in block.lists
        )

    async def _let_go_of_prefixes(self) -> None:
        """Delete the keys of prefixes that block no more; the sweep adds new ones."""
        async with self._lock:
            wanted = self._policy().prefixes(now_s())
            gone = [
                t for t, held in self._written.items() if held.action == BLOCK and not wanted.get(t)
            ]
            await self._drop_prefixes(gone)
            self._around = {t: why for t, why in self._around.items() if t not in gone}

    # Everything

    async def _sweep(self) -> None:
        """Check every key, and every number that could have one."""
        self._sweep_due_s = monotonic_s() + self._settings.sweep_s
        at_s = now_s()
        # With the lock: a key on its way to Redis is not in the index yet, and a belief that went
        # now would not keep it from the next look.
        async with self._lock:
            self._index.forget_expired(at_s)
            for text in [text for text in self._believed if text not in self._index]:
                del self._believed[text]
        if self._settings.prefixes:
            self._around = self._policy().prefixes(at_s)
            # Exceptions before blocks: else numbers inside a new prefix would be blocked meanwhile.
            allows, _, _ = of_prefixes(self._written, self._around, self._rules, at_s)
            await self._put_prefixes(allows)
        codes = self._index.codes()
        for start in range(0, len(codes), CHUNK):
            await self._look_at(_texts(codes[start : start + CHUNK]))
            await self._catch_up()
        blocking = any(self._around.values())
        if self._settings.preload or blocking:
            await self._sweep_lists()
        async with self._lock:
            _, blocks, gone = of_prefixes(self._written, self._around, self._rules, at_s)
            await self._put_prefixes(blocks)
            await self._drop_prefixes([text[:-1] for text in gone])
        self._swept = True

    async def _sweep_lists(self) -> None:
        """Check the numbers of lists and allowlist that have no key yet."""
        policy = self._policy()
        for live in policy.blocklists.lists:
            for codes in policy.known_numbers(live, CHUNK):
                await self._look_at(self._without_key(_texts(self._index.missing(codes))))
                await self._catch_up()
        await self._look_at(self._without_key(policy.blocklists.allow.numbers))

    def _without_key(self, texts: Iterable[str]) -> list[str]:
        """Return numbers that may need a key: to preload all, else those in blocked prefixes."""
        if self._settings.preload:
            return list(texts)
        return [text for text in texts if speaking(self._around, text) is not None]

    async def _put_prefixes(self, puts: list[Put]) -> None:
        await self._proxies.put(puts)
        for put in puts:
            held = Held(put.text, put.action, put.expires_at_s, put.decided_at_ms)
            self._written[put.text[:-1]] = held
        self._count(len(puts), 0)

    async def _drop_prefixes(self, texts: list[str]) -> None:
        await self._proxies.drop([f"{text}*" for text in texts])
        for text in texts:
            self._written.pop(text, None)
        self._count(0, len(texts))

    async def _write(self, writes: Writes) -> None:
        # Deletions first: a number that may call again must not wait for new blocks.
        await self._proxies.drop(writes.drops)
        await self._proxies.put(writes.puts)
        writes.entered(self._index)
        self._count(len(writes.puts), len(writes.drops))
        self._metrics.capped.inc(writes.capped)

    def _count(self, put: int, deleted: int) -> None:
        self._writes += put + deleted
        self._metrics.writes.labels("put").inc(put)
        self._metrics.writes.labels("deleted").inc(deleted)


def _texts(codes: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> list[str]:
    return [text.decode("ascii") for text in texts_of(codes).tolist()]
