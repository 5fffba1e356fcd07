"""What pages share: the newest decisions, while Kafka is slow."""

import pytest

from stream.kafka.settings import KafkaSettings
from stream.web import page_caches
from stream.web.page_caches import STILL_READING, RecentDecisions


async def test_a_slow_topic_is_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that waited long enough says that decisions are still being read."""
    monkeypatch.setattr(page_caches, "_FIRST_S", 0.001)
    recent = RecentDecisions(KafkaSettings("localhost:9092", "test"), "calls.decisions")
    assert await recent.look() == []
    assert recent.trouble == STILL_READING
