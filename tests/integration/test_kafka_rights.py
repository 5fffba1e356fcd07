"""Each service does its work with the rights in Kafka of the chart's table, and no others."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from stream.calls.publish import started_producer
from stream.config.settings import load
from stream.doctor.kafka_checks import check_kafka
from stream.doctor.result import Grade
from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.kafka.settings import KafkaSettings
from stream.lab.embedded.guarded_server import free_ports
from tests.integration.test_serve_whole import TOKEN, asked, found
from tests.support.chart import rights, services
from tests.support.engine import LISTED, WAIT_S, Deployment, Engine, records
from tests.support.kafka_guarded import PASSWORD, Guarded, guarded_broker
from tests.support.topics import read
from tests.support.waiting import TRANSACTIONS_MS, until

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]
USERS = tuple(name for name, one in services().items() if "kafka" in one)
USER, LACKING = "RINGFENCE_KAFKA__SASL_USERNAME", "lacking"
SASL = 'kafka.security_protocol = "SASL_PLAINTEXT"'
MORE = """
feeds.dir = "{folder}/feeds"
ingest.state_dir = "{folder}/places"
exchange.dir = "{folder}/repository"
exchange.keys_dir = "{folder}/keys"
serve.port = {serve}
serve.health_port = {http}
sinks.redis.http_port = {sink_redis}
sinks.webhooks.http_port = {sink_webhooks}
sinks.webhooks.undelivered_topic = "undelivered"
ingest.http_port = {ingest}
enforcement.http_port = {enforcement}
[sinks.webhooks.endpoints.crm]
url = "http://127.0.0.1:1/"
secret_env = "RINGFENCE_CRM"
private_addresses = true
give_up_s = 1
"""

FEED_TOPIC = "partner.numbers"
FEED = f"""
list = "TH/telecoms"
format = "ringfence"
owner = {{name = "TH", contact = "scam@cert.example"}}
from = {{kind = "kafka", topic = "{FEED_TOPIC}"}}
schedule = {{every = "1s"}}
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """The broker of the tests here."""
    with guarded_broker((*USERS, LACKING)) as made:
        yield made


async def test_each_service_works_with_its_rights(
    guarded: Guarded, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topics are made. A record comes by HTTP and one by a file, both are decided exactly once, and
    the decisions reach the proxies' keys, a webhook's undelivered ones, the pages, and the counts.
    """
    names = ("serve", "http", "sink_redis", "sink_webhooks", "ingest", "enforcement")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    tokens = tmp_path / "tokens"
    tokens.write_text(line_of(Client("whole", ClientRole.OPERATOR), TOKEN))
    for variable, value in {
        "RINGFENCE_HTTP_TOKENS_FILE": str(tokens),
        "RINGFENCE_KAFKA_PASSWORD": PASSWORD,
        "RINGFENCE_CRM": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "RINGFENCE_CALLS__DELIVERY": "exactly_once",
        "RINGFENCE_CALLS__SESSION_TIMEOUT_MS": str(TRANSACTIONS_MS),
        USER: "topics",
    }.items():
        monkeypatch.setenv(variable, value)
    more = SASL + MORE.format(folder=tmp_path, **ports)
    here = Deployment(tmp_path, guarded.sasl, redis_url, more)
    settings = load([here.config], os.environ)
    for user in USERS:
        await guarded.grant(user, rights(user, settings, feeds=(FEED_TOPIC,)))
    here.made("KH/scam")
    (tmp_path / "calls.jsonl").write_bytes(records(1, series="file")[0] + b"\n")

    with ExitStack() as stack:

        def runs(service: str, *words: str) -> Engine:
            monkeypatch.setenv(USER, service)
            command = (*services()[service]["command"], *words)
            port = ports.get(service.replace("-", "_"), here.port)
            engine: Engine = stack.enter_context(here.engine(command=command, port=port))
            return engine

        worker = runs("worker")
        sink, webhooks, counts = runs("sink-redis"), runs("sink-webhooks"), runs("enforcement")
        http = runs("http")
        for one in (worker, sink, webhooks, counts, http):
            one.until_ready()
        # Only now: a webhook's endpoint begins with what is decided from its start on.
        ingest = runs("ingest", str(tmp_path / "calls.jsonl"), "--dialect", "ringfence")
        ingest.until_ready()
        body = records(1, series="http")[0]
        http.until(lambda: asked(ports["serve"], "/v1/calls/ringfence", body)[0] == 202)
        ids: set[str] = set()

        async def decided() -> bool:
            records = await read(guarded.plain, here.decisions)
            ids.update(json.loads(one.value)["decision_id"] for one in records)
            return len(ids) == 2

        await until(decided, "both calls are decided, and the transactions are committed")
        keys = redis.Redis.from_url(redis_url, decode_responses=True)
        sink.until(lambda: keys.exists(f"bl:{LISTED}"))
        keys.close()
        for decision_id in ids:
            http.until(partial(found, ports["serve"], f"/v1/decisions/{decision_id}"))
        counts.until(lambda: counts.metric("ringfence_enforcement_calls_total") >= 2)
        webhooks.until(
            lambda: webhooks.metric("ringfence_webhook_events_total", outcome="given_up") >= 2
        )
        # Beside the service, as an operator does once the receiver is repaired; here it is not.
        monkeypatch.setenv(USER, "sink-webhooks")
        told = here.types("sink", "resend", "--for", "1s", code=1)
        assert "crm: 0 delivered, 2 not taken again" in told
    await _feed_of_a_topic(guarded, here, monkeypatch)


async def _feed_of_a_topic(
    guarded: Guarded, here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetch one, as the user of `feeds run`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=guarded.plain)
    await admin.start()
    await admin.create_topics([NewTopic(FEED_TOPIC, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=guarded.plain) as producer:
        await producer.send_and_wait(FEED_TOPIC, b'{"confidence": 90}', key=b"+66812345670")
    (here.folder / "feeds").mkdir()
    (here.folder / "feeds/telecoms.toml").write_text(FEED)
    monkeypatch.setenv(USER, "feeds")
    assert "+1 -0 numbers" in here.types("feeds", "pull", "telecoms")


async def test_each_missing_right_is_named(
    guarded: Guarded, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` says what a user lacks that may only describe, and a worker names the first of it,
    each with the command that gives it.
    """
    monkeypatch.setenv("RINGFENCE_KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("RINGFENCE_CALLS__DELIVERY", "exactly_once")
    monkeypatch.setenv("RINGFENCE_CALLS__SESSION_TIMEOUT_MS", str(TRANSACTIONS_MS))
    monkeypatch.setenv(USER, LACKING)
    here = Deployment(tmp_path, guarded.sasl, redis_url, SASL)
    settings = load([here.config], os.environ)
    group = settings.calls.group_id
    await guarded.grant("topics", rights("topics", settings))
    monkeypatch.setenv(USER, "topics")
    here.types("topics", "create")
    monkeypatch.setenv(USER, LACKING)
    given = [one._replace(may=("Describe",)) for one in rights("worker", settings)]
    await guarded.grant(LACKING, given)

    async def named() -> bool:
        lines = await check_kafka(settings)
        found = {one.fix.partition(" --operation ")[2] for one in lines if one.grade is Grade.FAIL}
        return found == {
            f"Read --topic {here.calls}",
            f"Write --topic {here.decisions}",
            f"Write --topic {settings.calls.rejected_topic}",
            f"Read --group {group}",
            f"Write --transactional-id {group}. --resource-pattern-type prefixed",
        }

    await until(named, "each is named, once the coordinators are there", 1.0)
    with here.engine() as engine:
        assert engine.process.wait(WAIT_S) == 1
        assert engine.said(f"lacks the right Write on transactional-id {group}[.]test: kafka-acls")
    transactions = next(one for one in rights("worker", settings) if one.of == "transactionalId")
    await guarded.grant(LACKING, [transactions])
    with here.engine() as engine:
        assert engine.process.wait(WAIT_S) == 1
        assert engine.said(f"lacks the right Read on group {group}: kafka-acls.sh --add")


@pytest.mark.expects_errors("Topic nobody-made-it not found")
async def test_asking_for_a_topic_does_not_make_it(guarded: Guarded) -> None:
    """Only `ringfence topics create` makes one: a broker would make one with a partition."""
    kafka = KafkaSettings(guarded.plain, "test", patience_s=2.0)
    producer = await started_producer(kafka, lambda _: None)
    with pytest.raises(UnknownTopicOrPartitionError):
        await producer.partitions_for("nobody-made-it")
    await producer.stop()
    async with AIOKafkaConsumer(bootstrap_servers=guarded.plain) as consumer:
        assert "nobody-made-it" not in await consumer.topics()


async def test_nobody_may_do_anothers_work(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own rights a sink writes no calls, and `serve` reads none."""
    monkeypatch.setenv("RINGFENCE_KAFKA_PASSWORD", PASSWORD)
    here = Deployment(tmp_path, guarded.sasl, "redis://127.0.0.1:1/0", SASL)
    given = {USER: "topics", "RINGFENCE_KAFKA_PASSWORD": PASSWORD}
    settings = load([here.config], given)
    for user in ("topics", "sink-redis", "http"):
        await guarded.grant(user, rights(user, settings))
    monkeypatch.setenv(USER, "topics")
    here.types("topics", "create")
    sink = load([here.config], {**given, USER: "sink-redis"}).kafka_client().options()
    async with AIOKafkaProducer(**sink, enable_idempotence=False) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(here.calls, b"{}")
    http = load([here.config], {**given, USER: "http"}).kafka_client().options()
    async with AIOKafkaConsumer(**http, group_id=None) as consumer:
        consumer.assign([TopicPartition(here.calls, 0)])
        with pytest.raises(TopicAuthorizationFailedError):
            await consumer.getone()
