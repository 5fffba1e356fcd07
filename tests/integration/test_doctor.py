"""`ringfence doctor` on a real Kafka and Redis, well and broken."""

from pathlib import Path

import pytest
import redis as redis_client
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.config.settings import Settings, load
from stream.doctor.kafka_checks import check_kafka
from stream.doctor.redis_checks import check_list_store, check_proxies
from stream.doctor.result import Grade
from stream.kafka.topics import ensure_topics
from stream.lab.embedded import apache_kafka
from tests.support.engine import Deployment

LIKE = {"2.8": "2.7 to 3.0", "3.9": "3.9 or newer", "4.1": "3.9 or newer"}


def settings_for(folder: Path, bootstrap: str, redis_url: str, more: str = "") -> Settings:
    """A deployment of its own."""
    return load([Deployment(folder, bootstrap, redis_url, more).config], {})


@pytest.mark.apache_kafka
@pytest.mark.expects_errors("Group Coordinator")
async def test_kafka_without_and_with_topics(tmp_path: Path, kafka, redis_url: str) -> None:
    """Missing topics are failures; with them all is well, and trying to write has left nothing."""
    settings = settings_for(tmp_path, kafka.bootstrap, redis_url)
    lines = await check_kafka(settings)
    assert [line.fix for line in lines if line.grade is Grade.FAIL] == [
        *["ringfence topics create"] * 3
    ]
    client = settings.kafka_client()
    await ensure_topics(client, settings.calls.names(1), lambda _: None)
    lines = await check_kafka(settings)
    assert Grade.FAIL not in {line.grade for line in lines}, lines
    said = "\n".join(line.said for line in lines)
    assert f"like Kafka {LIKE[apache_kafka.VERSION[:3]]}" in said
    assert f"may read {settings.calls.names(1).calls[0]}" in said
    assert f"may write {settings.calls.decisions_topic}" in said
    async with AIOKafkaConsumer(**client.options()) as consumer:
        places = [TopicPartition(settings.calls.decisions_topic, number) for number in range(4)]
        assert set((await consumer.end_offsets(places)).values()) == {0}


async def test_redis_well_and_broken(tmp_path: Path, kafka, redis_url: str) -> None:
    """Set up as it has to be; then evicting, then away: each line with its fix."""
    settings = settings_for(tmp_path, kafka.bootstrap, redis_url)
    assert {line.grade for line in await check_list_store(settings.list_store())} == {Grade.OK}
    with redis_client.Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            lines = await check_list_store(settings.list_store())
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    (bad,) = [one for one in lines if one.grade is Grade.FAIL]
    assert "maxmemory-policy noeviction" in bad.fix
    away = settings_for(
        tmp_path,
        "127.0.0.1:1",
        "redis://127.0.0.1:1/0",
        'sinks.redis.url = "redis://127.0.0.1:1/1"',
    )
    assert [line.grade for line in await check_list_store(away.list_store())] == [Grade.FAIL]
    (line,) = await check_proxies(away.proxies())
    assert line.fix == "start it, or [sinks.redis] url"
    (nobody,) = await check_kafka(away)
    assert nobody.said == "nobody listens at 127.0.0.1:1"
