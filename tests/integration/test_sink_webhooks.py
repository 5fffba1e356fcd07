"""`ringfence sink webhooks` against a server that misbehaves, and a real Kafka."""

import asyncio
import base64
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from stream.config.settings import load
from stream.edge.sinks import webhook_endpoint as endpoints
from stream.edge.sinks.cloud_event import secret_of
from stream.edge.sinks.settings import EndpointSection
from stream.edge.sinks.webhook_endpoint import Endpoint, Undelivered
from stream.edge.sinks.webhook_post import DeliveryResult, Post
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.kafka.topics import ensure_topics
from stream.ops.metrics.sink_catalogue import WebhookMetrics
from stream.ops.renewed_secret import RenewedSecret
from stream.services.webhook_sink import WebhookSink, resend
from tests.support import certificates
from tests.support.engine import WAIT_S, Deployment
from tests.support.sinks import ran
from tests.support.waiting import until
from tests.unit.edge.sinks.test_cloud_event import RECEIVER, SECRET
from tests.unit.edge.sinks.test_proxy_keys import decision

pytestmark = pytest.mark.expects_errors("Group Coordinator")
Answer = Callable[[web.Request, int], Any]


class Receiver:
    """A web server. `answer(request, n)` says what the n-th try of an event is answered."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.tries: Counter[str] = Counter()
        self.genuine: list[dict[str, Any]] = []
        self.port = 0
        self.allows: list[dict[str, str]] = []
        self.askers: list[str] = []

    async def _asked(self, request: web.Request) -> web.Response:
        self.askers.append(request.headers["WebHook-Request-Origin"])
        return web.Response(headers=self.allows.pop(0) if self.allows else {})

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body, name = await request.read(), request.headers["webhook-id"]
        self.tries[name] += 1
        at_s = int(request.headers["webhook-timestamp"])
        headers = {key.lower(): value for key, value in request.headers.items()}
        assert RECEIVER["is_genuine"](SECRET, headers, body, at_s)
        answer: Any = self._answer(request, self.tries[name])
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, int):
            answer = web.Response(status=answer)
        assert isinstance(answer, web.StreamResponse)
        if answer.status < 300:
            self.genuine.append(json.loads(body))
        return answer

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        app.router.add_route("OPTIONS", "/{path:.*}", self._asked)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


def batch(*values: bytes) -> RawBatch:
    count = len(values)
    segment = Segment(Partition("decisions", 0), 0, count)
    return RawBatch(values, np.arange(count), np.zeros(count, np.int64), (segment,), 1)


class Told:
    """An endpoint without Kafka: what it gave up is in `kept`."""

    def __init__(self, url: str, **fields) -> None:
        self.kept: list[Undelivered] = []
        self.metrics = WebhookMetrics(CollectorRegistry())
        plain = {"timeout_s": 5.0, "parallel": 4, "private_addresses": True, "give_up_s": 60.0}
        secrets = fields.pop("secrets", (secret_of(SECRET),))
        self.settings = EndpointSection(url=url, secret_env="SECRET", **{**plain, **fields})
        self.post = Post(self.settings, "/ringfence/test", secrets)

    async def deliver(self, *values: bytes) -> None:
        async def keep(one: Undelivered) -> None:
            self.kept.append(one)

        async with self.post:
            await Endpoint("crm", self.settings, self.post, keep, self.metrics).deliver(
                batch(*values)
            )

    def tried(self, result: DeliveryResult) -> float:
        return float(self.metrics.tries.labels("crm", result)._value.get())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short; their growth is tested where `Backoff` is."""
    monkeypatch.setattr(endpoints, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(endpoints, "_MOST_WAIT_S", 0.02)


async def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


TROUBLES: list[tuple[Answer, DeliveryResult]] = [
    (lambda _, n: 500 if n < 3 else 200, DeliveryResult.SERVER_ERROR),
    (lambda r, n: _cut(r) if n < 3 else 200, DeliveryResult.UNREACHABLE),
    (lambda _, n: _later(n), DeliveryResult.BUSY),
]


def _later(n: int) -> web.Response:
    headers = {"Retry-After": "0"} if n < 3 else {}
    return web.Response(status=429 if n < 3 else 200, headers=headers)


async def test_a_renewed_secret_signs_the_next_try(tmp_path: Path) -> None:
    """Of a file that changed: the receiver takes nothing else."""
    (tmp_path / "secret").write_text(SECRET)
    former = base64.b64encode(b"former" * 6).decode()
    secret = RenewedSecret(tmp_path / "secret", secret_of(former), secret_of)
    async with Receiver(lambda *_: 200).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h", secrets=(secret,))
        await told.deliver(decision())
        assert receiver.genuine


@pytest.mark.parametrize(("answer", "result"), TROUBLES)
async def test_a_server_in_trouble_gets_it_all_the_same(
    answer: Answer, result: DeliveryResult
) -> None:
    """5xx, reset connections, "not now": tried again with the same id until it is taken."""
    async with Receiver(answer).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h")
        await told.deliver(decision(), decision(decision_id="D2"), decision(verdict="flag"), b"{")
        assert {one["decision_id"] for one in receiver.genuine} == {"D1", "D2"}
        assert receiver.tries == {"D1": 3, "D2": 3}
        assert (told.tried(result), told.kept) == (4, [])


@pytest.mark.parametrize("ends", [True, False])
async def test_an_event_that_was_taken_is_not_sent_again(ends: bool) -> None:
    """2xx says so: the body after it may break off, or never come."""

    async def taken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "10"})
        await answer.prepare(request)
        if ends:
            assert request.transport is not None
            request.transport.close()
        else:
            await asyncio.sleep(30)
        return answer

    async with Receiver(lambda request, _: taken(request)).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h", timeout_s=0.5, give_up_s=2.0)
        await told.deliver(decision())
        assert receiver.tries == {"D1": 1}
        assert told.tried(DeliveryResult.DELIVERED) == 1


async def test_what_is_refused_is_kept_and_not_asked_for_ever() -> None:
    """4xx and redirects: three tries, then it is kept with the reason; nothing is followed."""

    def moved(*_: object) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"})

    for answer, result in (
        (lambda *_: 422, DeliveryResult.REFUSED),
        (moved, DeliveryResult.REDIRECTED),
    ):
        async with Receiver(answer).serving() as receiver:
            told = Told(f"http://127.0.0.1:{receiver.port}/h")
            await told.deliver(decision())
            (kept,) = told.kept
            assert (kept.last.result, kept.tries, kept.event.id) == (result, 3, "D1")


async def test_one_event_that_always_fails_does_not_hold_up_the_others() -> None:
    """It is given up after a few tries, since others go through; a slow answer is a try too."""

    def answer(request: web.Request, n: int) -> Any:
        return 500 if request.headers["webhook-id"] == "D1" else 200

    async with Receiver(answer).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h")
        await told.deliver(*(decision(decision_id=f"D{n}") for n in range(1, 9)))
        assert len(receiver.genuine) == 7
        assert [one.event.id for one in told.kept] == ["D1"]


async def test_a_slow_or_absent_server_is_given_up_in_the_end() -> None:
    """After `give_up_s` the event is kept, and says whether it was silence or nobody there."""

    async def sleeps() -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with Receiver(lambda *_: sleeps()).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h", timeout_s=0.1, give_up_s=0.2)
        await told.deliver(decision())
        assert told.kept[0].last.result is DeliveryResult.TIMEOUT
    told = Told(f"http://127.0.0.1:{receiver.port}/h", give_up_s=0.1)
    await told.deliver(decision())
    assert told.kept[0].last.result is DeliveryResult.UNREACHABLE


async def test_what_waits_longer_than_it_may_is_given_up_without_a_request() -> None:
    """`give_up_s` comes before a later Retry-After, also for an event that was never sent."""

    def later(*_: object) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "86400"})

    async with Receiver(later).serving() as receiver:
        told = Told(f"http://127.0.0.1:{receiver.port}/h", parallel=1, give_up_s=0.2)
        await told.deliver(decision(), decision(decision_id="D2"))
        assert receiver.tries == {"D1": 1}
    busy = (DeliveryResult.BUSY, 429)
    assert [(one.event.id, *one.last[:2], one.tries) for one in told.kept] == [
        ("D1", *busy, 1),
        ("D2", *busy, 0),
    ]


async def test_a_receiver_is_asked_before_it_is_told() -> None:
    """Nothing is sent before it named us, and then no more than it takes in a minute; who never
    does is given up.
    """
    async with Receiver(lambda *_: 200).serving() as receiver:
        receiver.allows = [
            {},
            {"WebHook-Allowed-Origin": "other.example"},
            {"WebHook-Allowed-Origin": "x.example, Us.example", "WebHook-Allowed-Rate": "60000"},
        ]
        told = Told(f"http://127.0.0.1:{receiver.port}/h", origin="us.example", parallel=2)
        await told.deliver(*(decision(decision_id=f"D{n}") for n in range(6)))
        assert receiver.askers == ["us.example"] * 3
        assert len(receiver.genuine) == 6
        assert told.tried(DeliveryResult.NOT_PERMITTED) == 2
        shy = Told(f"http://127.0.0.1:{receiver.port}/h", origin="us.example", give_up_s=0.1)
        await shy.deliver(decision())
        assert shy.kept[0].last.result is DeliveryResult.NOT_PERMITTED
        assert len(receiver.genuine) == 6


@pytest.mark.parametrize("rate", ["9" * 400, "9" * 5000, "-1", "0.5", "soon"])
async def test_a_rate_that_is_no_sensible_number_is_no_limit(rate: str) -> None:
    """A receiver's rate of any size never ends the sink."""
    async with Receiver(lambda *_: 200).serving() as receiver:
        receiver.allows = [{"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": rate}]
        told = Told(f"http://127.0.0.1:{receiver.port}/h", origin="us.example")
        await told.deliver(decision())
        assert len(receiver.genuine) == 1


async def test_private_addresses_are_not_asked() -> None:
    """Neither by number nor by a name that leads there."""
    async with Receiver(lambda *_: 200).serving() as receiver:
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            url = f"https://{host}:{receiver.port}/h"
            told = Told(url, private_addresses=False, give_up_s=0.0)
            await told.deliver(decision())
            # The last host is an address that aiohttp takes for none: it is not asked either.
            results = (DeliveryResult.PRIVATE_ADDRESS, DeliveryResult.UNREACHABLE)
            assert told.kept[0].last.result in results[: 2 if host.isdigit() else 1], host
        assert not receiver.tries


@pytest.mark.needs_openssl
async def test_only_a_server_that_is_trusted_is_told(tmp_path: Path) -> None:
    """A certificate of an authority that the endpoint names, for its own host; else nothing."""
    certificates.authority(tmp_path)
    certificates.signed(tmp_path, "server", certificates.HOST)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    async with Receiver(lambda *_: 200).serving(tls) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/h"
        stranger = Told(url, give_up_s=0.0)
        await stranger.deliver(decision())
        assert stranger.kept[0].last.result is DeliveryResult.CERTIFICATE
        trusting = Told(url, ca_file=str(tmp_path / "ca.pem"))
        await trusting.deliver(decision())
        assert trusting.tried(DeliveryResult.DELIVERED) == 1


async def _undelivered(deployment: Deployment, topic: str) -> Any:
    async with AIOKafkaConsumer(
        bootstrap_servers=deployment.bootstrap, auto_offset_reset="earliest", group_id=None
    ) as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(4)])
        async with asyncio.timeout(WAIT_S):
            return await consumer.getone()


@pytest.mark.apache_kafka
async def test_endpoints_do_not_wait_for_each_other(tmp_path: Path, kafka, redis_url: str) -> None:
    """On a real broker: one endpoint hangs, one refuses (which is kept in its topic), one works
    and has everything; a restart goes on where each one was. What was refused is sent again on
    request: what is taken then is done with, what is not stays.
    """
    hanging = asyncio.Event()
    mended: set[str] = set()

    async def hangs() -> int:
        await hanging.wait()
        return 200

    def answer(request: web.Request, n: int) -> Any:
        is_bad = request.headers["webhook-id"] not in mended
        return {"/good": 200, "/bad": 400 if is_bad else 200}.get(request.path) or hangs()

    async with Receiver(answer).serving() as receiver:
        lines = [
            f'sinks.webhooks.endpoints.{name} = {{ url = "http://127.0.0.1:{receiver.port}/{name}",'
            ' secret_env = "HOOK", private_addresses = true, timeout_s = 100.0 }'
            for name in ("good", "bad", "slow")
        ]
        topic = f"undelivered-{tmp_path.name}".replace("_", "-")
        more = [f'sinks.webhooks.undelivered_topic = "{topic}"', "sinks.webhooks.http_port = 0"]
        deployment = Deployment(tmp_path, kafka, redis_url, "\n".join([*more, *lines]))
        settings = load([deployment.config], {})
        names = settings.calls.names(1, settings.sinks.webhooks.topics())
        await ensure_topics(settings.kafka_client(), names, lambda _: None)
        async with ran(WebhookSink(settings, {"HOOK": SECRET})) as run:
            await _until(
                lambda: not run._missing() and all(s.starts for s in run._sources.values())
            )
            deployment.decisions, deployment.calls = deployment.calls, deployment.decisions
            await deployment.send([decision(decision_id=f"D{n}") for n in range(5)])
            await _until(lambda: len(receiver.genuine) >= 5)
            kept = await _undelivered(deployment, topic)
            headers = dict(kept.headers)
            assert (headers["endpoint"], headers["reason"], headers["status"]) == (
                *(b"bad", b"refused", b"400"),
            )
        seen = len(receiver.genuine)
        hanging.set()
        async with ran(WebhookSink(settings, {"HOOK": SECRET})):
            await _until(lambda: len(receiver.genuine) >= seen + 5)
        assert {one["decision_id"] for one in receiver.genuine} == {f"D{n}" for n in range(5)}
        for taken, expected in (("D1", (1, 4)), ("D2", (1, 3)), ("D3", (1, 2))):
            mended.add(taken)
            (done,) = await resend(settings, ["bad"], {"HOOK": SECRET}, 5.0, lambda _: None)
            assert (done.delivered, done.not_taken) == expected
        (good,) = await resend(settings, ["good"], {"HOOK": SECRET}, 5.0, lambda _: None)
        assert (good.delivered, good.not_taken) == (0, 0)


_until = partial(until, what="what the sink does")
