"""Brokers that ask who is there: the fetcher over TLS, SASL and certificates."""

import asyncio
import ssl
from dataclasses import replace

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from stream.config.settings import load
from stream.core.model.errors import FeedDown, FeedFault, KafkaRefuses
from stream.feeds.transports.kafka_topic import KafkaFeedSettings, KafkaTransport
from stream.feeds.transports.transport import Fetched
from stream.kafka.call_events import CallEvent
from stream.kafka.settings import KafkaSettings, TopicsSettings
from stream.kafka.topics import check_topics
from tests.fault.site import INNOCENT, LISTED, Site
from tests.fault.traffic import Load, decided, decides, judge
from tests.support.engine import toml
from tests.support.kafka_secured import PASSWORD, USER, Secured

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.needs_openssl,
    # aiokafka logs as an error what it could not connect to.
    pytest.mark.expects_errors("Group Coordinator Request failed|Unable connect to"),
]


@pytest.fixture
async def here(secured, redis_url, tmp_path, monkeypatch) -> Site:
    """Topics and a list; the password is where engines look for it."""
    monkeypatch.setenv("RINGFENCE_KAFKA_PASSWORD", PASSWORD)
    site = Site(secured.plain, redis_url, tmp_path)
    await site.make_topics()
    await site.make_list()
    return site


def by_sasl(secured: Secured, mechanism: str = "SCRAM-SHA-512") -> dict[str, object]:
    """An operator's settings in [kafka]."""
    return {
        "bootstrap_servers": secured.sasl,
        "security_protocol": "SASL_SSL",
        "ca_file": secured.file("ca"),
        "sasl_mechanism": mechanism,
        "sasl_username": USER,
    }


def by_certificate(secured: Secured) -> dict[str, object]:
    """The same for mutual TLS."""
    return {
        "bootstrap_servers": secured.mutual,
        "security_protocol": "SSL",
        "ca_file": secured.file("ca"),
        "cert_file": secured.file("client"),
        "key_file": secured.file("client-key"),
    }


async def test_sasl_over_tls(secured, here):
    """SCRAM, with authentications that end after two seconds: connections come again (KIP-368)."""
    with here.engine(kafka=by_sasl(secured)) as engine:
        await engine.ready()
        async with Load(here, 500) as load:
            await engine.logged("broker 1 answers again")
            await decides(engine, 5)
            await load.end()
            await here.drained(engine)
        assert await engine.stop() == 0
    verdict = await judge(here, load.sent)
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats


@pytest.mark.parametrize("way", ["PLAIN", "certificate"])
async def test_other_ways_in(secured, here, way):
    """A password as it is, inside TLS; and a certificate instead of one."""
    options = by_certificate(secured) if way == "certificate" else by_sasl(secured, way)
    with here.engine(kafka=options) as engine:
        await engine.ready()
        assert await decided(here, engine, LISTED[0], INNOCENT[0]) == ["block", "allow"]
        assert await engine.stop() == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_renewed_password_counts(secured, tmp_path, mechanism):
    """Of a file, for a client that the broker has refused by its former one."""
    (tmp_path / "password").write_text("former")
    (tmp_path / "own.toml").write_text(toml({"kafka": by_sasl(secured, mechanism)}))
    environ = {"RINGFENCE_KAFKA_PASSWORD_FILE": str(tmp_path / "password")}
    client = AIOKafkaClient(**load([tmp_path / "own.toml"], environ).kafka_client().options())
    try:
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        await client.bootstrap()
        assert client.cluster.brokers()
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("password", "Authentication failed .* RINGFENCE_KAFKA_PASSWORD"),
        ("authority", "TLS fails .*CERTIFICATE_VERIFY_FAILED.* ca_file"),
    ],
)
async def test_an_engine_that_is_refused(secured, here, monkeypatch, wrong, said):
    """It ends with exit 3, what was wrong, and where to look: waiting would not help."""
    monkeypatch.setenv("RINGFENCE_KAFKA_PASSWORD", "a guess" if wrong == "password" else PASSWORD)
    authority = "other-ca" if wrong == "authority" else "ca"
    options = {**by_sasl(secured), "ca_file": secured.file(authority)}
    with here.engine(kafka=options) as engine:
        engine.start()
        assert await engine.exit_code() == 3
        assert engine.said(f"KafkaRefuses: Kafka at {secured.sasl}: .*{said}")


@pytest.mark.parametrize(
    ("way", "changes", "said"),
    [
        ("mutual", {"security_protocol": "SSL"}, "TLS fails .*certificate.* cert_file"),
        ("sasl", {"sasl_mechanism": "SCRAM-SHA-256"}, "refuses us .*sasl_mechanism"),
        ("sasl", {"sasl_username": "nobody"}, "refuses us .*Authentication failed"),
    ],
)
async def test_other_refusals(secured, way, changes, said):
    """No certificate, another mechanism, an unknown user."""
    context = ssl.create_default_context(cafile=secured.file("ca"))
    options = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", **changes}
    kafka = KafkaSettings(
        **{"sasl_username": USER, "sasl_password": PASSWORD, "ssl": context, **options},
        bootstrap_servers=getattr(secured, way),
        client_id="test",
    )
    with pytest.raises(KafkaRefuses, match=f"(?i){said}"):
        await check_topics(kafka, TopicsSettings(("c",), "d", "r", 1, 1), 1, lambda _: None)
    await asyncio.sleep(0.1)  # what aiokafka has closed says good-bye in turns of its own


@pytest.mark.parametrize(
    ("way", "protocol", "right"),
    [
        ("sasl", "PLAINTEXT", "SSL"),
        ("sasl", "SASL_PLAINTEXT", "SASL_SSL"),
        ("sasl", "SSL", "SASL_SSL"),
        ("plain", "SSL", "PLAINTEXT"),
        ("plain", "SASL_SSL", "SASL_PLAINTEXT"),
        ("plain", "SASL_PLAINTEXT", "PLAINTEXT"),
        ("oauth", "PLAINTEXT", "SASL_PLAINTEXT"),
    ],
)
async def test_another_protocol_than_the_port_has(secured, way, protocol, right):
    """It looks like an outage, and is named, with the value to write."""
    context = ssl.create_default_context(cafile=secured.file("ca"))
    kafka = KafkaSettings(
        getattr(secured, way), "test", protocol, context, "PLAIN", USER, sasl_password=PASSWORD
    )
    with pytest.raises(KafkaRefuses, match=f"security_protocol is {protocol}: .*{right}$"):
        await check_topics(kafka, TopicsSettings(("c",), "d", "r", 1, 1), 1, lambda _: None)
    await asyncio.sleep(0.1)  # as above


async def test_a_feed_of_a_topic(secured, here, tmp_path):
    """A feed goes in by the same ways, and gets the reason of a refusal."""
    context = ssl.create_default_context(cafile=secured.file("ca"))
    kafka = KafkaSettings(
        secured.sasl, "test", "SASL_SSL", context, "SCRAM-SHA-512", USER, sasl_password=PASSWORD
    )
    settings = KafkaFeedSettings(topic=here.topics.calls[0])
    fetched = await KafkaTransport(settings, kafka).fetch({}, tmp_path / "version")
    assert isinstance(fetched, Fetched)
    wrong = KafkaTransport(settings, replace(kafka, sasl_password="a guess"))
    with pytest.raises(FeedDown, match="Authentication failed") as caught:
        await wrong.fetch({}, tmp_path / "version")
    assert caught.value.reason is FeedFault.UNAUTHORISED
    await asyncio.sleep(0.1)  # as above


class Awaited(Exception):
    """The worker waits for a broker."""


async def test_an_outage_is_no_refusal(secured):
    """An address where nobody listens is waited for."""

    def observe(event: CallEvent) -> None:
        assert event is CallEvent.KAFKA_AWAITED
        raise Awaited

    kafka = KafkaSettings(f"127.0.0.1:{secured.slow}", "test")
    with pytest.raises(Awaited):
        await check_topics(kafka, TopicsSettings(("c",), "d", "r", 1, 1), 1, observe)
    await asyncio.sleep(0.1)  # as above
