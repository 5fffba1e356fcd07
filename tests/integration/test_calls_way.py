"""A call's way on a real broker: every record ends as exactly one decision or one reject."""

import asyncio
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.core import kernels
from stream.core.model.errors import SinkDown, TopicMissing
from stream.kafka import consumer
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.kafka.settings import KafkaSettings, SourceSettings, TopicsSettings
from stream.kafka.topics import TopicState, check_topics, ensure_topics
from tests.support.calls import GARBAGE, calls, id_of, lab
from tests.support.topics import written
from tests.support.waiting import HANGS_S, TRANSACTIONS_MS, until

# The first group of a new broker has to wait for the topic that holds its positions.
pytestmark = pytest.mark.expects_errors("Group Coordinator Request failed")


@pytest.mark.parametrize("fetch", ["fetcher", "aiokafka"])
async def test_every_record_ends_as_one_decision_or_one_reject(kafka, fetch):
    """Calls and garbage of all kinds, tombstones and large records among them."""
    here = await lab(kafka)
    good, bad = calls(500), [*GARBAGE, None, b"x" * 900_000]
    origins = await here.produce([*good[:250], *bad, *good[250:]])
    async with here.worker(fetch=fetch) as worker:
        await worker.until(len(origins))
        assert worker.source.partitions_by_aiokafka == (4 if fetch == "aiokafka" else 0)
    decisions, rejects = await here.outcome()
    assert decisions == Counter([*origins[:250], *origins[250 + len(bad) :]])
    assert rejects == Counter(origins[250 : 250 + len(bad)])


async def test_rejects_keep_their_bytes(kafka):
    """A rejected record can be read again unchanged, a tombstone as a tombstone."""
    here = await lab(kafka)
    bad = [*GARBAGE, None, b"\0" * 900_000]
    await here.produce(bad)
    async with here.worker() as worker:
        await worker.until(len(bad))
    records = await here.read(here.topics.rejected)
    assert Counter(record.value for record in records) == Counter(bad)
    assert all(dict(record.headers)["reason"] for record in records)


@pytest.mark.parametrize("way", [nullcontext, kernels.reference_only], ids=["compiled", "plain"])
async def test_decisions_are_cloudevents(kafka, way):
    """Kafka protocol binding, binary mode: attributes in headers, the id that of the decision."""
    here = await lab(kafka)
    with way():
        (origin,) = await here.produce(calls(1))
        async with here.worker() as worker:
            await worker.until(1)
    (record,) = await here.read(here.topics.decisions)
    assert record.key == b"+447700900000"
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"io.ringfence.decision.v1",
        "ce_source": b"/ringfence/test",
        "ce_id": id_of(*map(int, origin.split("/")[1:])),
        "content-type": b"application/json",
    }


async def test_a_restart_goes_on_where_the_last_worker_settled(kafka):
    """A worker that stops in good order leaves nothing to be repeated."""
    here = await lab(kafka)
    origins = await here.produce(calls(300))
    async with here.worker() as worker:
        await worker.until(300)
    origins += await here.produce(calls(300))
    async with here.worker() as worker:
        await worker.until(300)
    assert (await here.outcome())[0] == Counter(origins)


HANDED_OVER = [
    pytest.param({"session_timeout_ms": 10_000}, id="at least once"),
    pytest.param(
        {"exactly_once": True, "session_timeout_ms": TRANSACTIONS_MS},
        marks=pytest.mark.needs_transactions,
        id="exactly once",
    ),
    # Did it not leave, its partitions would wait a quarter of an hour.
    pytest.param(
        {"leave_on_stop": True, "session_timeout_ms": 900_000},
        marks=pytest.mark.apache_kafka,
        id="with names",
    ),
]


@pytest.mark.expects_errors("Group Coordinator Request failed")
@pytest.mark.parametrize("settings", HANDED_OVER)
async def test_two_members_share_and_hand_over_without_repeats(kafka, settings):
    """A second member comes and goes while records flow: none is lost, none is decided twice.

    With transactions each hands over between two of them.
    """
    here = await lab(kafka)
    names = settings.get("leave_on_stop", False)
    a, b = ({"name": one, "instance_id": one * names, **settings} for one in "ab")
    origins = await here.produce(calls(400))
    async with here.worker(**a) as first:
        await first.until(100)
        async with here.worker(**b) as second:
            async with asyncio.timeout(HANGS_S):
                while not (first.source.assigned and second.source.assigned):
                    origins += await here.produce(calls(40))
                    await asyncio.sleep(0.2)
            origins += await here.produce(calls(400))
            await first.until(len(origins), second)
            assert second.seen, "the second member never got records"
        origins += await here.produce(calls(100))
        await first.until(len(origins) - sum(second.seen))
    assert (await here.outcome())[0] == Counter(origins)


async def test_a_killed_worker_loses_nothing(kafka):
    """Its successor decides its uncommitted records again, with the same ids."""
    here = await lab(kafka)
    origins = await here.produce(calls(2000))
    worker = await here.started(session_timeout_ms=10_000)
    await worker.until(200)
    await worker.killed()
    async with here.worker(session_timeout_ms=10_000):
        await here.until_decided(len(origins))
    decisions, rejects = await here.outcome()
    assert (set(decisions), rejects) == (set(origins), Counter())


@pytest.mark.apache_kafka
async def test_reading_from_the_end_begins_where_the_worker_first_stood(kafka):
    """`start_at = latest`: what comes after the first start is read even if nothing was decided."""
    here = await lab(kafka)
    await here.produce(calls(10))
    worker = await here.started(start_at="latest", session_timeout_ms=10_000)
    async with asyncio.timeout(HANGS_S):
        while not worker.source.starts:  # noqa: ASYNC110 - the loop tells nobody
            await asyncio.sleep(0.05)
    await worker.killed()
    origins = await here.produce(calls(50))
    async with here.worker(start_at="latest", session_timeout_ms=10_000) as successor:
        await successor.until(50)
    assert (await here.outcome())[0] == Counter(origins)


async def test_topics_are_made_once_and_differences_are_said(kafka):
    """Making them again does nothing; what an operator chose otherwise is named, not changed."""
    here = await lab(kafka)
    reports = await ensure_topics(here.kafka, here.topics, here.observe)
    assert {(report.done, report.differences) for report in reports} == {(TopicState.KEPT, ())}
    more = TopicsSettings(here.topics.calls, here.topics.decisions, here.topics.rejected, 7, 1)
    reports = await ensure_topics(here.kafka, more, here.observe)
    assert all("4 partitions, 7 wanted" in report.differences for report in reports)


async def test_a_missing_topic_is_named_with_the_command_that_makes_it(kafka):
    """Nobody waits for ever for a topic that does not exist; nor does the broker make it up."""
    here = await lab(kafka)
    lacking = TopicsSettings(("nowhere.calls",), here.topics.decisions, here.topics.rejected, 4, 1)
    for _ in range(2):
        with pytest.raises(TopicMissing, match=r"nowhere\.calls.*ringfence topics create"):
            await check_topics(here.kafka, lacking, 1, here.observe)


@pytest.mark.expects_errors("Unable connect")
async def test_a_broker_that_is_down_is_waited_for_and_said(kafka):
    """Starting before Kafka is no error: each try is counted, and stopping it is possible."""
    events: list[CallEvent] = []
    source = KafkaSource(
        KafkaSettings("127.0.0.1:1", "ringfence-test"),
        SourceSettings(("calls",), "g", "", "earliest", 30_000, 30_000),
        events.append,
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await source.start()
    assert events
    assert set(events) == {CallEvent.KAFKA_AWAITED}


@pytest.mark.apache_kafka
@pytest.mark.expects_errors(
    "Group Coordinator Request failed|OffsetCommit failed|not found in cluster metadata"
)
@pytest.mark.parametrize("exactly_once", [False, True])
async def test_a_topic_that_is_deleted_leaves_the_others(kafka, exactly_once, monkeypatch):
    """Its positions cannot be committed any more; the other topic's calls go on, each once."""
    here = await lab(kafka)
    kept, gone = here.topics.calls[0], f"{here.topics.calls[0]}.gone"
    here.topics = replace(here.topics, calls=(kept, gone))
    await ensure_topics(here.kafka, here.topics, here.observe)
    origins = await here.produce(calls(40))
    asked, opened = asyncio.Event(), asyncio.Event()
    async with here.worker(exactly_once=exactly_once) as worker:
        await worker.until(40)
        send = worker.sink.send

        async def held(*what: Any) -> Any:
            asked.set()
            await opened.wait()
            return await send(*what)

        monkeypatch.setattr(worker.sink, "send", held)
        await written(here.bootstrap, gone, calls(8))
        await asked.wait()
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=here.bootstrap)
        await admin.start()
        await admin.delete_topics([gone])
        await admin.close()
        opened.set()
        origins += await here.produce(calls(40))
        await here.until_decided(len(origins) + 8 * (not exactly_once))
        assert not worker.task.done()
    decided, _ = await here.outcome()
    assert {one: times for one, times in decided.items() if gone not in one} == dict.fromkeys(
        origins, 1
    )


@pytest.mark.needs_transactions
async def test_the_lag_is_what_is_left_to_read(kafka, monkeypatch):
    """It grows while decisions wait, though nothing is fetched; aborted records are not left."""
    monkeypatch.setattr(consumer, "METADATA_AGE_MS", 200)
    here = await lab(kafka, partitions=1)
    (topic,) = here.topics.calls
    opened = asyncio.Event()
    async with here.worker() as worker:
        send = worker.sink.send

        async def held(*what: Any) -> Any:
            await opened.wait()
            return await send(*what)

        monkeypatch.setattr(worker.sink, "send", held)

        def is_left(least: int, most: int) -> bool:
            return least <= sum(worker.source.lags().values()) <= most

        for count in (1000, 2000, 3000):
            await here.produce(calls(1000))
            await until(partial(is_left, count - 50, count), "the lag to grow")
        opened.set()
        await worker.until(3000)
        async with AIOKafkaProducer(
            bootstrap_servers=here.bootstrap, transactional_id=topic
        ) as producer:
            await producer.begin_transaction()
            for value in calls(100):
                await producer.send(topic, value)
            await producer.abort_transaction()
        await until(partial(is_left, 0, 0), "nothing to be left")


@pytest.mark.apache_kafka
async def test_what_kafka_refuses_is_named(kafka, caplog):
    """A topic that is compacted takes no record without a key, by a code that aiokafka lacks."""
    here = await lab(kafka, partitions=1)
    here.topics = replace(here.topics, rejected=f"{here.topics.rejected}.compacted")
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=here.bootstrap)
    await admin.start()
    compacted = {"cleanup.policy": "compact"}
    await admin.create_topics([NewTopic(here.topics.rejected, 1, 1, topic_configs=compacted)])
    await admin.close()
    await here.produce([b"not a call"])
    worker = await here.started()
    with pytest.raises(SinkDown, match="the broker refused records"):
        await worker.task
    await worker.close()
    assert f"{here.topics.rejected}/0: Kafka refused records: UnknownError (87)" in caplog.text
