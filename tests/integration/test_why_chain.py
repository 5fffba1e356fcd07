"""`ringfence why`, the end of the chain: what was decided in fact, and what sinks made of it."""

import json
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stream.config.settings import Settings, load
from stream.insight.explain.deliveries import decided, delivered
from stream.kafka.batch_encoder import partitions_of
from stream.kafka.decision_history import about
from stream.kafka.topic_reader import reader
from stream.kafka.topics import ensure_topics
from tests.support.engine import Deployment
from tests.unit.edge.sinks.test_proxy_keys import decision

OURS, OTHER = "+85523900123", "+85523900777"
PARTITIONS = 4


def settings_for(folder: Path, bootstrap: str, redis_url: str, undelivered: str) -> Settings:
    """A deployment with two webhooks, of which the second wants other lists' blocks."""
    here = Deployment(
        folder,
        bootstrap,
        redis_url,
        f"""
[sinks.webhooks]
undelivered_topic = "{undelivered}"
[sinks.webhooks.endpoints.soc]
url = "https://soc.example/"
secret_env = "SOC"
[sinks.webhooks.endpoints.other]
url = "https://other.example/"
secret_env = "SOC"
lists = ["MM/scam"]
""",
    )
    return load([here.config], {})


async def put(settings: Settings, topic: str, *values: bytes, **headers: str) -> None:
    """Decisions, where the engine would put them."""
    options = settings.kafka_client().options()
    async with AIOKafkaProducer(**options, enable_idempotence=False) as producer:
        for value in values:
            number = json.loads(value)["number"].encode()
            place = int(partitions_of([number], PARTITIONS)[0])
            await producer.send_and_wait(
                topic,
                value,
                key=number,
                partition=place,
                headers=[(name, text.encode()) for name, text in headers.items()],
            )


async def commit(settings: Settings, group: str, number: str, offset: int) -> None:
    """Let a sink be as far as `offset` in the number's partition."""
    options = settings.kafka_client().options()
    place = TopicPartition(
        settings.calls.decisions_topic, int(partitions_of([number.encode()], PARTITIONS)[0])
    )
    async with AIOKafkaConsumer(**options, group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign([place])
        await consumer.commit({place: OffsetAndMetadata(offset, "")})


@pytest.mark.apache_kafka
@pytest.mark.expects_errors("Group Coordinator")
async def test_decisions_and_sinks_of_a_number(tmp_path: Path, kafka, redis_url: str) -> None:
    """Its records and nobody else's, newest last; what each sink did; the key."""
    settings = settings_for(tmp_path, kafka.bootstrap, redis_url, f"un-{tmp_path.name}")
    calls, more = settings.calls, settings.sinks.webhooks.topics()
    await ensure_topics(settings.kafka_client(), calls.names(1, more), lambda _: None)
    topic, group = calls.decisions_topic, calls.group_id
    mine = [decision(number=OURS, decision_id=f"OURS{at}") for at in range(4)]
    await put(
        settings, topic, *mine, decision(number=OTHER, decision_id="OTHER"), b'{"number":"x"}'
    )
    found, looked = await decided(settings, topic, OURS, None, 3)
    assert [one.decision["decision_id"] for one in found] == ["OURS1", "OURS2", "OURS3"]
    assert (looked["why"], looked["whole"]) == ("", True)
    async with reader(settings.kafka_client(), [topic], lambda _: None) as consumer:
        before = found[1].timestamp_ms - 1
        then, _ = await about(consumer, topic, OURS, 9, 1000, before)
        assert all(one.timestamp_ms <= before for one in then)
        none, whole = await about(consumer, topic, "+447700900001", 9, 1000)
        assert (none, whole) == ([], True)

    undelivered = settings.sinks.webhooks.undelivered_topic
    await put(settings, undelivered, mine[1], ce_id="OURS1", endpoint="soc", reason="refused")
    await commit(settings, f"{group}.redis", OURS, found[-1].offset)
    await commit(settings, f"{group}.webhook.soc", OURS, found[-1].offset)
    await commit(settings, f"{group}.webhook.other", OURS, found[0].offset)
    keys = redis.Redis.from_url(redis_url)
    keys.hset("bl:meta", mapping={"built_at": "1000", "prefix_digits": "7 11"})
    keys.hset("bl:+8552390*", mapping={"action": "block", "list": "KH/scam", "expires_at": "2000"})
    keys.hset("bl:+85523900777", mapping={"action": "block", "decision_id": "D"})
    did = await delivered(settings, OURS, found, 1060)
    assert did["why"] == ""
    assert did["decisions"] == {
        "OURS1": {"redis": "read", "soc": "given up: refused", "other": "not wanted"},
        "OURS2": {"redis": "read", "soc": "delivered", "other": "not wanted"},
        "OURS3": {"redis": "not yet read", "soc": "not yet delivered", "other": "not wanted"},
    }
    assert did["key"]["held"]["entry"] == "+8552390*"
    assert did["key"]["built_age_s"] == 60
    assert (await delivered(settings, OTHER, [], 0))["key"]["held"]["entry"] == OTHER
    assert (await delivered(settings, "+447700900001", [], 0))["key"]["held"] is None
    keys.flushdb()
    keys.close()


async def test_what_is_away_is_said(tmp_path: Path) -> None:
    """Neither Kafka nor the proxies' Redis is waited for: who asks at night gets what there is."""
    nobody = "127.0.0.1:1"
    settings = settings_for(tmp_path, nobody, f"redis://{nobody}/0", "un")
    found, looked = await decided(settings, "decisions", OURS, None, 3)
    assert (found, looked["why"]) == (
        [],
        f"decisions cannot be read: Kafka at {nobody} does not answer",
    )
    did = await delivered(settings, OURS, found, 0)
    assert "cannot be asked" in did["key"]["why"]
