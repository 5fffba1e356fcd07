"""The Redis sink's order of steps, with a Redis that answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import numpy as np
from prometheus_client import CollectorRegistry

from stream.config.settings import load
from stream.core.filters.blocklists import fresh
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.edge.sinks.number_policy import NumberPolicy
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_keys import Held, Put
from stream.edge.sinks.proxy_redis import ProxyRedis, ProxyRedisState
from stream.edge.sinks.proxy_sink import RedisSink
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.ops.clock import now_s
from stream.ops.metrics.sink_catalogue import RedisSinkMetrics
from tests.support.builders import blocklists, entry, snapshot
from tests.support.lists import NAME
from tests.support.sinks import block

ONE, OTHER = "+66812345678", "+447700900123"


class SlowProxies:
    """The keys of a Redis whose writes wait for `answers`."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def standing(self) -> ProxyRedisState:
        return ProxyRedisState("run", {}, "")

    async def begin(self) -> None:
        """Nothing is complete yet."""

    async def load(self) -> AsyncIterator[Held]:
        """There are none yet."""
        held: list[Held] = []
        for one in held:
            yield one

    async def put(self, puts: Sequence[Put]) -> None:
        if puts:
            self.asked.set()
            await self.answers.wait()
            self.keys |= {put.text for put in puts}

    async def drop(self, texts: Sequence[str]) -> None:
        self.keys -= set(texts)


async def test_a_sweep_beside_a_write_takes_no_block_back() -> None:
    """A worker with newer lists blocked the number: its key stays, though a sweep begins while
    Redis is writing it.
    """
    live = fresh(NAME, b"", snapshot(NAME, [entry(OTHER)], generation=1), now_s())
    lists = blocklists(live)
    policy = NumberPolicy(lists, compile_policy(PolicySettings(), lists.names))
    proxies = SlowProxies()
    sink = RedisSink(
        load([], {}).sinks.redis,
        86_400,
        cast("ProxyRedis", proxies),
        lambda: policy,
        RedisSinkMetrics(CollectorRegistry()),
        NumberIds(b"b" * 16),
        dict,
    )
    await sink._connect()
    segment = Segment(Partition("decisions", 0), 0, 1)
    raw = RawBatch([block(ONE, generation=9)], np.arange(1), np.zeros(1, np.int64), (segment,), 1)
    delivering = asyncio.create_task(sink.deliver(raw))
    await proxies.asked.wait()
    sweeping = asyncio.create_task(sink._sweep())
    for _ in range(10):
        await asyncio.sleep(0)
    proxies.answers.set()
    await asyncio.gather(delivering, sweeping)
    assert proxies.keys == {ONE}
    await sink._sweep()
    assert proxies.keys == {ONE}
