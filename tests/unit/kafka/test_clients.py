"""Clients of Kafka start as soon as there is a broker, whatever it says until then."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.kafka import clients
from stream.kafka.call_events import CallEvent
from stream.kafka.settings import KafkaSettings


class Client:
    """A client of aiokafka whose start may fail."""

    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure
        self.closed = False

    async def start(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no broker why it refuses, and try again at once."""

    async def ask_why(_: KafkaSettings) -> None:
        return

    monkeypatch.setattr(clients, "ask_why", ask_why)
    monkeypatch.setattr(clients, "WAIT_S_MIN", 0.0)


async def connected(*made: Client) -> tuple[Any, list[CallEvent]]:
    left, events = list(made), list[CallEvent]()
    kafka = KafkaSettings("127.0.0.1:1", "test")
    client = await clients.connected(lambda: left.pop(0), Client.close, kafka, events.append)
    return client, events


@pytest.mark.usefixtures("no_wait")
async def test_metadata_without_a_broker_are_asked_for_again():
    """A broker that has just started names none for a moment, and aiokafka asserts that one is."""
    early, good = Client(AssertionError("Did we not perform bootstrap?")), Client(None)
    client, events = await connected(early, good)
    assert client is good
    assert early.closed
    assert events == [CallEvent.KAFKA_AWAITED]


class Admin(Client, AIOKafkaAdminClient):
    """An admin client that knows so many brokers when it has started."""

    def __init__(self, brokers: int) -> None:
        super().__init__(None)
        cluster = SimpleNamespace(brokers=lambda: {*range(brokers)})
        self._client: Any = SimpleNamespace(cluster=cluster)


@pytest.mark.usefixtures("no_wait")
async def test_an_admin_that_knows_no_broker_is_made_again():
    """It starts all the same, and each of its questions would fail for minutes."""
    early, good = Admin(0), Admin(1)
    client, events = await connected(early, good)
    assert client is good
    assert early.closed
    assert events == [CallEvent.KAFKA_AWAITED]


@pytest.mark.usefixtures("no_wait")
async def test_a_fault_of_ours_is_not_waited_for():
    """Any other assertion that fails is a bug, and is shown at once."""
    broken = Client(AssertionError("positions run back"))
    with pytest.raises(AssertionError, match="positions run back"):
        await connected(broken)
    assert broken.closed


ADD_RIGHT = "kafka-acls.sh --add --allow-principal User:<ours>"


@pytest.mark.parametrize(
    ("error", "may", "lacks", "fix"),
    [
        (
            TopicAuthorizationFailedError("calls"),
            "Read",
            "Read on topic calls",
            "Read --topic calls",
        ),
        (TopicAuthorizationFailedError({"d"}), "Write", "Write on topic d", "Write --topic d"),
        (GroupAuthorizationFailedError("g"), "Write", "Read on group g", "Read --group g"),
        (
            TransactionalIdAuthorizationFailed("g.host.1"),
            "Write",
            "Write on transactional-id g.host.1",
            "Write --transactional-id g. --resource-pattern-type prefixed",
        ),
    ],
)
def test_a_missing_right(error: KafkaError, may: str, lacks: str, fix: str) -> None:
    """Of a topic what was tried; of a group and of an id the one right that we need."""
    said = f"our user lacks the right {lacks}: {ADD_RIGHT} --operation {fix}"
    assert clients.described(error, may, "g.") == said


@pytest.mark.parametrize("error", [NotLeaderForPartitionError(), GroupAuthorizationFailedError()])
def test_other_errors_are_shown_as_they_are(error: KafkaError) -> None:
    """Also one that names nothing."""
    assert clients.described(error, "Read") == repr(error)
