"""Data that pages share: the newest decisions while Kafka is slow, feeds while they are read."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

from stream.config.feed_files import feed_context
from stream.config.settings import load
from stream.kafka.settings import KafkaSettings
from stream.web.page_caches import STILL_READING, FeedFolder, RecentDecisions, decisions_in
from tests.support.decisions import decision


async def test_a_slow_topic_is_no_empty_one() -> None:
    """A page that waited long enough says that decisions are still being read."""
    recent = RecentDecisions(KafkaSettings("localhost:9092", "test"), "calls.decisions")
    assert await recent.look(0.001) == []
    assert recent.trouble == STILL_READING


def test_decisions_of_several_partitions_are_in_their_order() -> None:
    """Kafka gives one partition after the other; what is no decision is left out."""
    value = decision(at_ms=1000)
    first = [SimpleNamespace(timestamp=at, value=value) for at in (1, 4)]
    second = [SimpleNamespace(timestamp=at, value=value) for at in (2, 3)]
    strange = [SimpleNamespace(timestamp=5, value=b"{")]
    found = decisions_in({0: first, 1: second, 2: strange})
    assert [at for at, _ in found] == [1, 2, 3, 4]


async def test_two_that_ask_for_feeds_at_once_get_the_same(tmp_path: Path) -> None:
    """A page that comes while the folder is read waits for that reading."""
    (tmp_path / "broken.toml").write_text("list = 1\n")
    settings = load([], {})
    folder = FeedFolder(tmp_path, feed_context(settings), settings.list_store())
    first, second = await asyncio.gather(folder.now(), folder.now())
    assert [*first.wrong] == ["broken"]
    assert second is first
