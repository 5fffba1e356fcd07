"""A publisher that is slow, since little passes towards the broker: memory is bounded all the same.

What waits at the broker is many times what may be in memory, and comes as fast as it is asked for.
"""

import asyncio

import pytest

from tests.bench.machine import memory
from tests.fault.site import INNOCENT, LISTED, Site
from tests.fault.traffic import call, judge, produce
from tests.support.kafka_secured import secured_broker
from tests.support.slow_network import SlowWay, opened
from tests.support.waiting import until

pytestmark = [
    pytest.mark.campaign,  # 160 MB at a broker of its own
    pytest.mark.apache_kafka,
    pytest.mark.needs_openssl,
]

ROWS, WARM = 40_000, 2_000
WIDE = 4000
"""Bytes of a record: larger than its decision, as with switches that tell everything."""
TOWARDS_PER_S = 100_000
GROWN_MB_MAX = 96
"""Two answers of 8 MiB, four batches being acknowledged, and their decisions; 160 MB wait."""


def row(number: int) -> bytes:
    """One wide record."""
    numbers = LISTED if number % 5 == 0 else INNOCENT
    narrow = call(f"c{number}", numbers[number % len(numbers)])
    return narrow[:-1] + b', "wide": "' + b"w" * (WIDE - len(narrow)) + b'"}'


async def test_a_slow_publisher_bounds_what_is_read(redis_url, tmp_path, measured):
    """No more is fetched than fits; when the way is free again, all is decided."""
    with secured_broker() as broker:
        site = Site(broker.plain, redis_url, tmp_path)
        await site.make_topics()
        await site.make_list()
        address: dict[str, object] = {"bootstrap_servers": f"127.0.0.1:{broker.slow}"}
        way = SlowWay(broker.behind, 1e9)
        async with opened(broker.slow, way):
            with site.engine(kafka=address) as engine:
                await engine.ready()
                await produce(site, [row(number) for number in range(WARM)])
                await site.drained(engine)
                before_mb = memory(engine.process.pid).rss_mb
                way.bytes_per_s = TOWARDS_PER_S
                fetched_before = way.bytes_back
                await produce(site, [row(number) for number in range(WARM, ROWS)])
                await until(lambda: way.bytes_back > fetched_before, "the first bytes of them")
                await asyncio.sleep(5)  # many times what all of it takes to come if it may
                fetched_mb = (way.bytes_back - fetched_before) / 1e6
                waiting_mb = ROWS * WIDE / 1e6
                grown_mb = memory(engine.process.pid).peak_mb - before_mb
                assert 0 < fetched_mb < waiting_mb / 2, "it did not wait for its publisher"
                assert grown_mb < GROWN_MB_MAX
                way.bytes_per_s = None
                await site.drained(engine)
                assert await engine.stop() == 0
        verdict = await judge(site, ROWS)
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats
    measured(f"of {waiting_mb:.0f} MB {fetched_mb:.0f} were fetched, {grown_mb:.0f} more held")
