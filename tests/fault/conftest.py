"""Fixtures of the fault tests; what they give is in site.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.lab.embedded import EmbeddedBroker, RedisServer, best_redis
from tests.fault.site import Site


@pytest.fixture(scope="session")
def broker(own_broker: EmbeddedBroker) -> EmbeddedBroker:
    """Not the run's: these tests kill it."""
    return own_broker


@pytest.fixture(scope="session")
def kafka(own_broker: EmbeddedBroker) -> EmbeddedBroker:
    """The same."""
    return own_broker


@pytest.fixture
async def site(kafka: EmbeddedBroker, redis_url: str, tmp_path: Path) -> Site:
    """A place with topics and a list."""
    made = Site(kafka.bootstrap, redis_url, tmp_path)
    await made.make_topics()
    await made.make_list()
    return made


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may stop, kill and empty."""
    with best_redis() as server:
        yield server


@pytest.fixture
async def own_site(kafka: EmbeddedBroker, own_redis: Any, tmp_path: Path) -> Site:
    """A place whose Redis is `own_redis`."""
    made = Site(kafka.bootstrap, own_redis.url(), tmp_path)
    await made.make_topics()
    await made.make_list()
    return made
