"""SASL OAUTHBEARER: tokens of an identity provider open a real broker."""

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from aiohttp import web
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed

from stream.core.model.errors import KafkaRefuses
from stream.kafka.oauth_tokens import ClientCredentials
from stream.kafka.settings import KafkaSettings, OAuthSettings, TopicsSettings
from stream.kafka.topics import check_topics
from stream.ops.renewed_secret import RenewedSecret
from tests.fault.site import Site
from tests.fault.traffic import Load, decides, judge
from tests.support.kafka_secured import PASSWORD, USER

BROKER = [
    pytest.mark.apache_kafka,
    pytest.mark.needs_openssl,
    pytest.mark.expects_errors("Group Coordinator Request failed|Unable connect to"),
]


@dataclass
class Provider:
    """An identity provider: what it answers, and what it was asked."""

    url: str = ""
    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    life_s: float = 60
    asked: list[dict[str, str]] = field(default_factory=list)

    async def token(self, request: web.Request) -> web.Response:
        """A token without a signature, which the broker of tests takes."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        scheme, _, pair = request.headers["Authorization"].partition(" ")
        login, _, password = base64.b64decode(pair).decode().partition(":")
        self.asked.append({**form, scheme: unquote_plus(login), "password": unquote_plus(password)})
        now_s = time.time()
        claims = {"sub": USER, "iat": now_s, "exp": now_s + self.life_s}
        parts = ({"alg": "none"}, claims)
        texts = [
            base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts
        ]
        given = {"access_token": ".".join((*texts, "")), "expires_in": self.life_s}
        return web.json_response({**given, **self.answer}, status=self.status)

    def settings(self, **more: Any) -> OAuthSettings:
        """The settings of `[kafka]` that name it."""
        return OAuthSettings(self.url, USER, PASSWORD, **more)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """One that answers."""
    made = Provider()
    app = web.Application()
    app.router.add_post("/token", made.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield made
    await runner.cleanup()


async def test_a_token_is_asked_for_once_in_its_life(provider: Provider) -> None:
    """By client credentials with the scope; the next one comes before the broker refuses it."""
    tokens = ClientCredentials(provider.settings(scope="kafka", extensions={"cluster": "lkc-1"}))
    first = await tokens.token()
    assert await tokens.token() == first
    assert provider.asked == [
        {"grant_type": "client_credentials", "scope": "kafka", "Basic": USER, "password": PASSWORD}
    ]
    assert tokens.extensions() == {"cluster": "lkc-1"}
    short = ClientCredentials(provider.settings())
    provider.life_s = 0
    assert await short.token() != await short.token()


@pytest.mark.parametrize(
    ("said", "life_s"),
    [("3600", 3600), (0.5, 0.5), (None, 300), ("soon", 300), ("inf", 300), ([], 300)],
)
async def test_a_life_is_read_as_providers_write_it(
    provider: Provider, said: object, life_s: float
) -> None:
    """Some write it as text: no token was taken then, and no worker connected."""
    provider.answer = {"expires_in": said}
    assert (await ClientCredentials(provider.settings())._new())[1] == life_s


async def test_a_renewed_secret_is_used_for_the_next_token(
    provider: Provider, tmp_path: Path
) -> None:
    """The client's secret of a file counts without a restart."""
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    secret = RenewedSecret(file, PASSWORD, str)
    tokens = ClientCredentials(OAuthSettings(provider.url, USER, secret))
    provider.life_s = 0
    await tokens.token()
    file.write_text("the second one")
    await tokens.token()
    assert [one["password"] for one in provider.asked] == [PASSWORD, "the second one"]


@pytest.mark.parametrize(
    ("status", "answer", "kind", "said"),
    [
        (401, {"error": "invalid_client"}, SaslAuthenticationFailed, "the client .*invalid_client"),
        (400, {"error": "invalid_scope", "error_description": "no such scope"},
         SaslAuthenticationFailed, "no such scope"),
        (503, {}, KafkaConnectionError, "no token, status 503"),
        (302, {}, KafkaConnectionError, "no token, status 302"),
        (200, {"access_token": 1}, KafkaConnectionError, "no token"),
    ],
)  # fmt: skip
async def test_why_there_is_no_token(
    provider: Provider, status: int, answer: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """A refusal and an outage differ, and both name the address."""
    provider.status, provider.answer = status, answer
    with pytest.raises(kind, match=f"{provider.url}.*{said}"):
        await ClientCredentials(provider.settings()).token()
    away = OAuthSettings("http://127.0.0.1:1/token", USER, PASSWORD)
    with pytest.raises(KafkaConnectionError, match=r"127\.0\.0\.1:1/token"):
        await ClientCredentials(away).token()


class TestOnABroker:
    """Apache Kafka with a listener for tokens."""

    pytestmark = BROKER

    async def test_an_engine_by_tokens(
        self, secured, redis_url, tmp_path, monkeypatch, provider: Provider
    ) -> None:
        """Authentications end after two seconds: connections come again, nothing is lost."""
        monkeypatch.setenv("RINGFENCE_KAFKA_PASSWORD", PASSWORD)
        here = Site(secured.plain, redis_url, tmp_path)
        await here.make_topics()
        await here.make_list()
        options = {
            "bootstrap_servers": secured.oauth,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_username": USER,
            "oauth_token_url": provider.url,
        }
        with here.engine(kafka=options) as engine:
            await engine.ready()
            async with Load(here, 300) as load:
                await engine.logged("broker 1 answers again")
                await decides(engine, 3)
                await load.end()
                await here.drained(engine)
            assert await engine.stop() == 0
        verdict = await judge(here, load.sent)
        assert verdict.nothing_lost, verdict

    async def test_a_provider_that_refuses_ends_the_start(
        self, secured, provider: Provider
    ) -> None:
        """With the address, its reason and the settings to look at."""
        provider.status, provider.answer = 401, {"error": "invalid_client"}
        kafka = KafkaSettings(
            secured.oauth, "test", "SASL_PLAINTEXT", None, "OAUTHBEARER", USER,
            sasl_password=PASSWORD, oauth=provider.settings(),
        )  # fmt: skip
        with pytest.raises(KafkaRefuses, match=r"invalid_client.*RINGFENCE_KAFKA_PASSWORD"):
            await check_topics(kafka, TopicsSettings(("c",), "d", "r", 1, 1), 1, lambda _: None)
