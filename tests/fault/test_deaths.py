"""Workers that die, come, go and stop under load: by decision id nothing is lost or made up.

RINGFENCE_FAULT_ROUNDS says how often: 20 times for each delivery in `make campaign`. `make test`
has 2 kills and 2 rebalances, with the default delivery.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.fault.traffic import Load, decides, flowing, judge
from tests.support.waiting import TRANSACTIONS_MS, until

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

ROUNDS = int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2"))
PER_S = 1500
DELIVERIES = pytest.mark.parametrize(
    ("delivery", "session_ms"),
    [
        ("at_least_once", 3000),
        pytest.param("exactly_once", TRANSACTIONS_MS, marks=pytest.mark.campaign),
    ],
)


@pytest.mark.rounds
@DELIVERIES
async def test_kill_9_under_load(site, measured, delivery, session_ms):
    """A worker killed again and again at odd moments loses nothing and makes nothing up."""
    moments = random.Random(7)
    calls = {"delivery": delivery, "session_timeout_ms": session_ms, "instance_id": "one"}
    began = time.monotonic()
    with site.engine(calls=calls) as engine:
        async with Load(site, PER_S) as load:
            for _ in range(ROUNDS):
                await engine.ready()
                await engine.until(lambda: flowing(engine), "to decide calls")
                # The moment is part of the test: somewhere in the next batches and commits.
                await asyncio.sleep(moments.uniform(0, 0.7))
                engine.kill()
            await engine.ready()
            await load.end()
            await site.drained(engine)
        assert await engine.stop() == 0
    verdict = await judge(site, load.sent)
    measured(f"{ROUNDS} x kill -9, {delivery}: {verdict}; {time.monotonic() - began:.0f} s")
    assert verdict.nothing_lost, verdict
    assert delivery == "at_least_once" or not verdict.repeats


@pytest.mark.rounds
@DELIVERIES
async def test_rebalances_under_load(site, measured, delivery, session_ms):
    """A second worker joins and leaves again and again: each hand-over loses and repeats nothing.

    A joining and a leaving are a rebalance each, so half as many guests as rounds.
    """
    calls = {"delivery": delivery, "session_timeout_ms": session_ms}
    rounds = (ROUNDS + 1) // 2
    began = time.monotonic()
    with site.engine(calls=calls) as stays, site.engine(name="guest", calls=calls) as guest:
        await stays.ready()
        async with Load(site, PER_S) as load:
            for _ in range(rounds):
                await guest.ready()
                await guest.until(lambda: flowing(guest), "to decide calls")
                assert await guest.stop() == 0
            await load.end()
            await site.drained(stays)
        revoked = stays.metric("ringfence_call_events_total", event="revoked")
        assert await stays.stop() == 0
    verdict = await judge(site, load.sent)
    measured(
        f"{2 * rounds} rebalances ({rounds} joins, {rounds} leaves), {delivery}: {verdict}; "
        f"{time.monotonic() - began:.0f} s"
    )
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats
    assert revoked >= rounds


@pytest.mark.parametrize(
    ("delivery", "session_ms"),
    [
        ("at_least_once", 3000),
        # Until the coordinator has let the transaction go, half a minute.
        pytest.param("exactly_once", TRANSACTIONS_MS, marks=pytest.mark.campaign),
    ],
)
async def test_a_worker_that_was_paused(site, measured, delivery, session_ms):
    """Stopped in mid-batch until others have its partitions, then woken: it cannot do harm.

    It joins again by itself; only where its transaction was fenced off, or its time for one ran out
    in the pause, it ends and says so, to be started again.
    """
    calls = {"delivery": delivery, "session_timeout_ms": session_ms}
    with site.engine(calls=calls) as sleeper, site.engine(name="other", calls=calls) as other:
        await sleeper.ready()
        async with Load(site, PER_S) as load:
            await other.ready()
            for engine in (sleeper, other):
                await engine.until(lambda engine=engine: flowing(engine), "to decide calls")
            sleeper.process.send_signal(signal.SIGSTOP)
            await other.until(
                lambda: other.metric("ringfence_partitions") == site.partitions, "to take over"
            )
            before = other.metric("ringfence_batch_duration_seconds_count", step="publish")
            await other.until(
                lambda: (
                    other.metric("ringfence_batch_duration_seconds_count", step="publish")
                    > before + 20
                ),
                "to go on",
            )
            sleeper.process.send_signal(signal.SIGCONT)
            await other.until(
                lambda: (
                    sleeper.process.poll() is not None
                    or other.metric("ringfence_partitions") < site.partitions
                ),
                "to see the other one again",
            )
            await load.end()
            await site.drained(other)
        ended = sleeper.process.poll()
        if ended is None:
            assert await sleeper.stop() == 0
        else:
            assert (ended, delivery) == (1, "exactly_once"), sleeper.last_words()
            assert sleeper.said("SinkDown: .*(ProducerFenced|did not end within)")
        assert await other.stop() == 0
    verdict = await judge(site, load.sent)
    measured(f"a paused worker, {delivery}: {verdict}; it ended with {ended}")
    assert verdict.nothing_lost, verdict
    assert delivery == "at_least_once" or not verdict.repeats


@pytest.mark.campaign
async def test_two_workers_with_one_instance_id(site, measured):
    """The older one ends and names the id and the other's address; nothing is lost."""
    calls = {"instance_id": "pod-0"}
    with site.engine(calls=calls) as older, site.engine(name="twin", calls=calls) as twin:
        await older.ready()
        async with Load(site, 500) as load:
            await older.until(lambda: flowing(older), "to decide calls")
            twin.start()
            assert await older.exit_code() == 1
            assert older.said(
                "SourceDown: calls.instance_id: another process, at 127.0.0.1, has joined group "
                f"{site.name}.group as 'pod-0': this one ends"
            )
            await twin.until(lambda: flowing(twin), "to decide calls")
            await load.end()
            await site.drained(twin)
        assert await twin.stop() == 0
    verdict = await judge(site, load.sent)
    measured(f"two workers with one instance id: {verdict}")
    assert verdict.nothing_lost, verdict


async def test_sigterm_under_load(site, measured):
    """A stop in order exits 0 well within its deadline, and the next start repeats nothing."""
    stops: list[float] = []
    with site.engine(calls={"instance_id": "one"}) as engine:
        async with Load(site, PER_S) as load:
            for _ in range(2):
                await engine.ready()
                await engine.until(lambda: flowing(engine), "to decide calls")
                began = time.monotonic()
                assert await engine.stop() == 0, engine.last_words()
                stops.append(time.monotonic() - began)
                assert engine.said("what was decided is committed")
                assert not engine.said("deadline came first")
            await engine.ready()
            await load.end()
            await site.drained(engine)
        assert await engine.stop() == 0
    verdict = await judge(site, load.sent)
    measured(f"2 x SIGTERM: {verdict}; longest stop {max(stops):.2f} s")
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats


async def test_a_dead_worker_is_started_again_and_none_outlives_the_supervisor(site):
    """`run --workers 2`: a killed worker is replaced in its slot, nothing is lost, and sums never
    fall. After kill -9 of the supervisor its workers settle, commit and end by themselves.
    """
    calls = {"session_timeout_ms": 6000, "instance_id": "host"}
    with site.engine("--workers", "2", calls=calls) as engine:
        await engine.ready()
        assert engine.metric("ringfence_workers_running") == 2
        async with Load(site, 500) as load:
            await decides(engine, 10)
            before = engine.metric("ringfence_calls_total")
            worker, *others = children(engine.process.pid)
            os.kill(worker, signal.SIGKILL)
            await engine.until(
                lambda: (
                    engine.metric("ringfence_worker_restarts_total") == 1
                    and engine.readiness()[0] == 200
                ),
                "to replace the worker",
            )
            assert engine.metric("ringfence_calls_total") >= before
            workers = children(engine.process.pid)
            assert (worker in workers, set(others) < set(workers)) == (False, True)
            await load.end()
            await site.drained(engine)
        assert engine.said("died .signal 9., again in")
        engine.kill()
        await until(
            lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers),
            "the end of workers whose supervisor is gone",
        )
        assert len(engine.said("stopped; what was decided is committed")) == 2
    verdict = await judge(site, load.sent)
    assert verdict.nothing_lost, verdict


async def test_a_stop_while_workers_load_is_in_order(site):
    """A worker that ends by SIGTERM, before it could take it, has decided nothing: no crash."""
    with site.engine("--workers", "2") as engine:
        engine.start()
        await engine.until(lambda: len(children(engine.process.pid)) == 2, "to begin its workers")
        assert await engine.stop() == 0, engine.last_words()


def children(pid: int) -> list[int]:
    """The child processes of `pid`, oldest first."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
