"""The price of a list, by its size: Redis, its disk, a worker's memory and disk, and the network.

No peer: these are the cells of docs/how-to/operate/planning.md. Lists of 1M and of 10M numbers with
their whole provenance (bench_imports.py) are imported into an empty Redis, one at a time. Then
followers (follower.py: a worker's lists without its calls) with empty state directories read it:
one alone, then `FOLLOWERS` at once, as after an import that replaces a list everywhere. All of them
run on the engine's core, Redis on the other.

"Sent" is what Redis sent, for each follower; "CPU of Redis" is for each GB of it. A PING meanwhile
shows what a change or an unblock waits behind them. "Worker MB" is private memory, more than that
of one without lists. The table is a file, and calls read all of it: memory that the workers of a
machine share. "Worker disk" has one generation and the table; two are kept. Bytes and CPU do not
depend on how busy the machine is, the PING does.

The second report is of Kafka: bytes on the broker's disk, and CPU of the broker, for each call that
is written (batches of 400), uncompressed and with zstd, and for each decision with its call's
reading. One copy; a cluster keeps three.

Targets: 30 bytes of Redis an entry, 30 bytes sent an entry, 1 s of CPU of Redis a GB sent.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from redis.asyncio import Redis

from tests.bench import snapshots
from tests.bench.bench_imports import csv_file
from tests.bench.bench_throughput import STILL_S, TIMEOUT_S
from tests.bench.engine import READY_S, Setup, ringfence
from tests.bench.lab import SHORT, Lab
from tests.bench.machine import cpu_s, memory
from tests.bench.operator import Operator, following
from tests.bench.report import Report, Row, Target
from tests.bench.traffic import traffic
from tests.support.waiting import until

FOLLOWERS = 4
PING_S, LOOK = 0.005, 10
"""Between two questions; every so many Redis says what its buffers hold, in 1.3 KB."""
MB, GB = 2**20, 1e9
REDIS, SENT, PER_GB = "Redis bytes an entry", "sent bytes an entry", "CPU of Redis s/GB"


async def run(lab: Lab) -> list[Report]:
    """Both sizes, one after the other."""
    report = Report("sizes")
    async with Redis.from_url(lab.redis.url()) as redis:
        await redis.flushall()
        empty = await _followed(lab, redis, 1)
        for count in (lab.scale.numbers, lab.scale.large):
            sized = await _sized(lab, redis, count, empty)
            report.rows.append(Row.of(f"{count:,} numbers", [sized]))
    for row in report.rows:
        report.targets += [
            Target(f"{row.peer}, {REDIS}", row.median(REDIS), "", 30, 27, less=True),
            Target(f"{row.peer}, {SENT}", row.median(SENT), "", 30, 27, less=True),
            Target(f"{row.peer}, {PER_GB}", row.median(PER_GB), "s", 1, 0.5, less=True),
        ]
    return [report, await _kafka(lab)]


async def _kafka(lab: Lab) -> Report:
    """Calls as they are written, and decisions of all of them."""
    report = Report("sizes, Kafka")
    made = traffic(lab.scale.records[SHORT], lab.scale.numbers, seed=3)
    state = snapshots.state_dir(lab, lists=1)
    warmed = lab.new_name("calls")
    await lab.topics.create(warmed)
    await lab.topics.fill(warmed, made)  # or what the JVM compiles is counted
    await lab.topics.delete(warmed)
    for title, codec in (("calls", None), ("calls, zstd", "zstd")):
        topic = lab.new_name("calls")
        await lab.topics.create(topic)
        before = cpu_s(lab.broker.pid)
        await lab.topics.fill(topic, made, codec)
        report.rows.append(_stored(lab, title, topic, before, len(made)))
    async with lab.work(topic, emit_all=True) as work:
        process, port = ringfence(lab, work, Setup(state))
        with process:
            await asyncio.to_thread(process.wait_until_ready, port, READY_S)
            before = cpu_s(lab.broker.pid)
            await lab.topics.wait_until_steady(
                work.decisions, len(made), STILL_S, TIMEOUT_S, process.check
            )
        report.rows.append(_stored(lab, "decisions, calls read", work.decisions, before, len(made)))
    await lab.topics.delete(topic)
    return report


def _stored(lab: Lab, title: str, topic: str, before_s: float, records: int) -> Row:
    """Bytes that the broker has of a topic, and the CPU that it has used."""
    used_s = cpu_s(lab.broker.pid) - before_s
    logs = (lab.broker._server.folder / "data").glob(f"{topic}-*/*.log")
    held = sum(path.stat().st_size for path in logs)
    figures = {"bytes": held / records, "CPU us of the broker": used_s / records * 1e6}
    return Row.of(title, [figures])


async def _sized(lab: Lab, redis: Any, count: int, empty: dict[str, float]) -> dict[str, float]:
    """One list alone in Redis."""
    operator = Operator(lab)
    await redis.flushall()
    before = operator.memory()
    path = csv_file(lab, count)
    await asyncio.to_thread(operator.types, "lists", "create", "BENCH/sized")
    words = ("lists", "import", "BENCH/sized", str(path), "--replace", "--json")
    cost = await asyncio.to_thread(operator.types, *words)
    held = operator.memory() - before
    await redis.bgrewriteaof()

    async def rewritten() -> bool:
        return not (await redis.info("persistence"))["aof_rewrite_in_progress"]

    await until(rewritten, "the end of the rewrite")
    disk = (await redis.info("persistence"))["aof_current_size"]
    lab.say(f"{count:,}: imported, {cost.cpu_s:.0f} s of CPU, {held:,} bytes of Redis")
    alone = await _followed(lab, redis, 1)
    together = await _followed(lab, redis, FOLLOWERS)
    return {
        REDIS: held / count,
        "Redis disk bytes an entry": disk / count,
        "import CPU s": cost.cpu_s,
        "import MB": cost.peak_mb,
        "worker MB": alone["anonymous"] - empty["anonymous"],
        "table bytes an entry": alone["tables"] / count,
        "worker disk bytes an entry": alone["disk"] / count,
        SENT: (alone["sent"] - empty["sent"]) / count,
        "commands": alone["commands"] - empty["commands"],
        "connections": alone["connections"],
        "CPU of a follower s": alone["cpu"] - empty["cpu"],
        PER_GB: together["redis_cpu"] / together["sent"] * GB,
        f"PING p99 ms, {FOLLOWERS} at once": together["ping_p99"],
        "PING p99 ms, none": empty["ping_p99"],
        f"Redis buffers MB, {FOLLOWERS} at once": together["buffers"] / MB,
    }


async def _followed(lab: Lab, redis: Any, followers: int) -> dict[str, float]:
    """The cost of `followers` with empty state directories until all have the lists."""
    states = [lab.run / lab.new_name("followed") for _ in range(followers)]
    before = await redis.info()
    async with AsyncExitStack() as stack, _pinged(redis) as seen:
        begun = [stack.enter_async_context(following(lab, state)) for state in states]
        made = await asyncio.gather(*begun)
        after = await redis.info()
        held = [memory(one.pid) for one in made]
        used = [cpu_s(one.pid) for one in made]
    asked = len(seen["ms"]) + len(seen["buffers"])
    cpu = [_more(before, after, f"used_cpu_{kind}") for kind in ("user", "sys")]
    figures = {
        "sent": _more(before, after, "total_net_output_bytes") / followers,
        "commands": (_more(before, after, "total_commands_processed") - asked) / followers,
        "connections": _more(before, after, "total_connections_received") / followers,
        "redis_cpu": sum(cpu) / followers,
        "cpu": sum(used) / followers,
        "anonymous": sum(one.anonymous_mb for one in held) / followers,
        "tables": float(sum(_size(state / "tables") for state in states)) / followers,
        "disk": float(sum(_size(state) for state in states)) / followers,
        "ping_p99": float(np.percentile(seen["ms"], 99)),
        "buffers": max(seen["buffers"]),
    }
    lab.say(f"{followers} at once: {figures}")
    return figures


@asynccontextmanager
async def _pinged(redis: Any) -> AsyncIterator[dict[str, list[float]]]:
    """Ask Redis again and again: how long it takes, and what its clients' buffers hold."""
    seen: dict[str, list[float]] = {"ms": [], "buffers": []}

    async def asked() -> None:
        while True:
            began = time.perf_counter()
            await redis.ping()
            seen["ms"].append((time.perf_counter() - began) * 1e3)
            if len(seen["ms"]) % LOOK == 1:
                told = await redis.info("memory")
                seen["buffers"].append(float(told["mem_clients_normal"]))
            await asyncio.sleep(PING_S)

    task = asyncio.create_task(asked())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


def _more(before: Any, after: Any, name: str) -> float:
    return float(after[name]) - float(before[name])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
