"""Let one worker read a topic of 1,000 partitions.

    python -m tests.campaigns.load_partitions                       1,000 partitions, 500,000 calls
    python -m tests.campaigns.load_partitions --partitions 100 --calls 10000

Half of the calls lie there before the worker starts, half come while it reads. Every call of a
listed caller has its decision, every partition is committed to its end, and /metrics names the lag.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.bench.machine import cpu_s
from tests.campaigns.place import Place, played, resident_mb, servers
from tests.campaigns.soak_traffic import STATIC, numbers, records
from tests.support.figures import WHOLE, record
from tests.support.waiting import HANGS_S, Patience


@dataclass(frozen=True, slots=True)
class Size:
    """Figures of the campaign."""

    partitions: int = 1_000
    calls: int = 500_000


async def filled(place: Place, size: Size, calls: list[bytes]) -> None:
    """Write `calls`, spread over all partitions in whole batches."""
    each = -(-len(calls) // size.partitions)
    async with AIOKafkaProducer(
        bootstrap_servers=place.site.bootstrap,
        acks=1,
        max_batch_size=1 << 20,
        request_timeout_ms=int(1000 * HANGS_S),
    ) as producer:
        sent = []
        for partition in range(size.partitions):
            batch = producer.create_batch()
            for value in calls[partition * each : (partition + 1) * each]:
                fits = batch.append(key=None, value=value, timestamp=None)
                assert fits is not None, "fewer calls for each partition"
            if batch.record_count():
                topic = place.site.calls
                sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)


def by_listed(calls: list[bytes]) -> int:
    """Count calls of listed callers: each has a decision, and no other call has one."""
    listed = {number.encode() for number in numbers(STATIC)}
    return sum(one.partition(b'"caller":"')[2][:12] in listed for one in calls)


async def committed(place: Place, total: int) -> None:
    """Wait until the group has committed so many calls."""
    group = place.site.config.read_text().partition('group_id = "')[2].partition('"')[0]
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=place.site.bootstrap)
    await admin.start()
    try:
        patience = Patience("the group commits all calls")
        while True:
            held = await admin.list_consumer_group_offsets(group)
            done = sum(
                max(one.offset, 0)
                for place_of, one in held.items()
                if isinstance(place_of, TopicPartition) and place_of.topic == place.site.calls
            )
            if done == total:
                return
            patience.check(done)
            await asyncio.sleep(0.2)
    finally:
        await admin.close()


async def run(size: Size, folder: Path, part: str = WHOLE) -> dict[str, Any]:
    """Run the campaign, and record its figures."""
    with servers() as (broker, redis):
        place = Place(folder, broker, redis.url())
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(place.site.calls, size.partitions, 1)])
        finally:
            await admin.close()
        place.site.made()
        await place.list_of("XA/static", numbers(STATIC))
        calls = records(size.calls)
        half = size.calls // 2
        # Answered when each partition has its leader: a new one has none for a while.
        await place.appended(place.site.calls, size.partitions)
        await filled(place, size, calls[:half])
        began_s = time.monotonic()
        with place.running("run") as engine:
            ready_s = time.monotonic() - began_s
            await committed(place, half)
            first_s = time.monotonic() - began_s
            began_s = time.monotonic()
            await filled(place, size, calls[half:])
            await committed(place, size.calls)
            second_s = time.monotonic() - began_s
            used_s, began_s = cpu_s(engine.process.pid), time.monotonic()
            await asyncio.sleep(10.0)
            idle = (cpu_s(engine.process.pid) - used_s) / (time.monotonic() - began_s)
            # After the idle seconds: the worker sets its gauges once a second, and a small run can
            # be over before it first sets them with its partitions.
            figures = {
                "partitions": size.partitions,
                "calls": size.calls,
                "ready_s": round(ready_s, 1),
                "first_half_s": round(first_s, 1),
                "second_half_s": round(second_s, 1),
                "read": engine.metric("ringfence_partitions"),
                "ordinary": engine.metric("ringfence_partitions_ordinary"),
                "lag": engine.metric("ringfence_lag_records"),
                "mb": resident_mb(engine),
                "metrics_kb": round(len(engine.page("/metrics")[1]) / 1024),
                "expected": by_listed(calls),
                "decided": await place.appended(place.site.decisions),
                "idle_cpu_percent": round(100 * idle, 1),
            }
            assert not [one for one in engine.events() if one["level"] == "critical"]
    record("load-partitions", figures, part)
    return figures


def right(figures: dict[str, Any]) -> list[str]:
    """Return what is not as it has to be."""
    checks = {
        "all partitions are read": figures["read"] == figures["partitions"],
        "by the fetcher": figures["ordinary"] == 0,
        "nothing is left": figures["lag"] == 0,
        "each listed call is decided, once": figures["decided"] == figures["expected"],
    }
    return [what for what, holds in checks.items() if not holds]


def main() -> int:
    """Run the campaign of the options; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=Size().partitions)
    parser.add_argument("--calls", type=int, default=Size().calls)
    return played(partial(run, Size(**vars(parser.parse_args()))), right)


if __name__ == "__main__":
    raise SystemExit(main())
