"""Decisions into Redis for SIP proxies: how many a second, and how soon an unblock is one.

The alternative is what one writes in an afternoon: redis-py, a pipeline of HSET and EXPIREAT for
500 decisions at a time, which were read and judged before; so it does less than the sink, which
decodes each decision and asks its lists whether the number is still blocked. Same keys and fields,
same Redis (on the broker's core), interleaved rounds, the database empty at the start of each.

"as a process" is `ringfence sink redis` reading a filled topic of a real Kafka: from the first key
to the last. An unblock is measured there: from before the register's `remove` is called until the
key is gone, seen by asking for it all the time (0.1 ms).

Target: 100,000 decisions a second by the sink's own code, aim 200,000;
p99 of an unblock at most 1 s, aim 0.1 s.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import redis
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import TableSpec, compile_table
from stream.core.filters.snapshot import Snapshot, read_snapshot
from stream.core.model.allowlist import NOBODY
from stream.core.model.decision import Decision, Reason, SipAnswerSettings, sip_answer
from stream.core.model.entry import NEVER, Category, Columns, code_of
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.edge.sinks.number_policy import NumberPolicy
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_keys import META, READ, Put
from stream.edge.sinks.proxy_redis import ProxyRedis
from stream.edge.sinks.proxy_sink import RedisSink
from stream.edge.sinks.settings import RedisSinkSection
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.sink_catalogue import RedisSinkMetrics
from stream.ops.tasks import cancelled
from tests.bench import snapshots
from tests.bench.bench_changes import put_base
from tests.bench.engine import READY_S, Setup, configured
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio

NAME = "KH/scam"
PIPELINED = 500
BATCH = 4000
TTL_S = 86_400
BY = By("bench", "measuring the sink")
RATE, CPU, REDIS_CPU = "decisions/s", "our CPU, us", "Redis' CPU, us"


@dataclass
class Load:
    """The outcomes that are written, in each form."""

    numbers: list[str]
    values: list[bytes]
    puts: list[Put]
    parts: dict[str, bytes]
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)


async def run(lab: Lab) -> list[Report]:
    """The writing in this process, then the whole as a process."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    load = _load(max(BATCH, lab.scale.keys))
    raw = redis.Redis.from_url(lab.redis.url())
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as the sink's process has it
    with on_core(lab.cores.engine):
        for turn in range(lab.scale.rounds):
            ways = [
                ("redis-py pipeline", _plain),
                ("Ringfence, writes", _puts),
                ("Ringfence", _whole),
            ]
            for name, way in ways[turn % 3 :] + ways[: turn % 3]:
                raw.flushdb()
                await _measured(lab, load, name, way, raw)
                assert _keys(raw) == len(load.numbers), name
    raw.flushdb()
    report = Report("sinks", [Row(name, found) for name, found in load.figures.items()])
    ours, theirs = (load.figures[name][RATE] for name in ("Ringfence", "redis-py pipeline"))
    report.targets = [
        Target("decisions/s into Redis", ratio(ours, [1.0] * len(ours)), "/s", 100_000, 200_000),
        Target("against a plain pipeline", ratio(ours, theirs), "x", 1.0, 2.0),
    ]
    await _as_a_process(lab, load, raw, report)
    raw.close()
    return [report]


def _load(count: int) -> Load:
    rng = np.random.default_rng(11)
    codes = np.sort(rng.choice(10**8, count, replace=False)).astype(np.uint64) + np.uint64(
        85_500_000_000
    )
    numbers = [f"+{code}" for code in codes.tolist()]
    fingerprints = Digests(elements(np.array(numbers, "S16"), b"")).fingerprints()
    order = np.argsort(fingerprints)
    whole = np.ones(count)
    columns = Columns(
        fingerprint=fingerprints[order],
        number=np.array([code_of(number) for number in numbers], np.uint64)[order],
        reported_at=(whole * (time.time() - 60)).astype(np.uint32),
        expires_at=(whole * NEVER).astype(np.uint32),
        category=(whole * Category.LOAN).astype(np.uint8),
        confidence=(whole * 100).astype(np.uint8),
        source=(whole * 0).astype(np.uint16),
        sources=("bench",),
    )
    version = Version("KH", "scam", snapshots.GENERATION, "plain", b"", "")
    parts = build_snapshot(version, columns, int(time.time()))
    now_s = int(time.time())
    puts = [
        Put(n, "block", "loan", NAME, f"D{i:012d}", now_s + TTL_S, now_s * 1000)
        for i, n in enumerate(numbers)
    ]
    return Load(numbers, [_decision(put) for put in puts], puts, dict(parts))


def _decision(put: Put) -> bytes:
    """As a worker writes it."""

    def stamp(at_s: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_s))

    sip = SipAnswerSettings("https://redress.example/d/{decision_id}", "TN")
    reason = Reason(
        list=NAME,
        category="loan",
        confirmed=True,
        confidence=98,
        generation=snapshots.GENERATION,
        expires_at=None,
    )
    return msgspec.json.encode(
        Decision(
            decision_id=put.decision_id,
            verdict="block",
            simulated=False,
            rule=f"list:{NAME}",
            number=put.text,
            role="caller",
            call_id=f"call-{put.decision_id}",
            caller=put.text,
            callee="+6621234567",
            reasons=[reason],
            sip=sip_answer(put.decision_id, sip, 603),
            called_at=stamp(put.decided_at_ms / 1000),
            decided_at=stamp(put.decided_at_ms / 1000),
            expires_at=stamp(put.expires_at_s),
            origin="calls/3/1048577",
        )
    )


Way = Callable[[Lab, Load], Awaitable[Callable[[], Awaitable[None]]]]


async def _measured(lab: Lab, load: Load, name: str, way: Way, raw: redis.Redis) -> None:
    go = await way(lab, load)
    redis_before, cpu, begun = _redis_cpu(raw), time.process_time(), time.perf_counter()
    await go()
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    spent = _redis_cpu(raw) - redis_before
    count = len(load.numbers)
    figures = load.figures.setdefault(name, {RATE: [], CPU: [], REDIS_CPU: []})
    for figure, value in (
        (RATE, count / wall),
        (CPU, cpu / count * 1e6),
        (REDIS_CPU, spent / count * 1e6),
    ):
        figures[figure].append(value)


def _keys(raw: redis.Redis) -> int:
    """The keys of numbers: the sink's two keys about all of them are no decisions."""
    count: Any = raw.dbsize()
    others: Any = raw.exists(META, READ)
    return int(count) - int(others)


def _redis_cpu(raw: redis.Redis) -> float:
    info: dict[str, Any] = raw.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _plain(lab: Lab, load: Load) -> Callable[[], Awaitable[None]]:
    """redis-py as its documentation has it."""
    client = redis.Redis.from_url(lab.redis.url())

    async def go() -> None:
        for start in range(0, len(load.puts), PIPELINED):
            pipeline = client.pipeline(transaction=False)
            for put in load.puts[start : start + PIPELINED]:
                key = f"bl:{put.text}"
                fields: dict[Any, Any] = {
                    "action": put.action,
                    "reason": put.reason,
                    "list": put.list,
                    "decision_id": put.decision_id,
                    "expires_at": put.expires_at_s,
                    "decided_at": put.decided_at_ms,
                }
                pipeline.hset(key, mapping=fields)
                pipeline.expireat(key, put.expires_at_s)
            pipeline.execute()
        client.close()

    return go


async def _puts(lab: Lab, load: Load) -> Callable[[], Awaitable[None]]:
    """The sink's way of writing alone."""
    settings = ListStoreSettings(lab.redis.url())

    async def go() -> None:
        async with ProxyRedis(settings) as proxies:
            await proxies.put(load.puts)

    return go


async def _whole(lab: Lab, load: Load) -> Callable[[], Awaitable[None]]:
    """The sink: decode, ask the lists, write."""
    judge = _judge(read_snapshot(load.parts))
    batches = [_batch(load.values[at : at + BATCH]) for at in range(0, len(load.values), BATCH)]
    settings = RedisSinkSection(
        url="", ca_file="", cert_file="", key_file="", timeout_s=1.0, group_id="",
        sentinels=(), sentinel_master="", sentinel_tls=False,
        keys_max=10_000_000, prefixes=True, preload=False,
        sweep_s=3600, http_port=0,
    )  # fmt: skip

    async def go() -> None:
        async with ProxyRedis(ListStoreSettings(lab.redis.url())) as proxies:
            metrics = RedisSinkMetrics(CollectorRegistry())
            names = NumberIds(b"b" * 16)
            sink = RedisSink(settings, TTL_S, proxies, lambda: judge, metrics, names, dict)
            keep = asyncio.create_task(sink.keep())
            for batch in batches:
                await sink.deliver(batch)
            await cancelled(keep)

    return go


def _judge(snapshot: Snapshot) -> NumberPolicy:
    def table_of(snapshots: Any) -> Any:
        held = snapshots[0].filter
        spec = TableSpec(held.plan, held.shape.bits_per_slice, len(snapshots))
        table = np.zeros(spec.rows, spec.dtype)
        compile_table([one.filter for one in snapshots], table)
        return table

    lists = Blocklists.of([fresh(NAME, b"", snapshot, int(time.time()))], NOBODY, table_of)
    return NumberPolicy(lists, compile_policy(PolicySettings(), lists.names))


def _batch(values: list[bytes]) -> RawBatch:
    count = len(values)
    segment = Segment(Partition("decisions", 0), 0, count)
    return RawBatch(values, np.arange(count), np.zeros(count, np.int64), (segment,), 1)


async def _as_a_process(lab: Lab, load: Load, raw: redis.Redis, report: Report) -> None:
    """`ringfence sink redis`, from Kafka to Redis, and unblocks through the register."""
    register_url, proxies_url = lab.redis.url(), lab.redis.url(1)
    raw.flushall()
    proxies = redis.Redis.from_url(proxies_url)
    async with (
        await ListStore.connect(ListStoreSettings(register_url)) as register,
        lab.work() as work,
    ):
        await _listed(register, load)
        await _sent(lab, work.decisions, load.values)
        more = {"sinks.redis": {"url": proxies_url, "http_port": 0, "keys_max": 10_000_000}}
        setup = Setup(lab.run / lab.new_name("state"), register_url, more=more)
        Path(setup.state).mkdir()
        config, _ = configured(lab, work, setup)
        command = python("stream", "sink", "redis", "--config", str(config))
        process = Process("sink", command, [lab.cores.engine], config.with_suffix(".log"))
        with process:
            first, last = await asyncio.to_thread(_filled, process, proxies, len(load.numbers))
            rate = len(load.numbers) / max(last - first, 1e-9)
            report.rows.append(Row("Ringfence, as a process", {RATE: [rate]}))
            unblocks = [
                await _unblocked(register, proxies, number)
                for number in load.numbers[: lab.scale.changes]
            ]
    proxies.close()
    p50, p99 = np.percentile(unblocks, [50, 99]).tolist()
    row = {"unblock p50, ms": [p50 * 1e3], "unblock p99, ms": [p99 * 1e3]}
    report.rows.append(Row("Ringfence, one by one", row))
    report.targets.append(Target("unblock, p99", p99, "s", 1.0, 0.1, less=True))


async def _listed(register: ListStore, load: Load) -> None:
    await register.create(NAME, "plain", BY)
    await put_base(register, NAME, load.parts, len(load.numbers))


async def _sent(lab: Lab, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=lab.broker.bootstrap, linger_ms=20) as producer:
        for value in values:
            await producer.send(topic, value)


def _filled(process: Process, proxies: redis.Redis, count: int) -> tuple[float, float]:
    """When the first and the last key were there."""
    first = 0.0
    deadline = time.monotonic() + READY_S
    while True:
        process.check()
        there = _keys(proxies)
        now = time.monotonic()
        first = first or (now if there else 0.0)
        if there >= count:
            return first, now
        assert now < deadline, f"{there} keys of {count}"
        time.sleep(0.002)


async def _unblocked(register: ListStore, proxies: redis.Redis, number: str) -> float:
    """Seconds from before the removal to a Redis without the key."""
    fingerprint = int(Digests(elements(np.array([number], "S16"), b"")).fingerprints()[0])
    key = f"bl:{number}"
    assert proxies.exists(key)
    begun = time.perf_counter()
    removing = asyncio.create_task(register.remove(NAME, [Removal(fingerprint, number)], BY))
    while proxies.exists(key):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.0001)
    ended = time.perf_counter()
    await removing
    return ended - begun
