"""The last moment of a transaction: what the next reader of a partition would begin with."""

import asyncio
from collections import Counter

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.support.calls import calls, lab
from tests.support.waiting import TRANSACTIONS_MS

pytestmark = [
    pytest.mark.needs_transactions,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]


async def test_partitions_go_only_when_the_group_shows_what_was_committed(kafka):
    """A settled worker's positions are those that anybody who asks at once is given.

    Without waiting for it about a third of the rounds fail: the broker says that a transaction is
    committed before the group's coordinator knows, and the next reader would repeat a batch.
    """
    here = await lab(kafka)
    origins = await here.produce(calls(4000))
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
