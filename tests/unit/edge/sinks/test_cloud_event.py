"""A webhook's message, and where it may go: without a network."""

import base64
import json
import runpy
from typing import Any

import msgspec
import pytest

from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.cloud_event import read_event, request_of, secret_of, signed
from stream.edge.sinks.settings import EndpointSection, WebhooksSection
from stream.edge.sinks.webhook_post import DeliveryResult, is_public, literal, result_of
from tests.support.builders import NOW_S
from tests.support.engine import ROOT
from tests.unit.edge.sinks.test_proxy_keys import ONE, decision

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECEIVER = runpy.run_path(str(ROOT / "deploy/examples/receive_webhook.py"))


def _event(**fields):
    event = read_event(decision(**fields))
    assert event is not None
    return event


def test_a_decision_becomes_a_cloudevent_in_binary_mode() -> None:
    """Attributes in headers, the decision as it was in the body, no number outside of it."""
    headers, body = request_of(_event(), "binary", "/ringfence/th")
    assert body == decision()
    assert {name: headers[name] for name in ("ce-id", "ce-specversion", "ce-source")} == {
        "ce-id": "D1",
        "ce-specversion": "1.0",
        "ce-source": "/ringfence/th",
    }
    assert headers["ce-type"] == "io.ringfence.decision.v1"
    assert ONE[1:] not in str(headers)


def test_a_decision_becomes_a_cloudevent_in_structured_mode() -> None:
    """All in one body; nothing of it is in headers."""
    headers, body = request_of(_event(), "structured", "/ringfence/th")
    assert headers == {"Content-Type": "application/cloudevents+json"}
    event = json.loads(body)
    assert event.pop("data") == json.loads(decision())
    assert event == {
        "specversion": "1.0",
        "id": "D1",
        "type": "io.ringfence.decision.v1",
        "source": "/ringfence/th",
        "time": "2026-11-24T23:53:48.250Z",
        "datacontenttype": "application/json",
    }


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{", b"\xff", b"[]", decision(decision_id="a\r\nx: y"), decision(decided_at="\n")],
)
def test_what_is_no_decision_is_no_event(value: bytes | None) -> None:
    """Any bytes at all; and nothing that could end a header and begin another."""
    assert read_event(value) is None


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The specification's own example, of which its libraries' tests make use."""
    body = b'{"test": 2432232314}'
    headers = signed([secret_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_accepts_what_is_genuine_and_nothing_else() -> None:
    """The example in deploy/examples: either secret during a rotation; no other body, time or
    secret.
    """
    old = "whsec_" + base64.b64encode(b"o" * 32).decode()
    genuine = RECEIVER["is_genuine"]
    headers, body = signed([secret_of(SECRET), secret_of(old)], "D1", NOW_S, b"{}"), b"{}"
    assert genuine(SECRET, headers, body, NOW_S + 1)
    assert genuine(old, headers, body, NOW_S + 1)
    behind_a_proxy = {name.title(): value for name, value in headers.items()}
    assert genuine(SECRET, behind_a_proxy, body, NOW_S + 1)
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert not genuine(other, headers, body, NOW_S + 1)
    assert not genuine(SECRET, headers, b"{ }", NOW_S + 1)
    assert not genuine(SECRET, headers, body, NOW_S + 301)
    assert not genuine(SECRET, {**headers, "webhook-id": "D2"}, body, NOW_S)
    assert not genuine(SECRET, {}, body, NOW_S)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("no address", False),
    ],
)
def test_only_public_addresses_are_connected_to(text: str, public: bool) -> None:
    """Loopback, private, link-local (cloud metadata), and IPv6 that has those inside, are not."""
    assert is_public(text) is public


def test_a_host_that_is_an_address_is_seen() -> None:
    """It is never resolved, so it has to be looked at by itself."""
    assert literal("127.0.0.1")
    assert literal("::1")
    assert not literal("hooks.example")


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, DeliveryResult.DELIVERED),
        (204, DeliveryResult.DELIVERED),
        (302, DeliveryResult.REDIRECTED),
        (400, DeliveryResult.REFUSED),
        (410, DeliveryResult.REFUSED),
        (408, DeliveryResult.BUSY),
        (429, DeliveryResult.BUSY),
        (500, DeliveryResult.SERVER_ERROR),
        (503, DeliveryResult.SERVER_ERROR),
        (199, DeliveryResult.SERVER_ERROR),
    ],
)
def test_an_answer_says_what_follows(status: int, result: DeliveryResult) -> None:
    """2xx alone is delivered; a redirect is not followed."""
    assert result_of(status, waits=False) is result
    assert result_of(503, waits=True) is DeliveryResult.BUSY


def test_a_secret_that_can_not_be_used_is_told_without_being_shown() -> None:
    """All errors at once, each naming its variable."""
    section = EndpointSection(url="https://a.example/h", secret_env="A", old_secret_env="B")
    webhooks = WebhooksSection(undelivered_topic="x", http_port=0, endpoints={"crm": section})
    with pytest.raises(ConfigInvalid) as caught:
        webhooks.secrets({"A": "whsec_c2hvcnQ="})
    text = str(caught.value)
    assert "environment: A: has 5 bytes" in text
    assert "environment: B: is not set" in text
    assert "c2hvcnQ" not in text
    good = webhooks.secrets({"A": SECRET, "B": SECRET})
    assert good == {"crm": (secret_of(SECRET),) * 2}
    with pytest.raises(ValueError, match="base64"):
        secret_of("whsec_!")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "http://a.example"}, "https"),
        ({"ca_file": "/no/such"}, "no file"),
        ({"verdicts": ()}, "none"),
    ],
)
def test_an_endpoint_that_can_not_be_right_is_refused(fields: dict[str, Any], words: str) -> None:
    """At the start, in words that say what to do."""
    plain = {"url": "https://a.example/h", "secret_env": "A"}
    with pytest.raises(ValueError, match=words):
        EndpointSection(**{**plain, **fields})


def test_events_know_their_kind_and_lists() -> None:
    """Fields that filters use."""
    event = _event(verdict="allow", simulated=True)
    assert (event.kind, event.lists, event.number) == ("simulated", {"KH/scam"}, ONE)
    assert msgspec.json.decode(event.body)["simulated"]
