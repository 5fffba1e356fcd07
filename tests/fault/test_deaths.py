"""kill -9 of a worker, rebalances and SIGTERM under load: by decision id nothing is lost."""

import asyncio
import os
import random
import signal
import time

import pytest

from tests.fault.engine import Engine
from tests.fault.site import show
from tests.fault.traffic import Load, judge

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
    pytest.mark.timeout(300),
]

ROUNDS = int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "20"))
PER_S = 1500
DELIVERIES = pytest.mark.parametrize(
    ("delivery", "session_ms"), [("at_least_once", 6000), ("exactly_once", 13_000)]
)


def flowing(engine: Engine) -> bool:
    """Whether it has decided something since its start."""
    return engine.metric("ringfence_batch_seconds_count", step="publish") > 0


@DELIVERIES
async def test_kill_9_under_load(site, capsys, delivery, session_ms):
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
    show(
        capsys, f"{ROUNDS} x kill -9, {delivery}: {verdict}; {time.monotonic() - began:.0f} s"
    )
    assert verdict.nothing_lost, verdict
    assert delivery == "at_least_once" or not verdict.repeats
