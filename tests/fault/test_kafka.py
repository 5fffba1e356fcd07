"""Kafka away at the start and in mid-run, and topics that are missing or too small.

A restart of the broker takes six to eight seconds. So `make test` makes 2 with exactly once, one by
kill -9 and one in order; `make campaign` makes 20 for each delivery (RINGFENCE_FAULT_ROUNDS).
"""

import asyncio
import os
import time

import pytest

from tests.fault.site import INNOCENT, LISTED, Site
from tests.fault.traffic import Load, decided, decides, judge
from tests.support.commands import command
from tests.support.waiting import TRANSACTIONS_MS

pytestmark = [
    pytest.mark.apache_kafka,
    # The producer of the load is a client of the broker that goes away.
    pytest.mark.expects_errors,
]

RESTARTS = int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "1"))
"""The first is a kill, the second a stop: `make test` has the kill alone, the campaign has both."""
MISSING = "no topic .*`ringfence topics create` makes what is missing"


@pytest.mark.rounds
@pytest.mark.parametrize(
    "delivery", [pytest.param("at_least_once", marks=pytest.mark.campaign), "exactly_once"]
)
async def test_broker_restarts_under_load(site, broker, measured, delivery):
    """Killed and stopped in turn, the broker comes back, and so does the engine; nothing is lost.

    Two workers under a supervisor, as in production: should a worker end, it is started again.
    """
    calls = {"delivery": delivery, "session_timeout_ms": TRANSACTIONS_MS, "instance_id": "host"}
    resumed_s: list[float] = []
    with site.engine("--workers", "2", calls=calls) as engine:
        await engine.ready()
        async with Load(site, 1000) as load:
            for restart in range(RESTARTS):
                await decides(engine, 50)
                await asyncio.to_thread(broker.stop if restart % 2 else broker.kill)
                await asyncio.to_thread(broker.start)
                back_s = time.monotonic()
                await decides(engine, 1)
                resumed_s.append(time.monotonic() - back_s)
            await load.end()
            await site.drained(engine)
        restarts = engine.metric("ringfence_worker_restarts_total")
        assert await engine.stop() == 0
    verdict = await judge(site, load.sent)
    measured(
        f"{RESTARTS} broker restarts, {delivery}: {verdict}; {restarts:.0f} workers started again; "
        f"calls decided again at most {max(resumed_s):.1f} s after the broker was back"
    )
    assert verdict.nothing_lost, verdict
    assert delivery == "at_least_once" or not verdict.repeats


async def test_a_start_without_kafka(site, broker):
    """It waits, says so in log, /ready and metrics, and begins by itself when the broker is there.

    Told to stop meanwhile, it stops at once, in order.
    """
    await asyncio.to_thread(broker.stop)
    try:
        with site.engine() as engine:
            engine.start()
            await engine.logged("Kafka at .* does not answer .*, next try in")
            await engine.until(
                lambda: engine.metric("ringfence_call_events_total", event="kafka_awaited") > 0,
                "to count its tries",
            )
            assert engine.metric("ringfence_kafka_up") == 0
            status, text = engine.readiness()
            assert (status, "Kafka does not answer yet" in text) == (503, True)
            assert await engine.stop() == 0
            assert not engine.said("deadline came first")
            engine.start()
            await engine.logged("Kafka at .* does not answer .*, next try in")
            await asyncio.to_thread(broker.start)
            await engine.until(lambda: engine.readiness()[0] == 200, "to be ready")
            assert await decided(site, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
            assert engine.metric("ringfence_kafka_up") == 1
            assert await engine.stop() == 0
    finally:
        await asyncio.to_thread(broker.start)


async def test_kafka_goes_and_comes(site, broker):
    """In mid-run it says within seconds that Kafka is away, goes on when it is back, and says so.

    Calls that came last before it went and first after it are decided once.
    """
    try:
        with site.engine() as engine:
            await engine.ready()
            assert await decided(site, engine, LISTED[0]) == ["block"]
            await asyncio.to_thread(broker.stop)
            await engine.until(lambda: engine.metric("ringfence_kafka_up") == 0, "to notice", 20)
            assert engine.said("Kafka has not answered for")
            await asyncio.to_thread(broker.start)
            await engine.until(lambda: engine.metric("ringfence_kafka_up") == 1, "to go on")
            assert engine.said("Kafka answers again")
            assert await decided(site, engine, LISTED[1], INNOCENT[0]) == ["block", "allow"]
            assert await engine.stop() == 0
    finally:
        await asyncio.to_thread(broker.start)
    assert len(await site.records(site.topics.decisions)) == 3


async def test_a_missing_topic(kafka, redis_url, tmp_path):
    """It ends with exit 3, the topics' names and the command that makes them; then it starts.

    So does the supervisor of several workers, instead of starting them again and again.
    """
    site = Site(kafka.bootstrap, redis_url, tmp_path)
    for workers in ("1", "2"):
        with site.engine("--workers", workers) as engine:
            engine.start()
            assert await engine.exit_code() == 3
            (line, *_) = engine.said(MISSING)
            for name in (*site.topics.calls, site.topics.decisions, site.topics.rejected):
                assert name in line
    done = command("topics", "create", "--config", str(engine.config))
    assert done.code == 0, done.err
    with site.engine() as engine:
        await engine.ready()
        assert await engine.stop() == 0


async def test_too_few_partitions(kafka, redis_url, tmp_path):
    """More workers than partitions would idle for ever: exit 3, and what to do."""
    site = Site(kafka.bootstrap, redis_url, tmp_path, partitions=1)
    await site.make_topics()
    with site.engine("--workers", "2") as engine:
        engine.start()
        assert await engine.exit_code() == 3
        assert engine.said("1 partitions for 2 workers: start fewer workers, or .*topics create")
