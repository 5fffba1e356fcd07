"""Exactly once: a reader of committed records sees one outcome per record, whatever dies."""

import asyncio
import gc
import time
from collections import Counter

import pytest

from stream.core.model.errors import SinkDown
from stream.kafka.call_events import CallEvent
from tests.support.calls import GARBAGE, calls, decide_all, lab
from tests.support.waiting import HANGS_S, TRANSACTIONS_MS

pytestmark = [
    pytest.mark.needs_transactions,
    pytest.mark.expects_errors(
        "Group Coordinator Request failed|Unexpected error in sender routine|ProducerFenced"
    ),
]


async def test_each_record_is_seen_once(kafka):
    """Calls and garbage through many transactions, and a restart between."""
    here = await lab(kafka)
    good, bad = calls(600), [*GARBAGE, None]
    origins = await here.produce([*good, *bad])
    for _ in range(2):
        async with here.worker(exactly_once=True) as worker:
            if not sum((await here.outcome())[0].values()):
                await worker.until(len(origins))
    decisions, rejects = await here.outcome()
    assert decisions == Counter(origins[:600])
    assert rejects == Counter(origins[600:])


async def test_workers_that_die_in_a_transaction_leave_no_double(kafka):
    """Killed again and again at odd moments: the successor fences, aborts, and reads again."""
    here = await lab(kafka)
    origins = await here.produce(calls(3000))
    for kill in range(6):
        worker = await here.started(exactly_once=True, session_timeout_ms=TRANSACTIONS_MS)
        await worker.until(50 + 30 * kill)
        await asyncio.sleep(0.003 * kill)
        await worker.killed()
    async with here.worker(exactly_once=True, session_timeout_ms=TRANSACTIONS_MS):
        await here.until_decided(len(origins))
    assert (await here.outcome())[0] == Counter(origins)


async def test_a_worker_that_was_paused_asks_the_group_before_it_goes_on(kafka):
    """Paused between taking and publishing, and still a member: each batch is decided once."""
    here = await lab(kafka)
    origins = await here.produce(calls(200))
    pauses = [0.5, 0.5]

    def slow_at_first(batch):
        if pauses:
            time.sleep(pauses.pop())
        return decide_all(batch)

    worker = await here.started(exactly_once=True, decide=slow_at_first, hold_s_max=0.4)
    await worker.until(200)
    worker.loop.stop()
    await worker.task
    await worker.close()
    assert (await here.outcome())[0] == Counter(origins)
    assert here.events[CallEvent.BATCH_DROPPED] == 0
    assert here.events[CallEvent.COMMITTED] >= 2, "each pause outlived the group's word"


async def test_a_worker_whose_id_another_took_ends(kafka):
    """Two workers with one transactional id: the older is fenced off and says so."""
    here = await lab(kafka)
    old = await here.started(exactly_once=True, name="same")
    origins = await here.produce(calls(20))
    await old.until(20)
    async with here.worker(exactly_once=True, name="same") as new:
        origins += await here.produce(calls(400))
        async with asyncio.timeout(HANGS_S):
            while len((await here.outcome())[0]) < len(origins):
                await asyncio.sleep(0.2)
                if old.task.done():
                    with pytest.raises(SinkDown):
                        old.task.result()
                    await old.close()
        assert new.seen
    assert old.task.done(), "the old worker never noticed"
    del old
    gc.collect()  # a future of aiokafka's fenced producer complains when it goes: let it go here
    assert (await here.outcome())[0] == Counter(origins)
