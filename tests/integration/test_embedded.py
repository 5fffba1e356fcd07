"""The embedded servers: what they promise to the demo and to every other test."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis as redis_client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.lab.embedded import RedisServer, apache_kafka, best_broker, best_redis
from stream.lab.embedded.guarded_server import answers_metadata
from tests.plugins.run_broker import RunBroker
from tests.support.waiting import HANGS_S, until_now

CHILD = """
import signal, sys, time
# A shell that runs this in the background has Ctrl-C ignored, and so would we.
signal.signal(signal.SIGINT, signal.default_int_handler)
from stream.lab.embedded import best_broker, best_redis
server = best_broker("tansu") if sys.argv[1] == "tansu" else best_redis()
print(server.pid, server._server.folder, flush=True)
time.sleep(60)
"""


def wait_until_gone(pid: int, folder: Path) -> None:
    """Return when neither process nor folder is left."""
    until_now(
        lambda: not (Path(f"/proc/{pid}").exists() or folder.exists()),
        f"the end of process {pid} and of {folder}",
    )


async def write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def test_what_is_written_to_the_broker_can_be_read(kafka: RunBroker) -> None:
    """The session's broker takes a topic and records, and gives them back."""
    await create_topic(kafka.bootstrap, "embedded-round-trip")
    await write(kafka.bootstrap, "embedded-round-trip", [b"1", b"2"])
    assert await read(kafka.bootstrap, "embedded-round-trip", 2) == [b"1", b"2"]


@pytest.mark.apache_kafka
async def test_kafka_keeps_acknowledged_records_over_kill_and_stop() -> None:
    """Acknowledged records survive kill -9 and a stop of Kafka, at the same address."""
    with best_broker("kafka") as broker:
        await create_topic(broker.bootstrap, "kept")
        await write(broker.bootstrap, "kept", [b"1"])
        broker.kill()
        assert not broker.is_running()
        broker.start()
        await write(broker.bootstrap, "kept", [b"2"])
        broker.stop()
        broker.start()
        assert await read(broker.bootstrap, "kept", 2) == [b"1", b"2"]


@pytest.mark.apache_kafka
@pytest.mark.campaign
def test_kafka_starts_with_and_without_its_classes(tmp_path: Path, monkeypatch) -> None:
    """A first broker leaves them beside the jars; wrong ones keep no other from starting."""
    libs = apache_kafka.jars()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "ringfence" / f"kafka-{apache_kafka.VERSION}"
    cache.mkdir(parents=True)
    (cache / "libs").symlink_to(libs)
    archive = cache / "classes.jsa"
    # A Java without an archive of its own classes makes none of Kafka's.
    can = subprocess.run(["java", "-Xshare:on", "-version"], capture_output=True, check=False)
    with apache_kafka.server() as server:
        assert (archive.stat().st_size > 1 << 20) is (can.returncode == 0)
        server.start()
    archive.unlink()
    archive.write_bytes(b"classes of nobody")
    with apache_kafka.server() as server:
        server.start()
        assert answers_metadata(server.port)


async def test_tansu_can_be_asked_for_by_name() -> None:
    """The pip-only broker starts, takes and gives records, and says what it cannot do."""
    with best_broker("tansu") as broker:
        assert broker.title.startswith("Tansu ")
        assert not broker.supports_transactions
        await create_topic(broker.bootstrap, "small")
        await write(broker.bootstrap, "small", [b"1"])
        assert await read(broker.bootstrap, "small", 1) == [b"1"]


@pytest.mark.parametrize("choice", ["auto", "valkey"])
def test_redis_is_safe_for_a_register(choice: str) -> None:
    """It appends every write to disk, evicts nothing, and has its entries after kill -9."""
    with best_redis(choice) as server:
        with redis_client.Redis.from_url(server.url()) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            client.set("a", "1")
            time.sleep(1.1)  # appendfsync everysec
        server.kill()
        server.start()
        with redis_client.Redis.from_url(server.url()) as client:
            assert client.get("a") == b"1"


def test_each_redis_url_is_an_empty_database(redis_url: str, redis_server: RedisServer) -> None:
    """A test finds nothing of another test in its database."""
    with redis_client.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("a", "1")
    assert redis_url.startswith(redis_server.url().rsplit("/", 1)[0])


@pytest.mark.parametrize("kind", ["redis", "tansu"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_owner_dies(kind: str, sent: signal.Signals) -> None:
    """After kill -9 or Ctrl-C of its owner, neither the server nor its folder is left."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        assert Path(folder).exists()
        owner.send_signal(sent)
        owner.wait(HANGS_S)
        wait_until_gone(int(pid), Path(folder))


def test_the_server_dies_with_a_killed_guard() -> None:
    """Even where the guard itself is killed, the server does not outlive it."""
    with best_redis() as server:
        pid, guard = server.pid, server._server._guard
        os.kill(guard.pid, signal.SIGKILL)
        guard.wait()
        folder = server._server.folder
    wait_until_gone(pid, folder)
