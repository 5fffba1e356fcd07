"""What pages share: the newest decisions, while Kafka is slow."""

from stream.kafka.settings import KafkaSettings
from stream.web.page_caches import STILL_READING, RecentDecisions


async def test_a_slow_topic_is_no_empty_one() -> None:
    """A page that waited long enough says that decisions are still being read."""
    recent = RecentDecisions(KafkaSettings("localhost:9092", "test"), "calls.decisions")
    assert await recent.look(0.001) == []
    assert recent.trouble == STILL_READING
