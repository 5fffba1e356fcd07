"""Workers killed inside a transaction, and a transaction's last moment.

RINGFENCE_FAULT_ROUNDS says how often: 20 kills inside transactions in `make campaign`. More are
several runs of twenty, whose figures are recorded as one.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.fault.site import Site
from tests.fault.traffic import Load, aborted_copies, flowing, judge, runs_of
from tests.support.calls import calls, lab
from tests.support.figures import record, together
from tests.support.kafka_secured import Secured, secured_broker
from tests.support.slow_network import AimedWay, opened
from tests.support.waiting import TRANSACTIONS_MS

pytestmark = [
    pytest.mark.needs_transactions,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

ROUNDS, RUNS = runs_of(int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2")))
PER_S = 1500
PRODUCE, END, COMMIT_POSITIONS = 0, 26, 28
"""Requests of a transaction, by Kafka's keys of APIs."""
AIMS = (
    # What was decided is acknowledged and nobody has ended the transaction: a sure hit.
    ("before its end", END, True),
    ("while records are written", PRODUCE, False),
    ("before its end", END, True),
    ("while it ends", END, False),
    ("before its end", END, True),
    ("while positions are written", COMMIT_POSITIONS, False),
)
"""Where the worker dies: which request, and if it is held back until the worker is dead."""
HITS_MIN = 0.3


async def test_partitions_go_only_when_the_group_shows_what_was_committed(kafka):
    """A settled worker's positions are those that anybody who asks at once is given.

    Without waiting for it about a third of the rounds fail: the broker says that a transaction is
    committed before the group's coordinator knows, and the next reader would repeat a batch.
    """
    here = await lab(kafka)
    # With all that it settles, a worker decides about 1,100: up to seven batches of 50 at once.
    origins = await here.produce(calls(15_000))
    async with AIOKafkaConsumer(
        bootstrap_servers=here.bootstrap, group_id=here.group_id, enable_auto_commit=False
    ) as reader:
        for _ in range(10):
            worker = await here.started(exactly_once=True, session_timeout_ms=TRANSACTIONS_MS)
            await worker.until(200)
            worker.loop.stop()
            await worker.task
            expected = worker.loop._progress.next_offsets
            partitions = [TopicPartition(*partition) for partition in expected]
            shown = await asyncio.gather(*(reader.committed(tp) for tp in partitions))
            assert [offset or 0 for offset in shown] == [*expected.values()]
            await worker.close()
    async with here.worker(exactly_once=True, session_timeout_ms=TRANSACTIONS_MS):
        await here.until_decided(len(origins))
    assert (await here.outcome())[0] == Counter(origins)


_played: list[dict[str, Any]] = []
"""Figures of this process' runs."""


@pytest.fixture
def slow_broker() -> Iterator[Secured]:
    """A broker that a worker reaches by a way of the test's."""
    with secured_broker() as broker:
        yield broker


@pytest.mark.campaign
@pytest.mark.needs_openssl
@pytest.mark.timeout(1800 + 240 * ROUNDS)
@pytest.mark.parametrize("run", range(RUNS))
async def test_kill_9_inside_transactions(slow_broker, redis_url, tmp_path: Path, measured, run):
    """A worker that dies inside a transaction leaves copies that no reader of committed records
    sees; each call is decided once all the same.

    The way to the broker tells when a transaction is at a step, so that the kill meets it. From
    outside, records beyond the last stable offset say that it was open when its worker was dead.
    """
    site = Site(slow_broker.plain, redis_url, tmp_path)
    await site.make_topics()
    await site.make_list()
    way = AimedWay(slow_broker.behind)
    calls = {
        "delivery": "exactly_once", "session_timeout_ms": TRANSACTIONS_MS, "instance_id": "one",
    }  # fmt: skip
    address: dict[str, object] = {"bootstrap_servers": f"127.0.0.1:{slow_broker.slow}"}
    hits: Counter[str] = Counter()
    left = 0
    began = time.monotonic()
    async with opened(slow_broker.slow, way):
        with site.engine(calls=calls, kafka=address) as engine:
            async with Load(site, PER_S) as load:
                for round_ in range(ROUNDS):
                    await engine.ready()
                    await engine.until(lambda: flowing(engine), "to decide calls")
                    title, key, held = AIMS[(run * ROUNDS + round_) % len(AIMS)]
                    async with way.reached(key, held=held):
                        engine.kill()
                    inside = await site.in_open_transactions()
                    hits[title] += inside > 0
                    left += inside
                    assert inside or not held, "the transaction that was held had no records"
                await engine.ready()
                await load.end()
                await site.drained(engine)
            assert await engine.stop() == 0
    verdict = await judge(site, load.sent)
    aborted = await aborted_copies(site)
    figures = {
        "kills": ROUNDS,
        "hits": hits.total(),
        "hits_by_step": dict(hits),
        "records_left_open": left,
        "aborted_copies": aborted,
        **verdict.figures(),
        "duration_s": round(time.monotonic() - began),
    }
    _played.append(figures)
    whole = together(_played)
    share = whole["hits"] / whole["kills"]
    record("kills", {**whole, "hits_share": round(share, 3)}, "inside_transactions")
    measured(f"{hits.total()} of {ROUNDS} kills hit, {aborted} aborted copies: {verdict}")
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats
    assert hits.total() >= HITS_MIN * ROUNDS
    assert aborted >= left > 0
