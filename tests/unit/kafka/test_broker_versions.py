"""Brokers that lack what we need are refused, with what they are."""

import pytest

from stream.core.model.errors import KafkaTooOld
from stream.kafka.broker_versions import check_version, lacking, named, request_versions
from stream.kafka.settings import KafkaSettings
from tests.support.scripted_broker import Cluster

JOIN_GROUP, FETCH = 11, 1


async def test_a_broker_that_is_too_old_is_refused_by_version() -> None:
    """The worker would run, and a restart would cost a rebalance: nobody would know why."""
    async with Cluster(versions=(0, 10)) as cluster:
        address = f"127.0.0.1:{cluster.addresses[0]}"
        # The first address is one where nobody is.
        kafka = KafkaSettings(f"127.0.0.1:1,{address}", "test")
        assert (await request_versions(kafka))[FETCH] == (0, 10)
        with pytest.raises(KafkaTooOld, match=r"like version 2\.1 or 2\.2: .*needs 2\.3 or newer"):
            await check_version(kafka)


async def test_a_broker_that_is_away_is_not_called_old() -> None:
    """It went away between two connections: the next client waits for it."""
    await check_version(KafkaSettings("127.0.0.1:1", "test"))


@pytest.mark.parametrize(
    ("join_group", "fetch", "version", "lacks"),
    [
        # As Apache Kafka 2.2.2, 2.8.2 and 4.1.1 answered.
        (4, 10, "2.1 or 2.2", ["JoinGroup", "Fetch"]),
        (7, 12, "2.7 to 3.0", []),
        (9, 18, "3.9 or newer", []),
        (2, 5, "1.1 or older", ["JoinGroup", "Fetch"]),
    ],
)
def test_versions_are_told_by_requests(
    join_group: int, fetch: int, version: str, lacks: list[str]
) -> None:
    """A broker tells its requests and no version."""
    found = {JOIN_GROUP: (0, join_group), FETCH: (0, fetch)}
    assert named(found) == version
    assert [part.split()[0] for part in lacking(found).split("; ") if part] == lacks
