"""Topics are created, and known to the brokers, when `topics create` ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stream.core.model.errors import SourceDown
from stream.kafka import topics
from stream.kafka.settings import KafkaSettings, TopicsSettings


class SlowBroker:
    """An admin client of a broker that lists created topics after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.created: list[str] = []

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [0]}

    async def create_topics(self, wanted: list[Any]) -> Any:
        self.created += [topic.name for topic in wanted]
        return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in wanted])

    async def describe_topics(self) -> list[dict[str, Any]]:
        self.looks -= bool(self.created)
        names = self.created if self.looks <= 0 else []
        return [{"topic": name, "partitions": [0], "error_code": 0} for name in names]

    async def close(self) -> None:
        pass


def create(broker: SlowBroker, monkeypatch: pytest.MonkeyPatch) -> list[topics.TopicReport]:
    """Create the topics at `broker`, without real pauses."""

    async def connect(*_: Any) -> SlowBroker:
        return broker

    async def no_pause(_: float) -> None:
        pass

    monkeypatch.setattr(topics, "_admin", connect)
    monkeypatch.setattr(asyncio, "sleep", no_pause)
    wanted = TopicsSettings(("calls",), "decisions", "rejected", 2, 1)
    return asyncio.run(topics.ensure_topics(KafkaSettings("localhost:9092", "test"), wanted, print))


def test_creation_waits_until_a_loaded_broker_lists_the_topics(monkeypatch):
    """A worker that starts right after it finds its topics."""
    broker = SlowBroker(looks=20)
    assert {report.done for report in create(broker, monkeypatch)} == {topics.TopicState.CREATED}
    assert broker.looks <= 0


def test_creation_that_no_broker_shows_ends_with_what_to_do(monkeypatch):
    """The wait has an end, and the error names the topics."""
    with pytest.raises(SourceDown, match="topics calls, decisions, rejected are created, but"):
        create(SlowBroker(looks=1000), monkeypatch)
