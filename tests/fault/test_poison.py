"""A record that stops workers: set aside after two crashes, and the stream goes on."""

import json
import time
from collections import Counter

import pytest

from tests.fault.engine import Engine
from tests.fault.poisoned import POISON
from tests.fault.site import INNOCENT, LISTED, Site
from tests.fault.traffic import call, produce
from tests.support.waiting import HANGS_S, TRANSACTIONS_MS

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.needs_transactions,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
    pytest.mark.timeout(300),
]


def with_a_bug(engine: Engine, how: str) -> Engine:
    """The same engine, which a record that holds POISON stops."""
    engine.command[1:3] = ["-m", "tests.fault.poisoned", how]
    return engine


async def lives(site: Site, engine: Engine) -> int:
    """Start it again until it is through with all records; how often it ended before."""
    ends = 0
    deadline = time.monotonic() + 4 * HANGS_S
    while True:
        engine.start()
        try:
            await engine.until(lambda: engine.readiness()[0] == 200, "to be ready")
            await site.drained(engine)
        except AssertionError:
            assert engine.process.poll() is not None, engine.last_words()
            assert time.monotonic() < deadline, engine.last_words()
            ends += 1
        else:
            return ends


LONG = pytest.mark.campaign


# Each way once and each delivery once; the other two pairs are started as often again.
@pytest.mark.parametrize(
    ("how", "most", "delivery"),
    [
        ("raises", 2, "at_least_once"),
        ("dies", 4, "exactly_once"),
        pytest.param("raises", 2, "exactly_once", marks=LONG),
        pytest.param("dies", 4, "at_least_once", marks=LONG),
    ],
)
async def test_a_record_that_stops_workers_goes_to_the_rejected(site, how, most, delivery):
    """With its bytes and the reason; every other call is decided, exactly once where that is asked
    for, and the next start finds nothing to do.
    """
    poison = call("poison", LISTED[0])[:-1] + b',"' + POISON + b'":1}'
    values: list[bytes | None] = [
        call(f"c{row}", (LISTED if row % 2 else INNOCENT)[row]) for row in range(400)
    ]
    values[202] = poison
    (at,) = (await produce(site, values))[202:203]
    calls = {"delivery": delivery, "session_timeout_ms": TRANSACTIONS_MS, "instance_id": "one"}
    with with_a_bug(site.engine(calls=calls), how) as engine:
        assert 1 <= await lives(site, engine) <= most
        assert engine.metric("ringfence_records_rejected_total", reason="stopped_worker") == 1
        assert engine.said("has stopped workers and is set aside")
        assert await engine.stop() == 0
        await engine.ready()
        assert not engine.said("probed one by one")
        assert await engine.stop() == 0
    (rejected,) = await site.records(site.topics.rejected)
    headers = {name: value.decode() for name, value in rejected.headers}
    assert rejected.value == poison
    assert headers["reason"] == "stopped_worker"
    assert headers["origin"] == f"{at.topic}/{at.partition}/{at.offset}"
    decided = [json.loads(one.value) for one in await site.records(site.topics.decisions)]
    times = Counter(one["call_id"] for one in decided)
    assert times.keys() == {f"c{row}" for row in range(400) if row != 202}
    assert delivery == "at_least_once" or set(times.values()) == {1}
    verdicts = {one["call_id"]: one["verdict"] for one in decided}
    assert all(
        (verdicts[f"c{row}"] == "block") == bool(row % 2) for row in range(400) if row != 202
    )
