"""Topics that change under a running engine: more partitions, and deleted and made again."""

import json
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.fault.site import LISTED, Site
from tests.fault.traffic import call, decided, produce
from tests.support.waiting import TRANSACTIONS_MS, until

pytestmark = [
    pytest.mark.apache_kafka,
    # It takes ten seconds until a change is noticed.
    pytest.mark.campaign,
    pytest.mark.expects_errors,
]


async def asks(site: Site, what: str, *words: Any) -> Any:
    """One request of an admin client, which aiokafka has untyped."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=site.bootstrap)
    await admin.start()
    try:
        return await getattr(admin, what)(*words)
    finally:
        await admin.close()


@pytest.mark.parametrize("start_at", ["earliest", "latest"])
async def test_partitions_that_are_added_are_read(site: Site, measured: Any, start_at: str) -> None:
    """Records that come before the engine knows of a new partition are decided, from its first."""
    with site.engine(calls={"start_at": start_at}) as engine:
        await engine.ready()
        await engine.reads(site.partitions)
        assert await decided(site, engine, LISTED[0]) == ["block"]
        before, more = site.partitions, site.partitions + 2
        await asks(site, "create_partitions", {site.topics.calls[0]: NewPartitions(more)})
        began_s = time.monotonic()
        # Of the calls alone: the decisions' topic keeps its own.
        site.partitions = more
        await produce(site, [call(f"added {n}", LISTED[n]) for n in range(3 * more)])
        await site.drained(engine)
        site.partitions = before
        measured(f"start_at {start_at}: after {time.monotonic() - began_s:.0f} s")
        told = [json.loads(one.value) for one in await site.records(site.topics.decisions)]
        blocked = {one["call_id"] for one in told if one["verdict"] == "block"}
        assert blocked >= {f"added {n}" for n in range(3 * more)}
        await engine.reads(more)
        assert await engine.stop() == 0


@pytest.mark.parametrize(
    ("start_at", "more"), [("earliest", False), ("latest", False), ("latest", True)]
)
async def test_a_topic_that_is_made_again_is_read_from_its_beginning(
    site: Site, measured: Any, start_at: str, more: bool
) -> None:
    """A position of the former one counts no more; the worker runs on.

    It lies beyond the end of the new one, or amid its records: then Kafka refuses nothing, and only
    the topic's id tells.
    """
    before, after = (4, 100) if more else (40, 4)
    with site.engine(calls={"start_at": start_at}) as engine:
        await engine.ready()
        await engine.reads(site.partitions)
        assert await decided(site, engine, *LISTED[:before]) == ["block"] * before
        topic = site.topics.calls[0]
        await asks(site, "delete_topics", [topic])

        async def is_gone() -> bool:
            return topic not in await asks(site, "list_topics")

        await until(is_gone, "the end of the topic")
        await site.make_topics()
        began_s = time.monotonic()
        await produce(site, [call(f"again {n}", LISTED[n]) for n in range(after)])
        wanted = {f"again {n}" for n in range(after)}

        async def are_decided() -> bool:
            records = await site.records(site.topics.decisions)
            told = [json.loads(one.value) for one in records]
            return {one["call_id"] for one in told if one["verdict"] == "block"} >= wanted

        await engine.until(are_decided, "to decide all calls of the new topic")
        measured(f"{start_at}, {after} calls after {before}: {time.monotonic() - began_s:.0f} s")
        assert await engine.stop() == 0


@pytest.mark.parametrize(
    ("start_at", "delivery"), [("earliest", "exactly_once"), ("latest", "at_least_once")]
)
async def test_a_position_beyond_the_end_does_not_stop_a_worker(
    site: Site, start_at: str, delivery: str
) -> None:
    """After an unclean election, or on a mirror, the group's position may lie beyond the end.

    Each start ended again before, since what was read then lay before the position.
    """
    topic = site.topics.calls[0]
    await produce(site, [call(f"before {n}", LISTED[n]) for n in range(2 * site.partitions)])
    beyond = {TopicPartition(topic, one): 1000 for one in range(site.partitions)}
    async with AIOKafkaConsumer(
        bootstrap_servers=site.bootstrap, group_id=f"{site.name}.group", enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(beyond))
        await consumer.commit(beyond)
    calls = {"start_at": start_at, "delivery": delivery, "session_timeout_ms": TRANSACTIONS_MS}
    with site.engine(calls=calls) as engine:
        await engine.ready()
        resets = "ringfence_call_events_total"
        await engine.until(
            lambda: engine.metric(resets, event="position_reset") == site.partitions, "to go back"
        )
        await produce(site, [call(f"after {n}", LISTED[n]) for n in range(2 * site.partitions)])

        async def told() -> set[str]:
            records = await site.records(site.topics.decisions)
            return {json.loads(one.value)["call_id"] for one in records}

        wanted = {f"after {n}" for n in range(2 * site.partitions)}
        if start_at == "earliest":
            wanted |= {f"before {n}" for n in range(2 * site.partitions)}

        async def are_decided() -> bool:
            return await told() >= wanted

        await engine.until(are_decided, "to decide what is there")
        assert await told() == wanted
        assert await engine.stop() == 0
    held = await site.committed()
    assert held == await site.ends(), "it commits where it is, not where it was"
