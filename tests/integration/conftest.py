"""Fixtures that tests of the list store share."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from stream.feeds.import_file import import_file
from stream.feeds.parse import Defaults
from stream.lab.embedded.choose import RedisServer
from stream.lists.store.list_store import ListStore
from tests.support.builders import NOW_S
from tests.support.kafka_secured import Secured, secured_broker
from tests.support.lists import BY, NAME, Worker, opened, request

if TYPE_CHECKING:
    from tests.support.site import Site


@pytest.fixture(autouse=True)
def priorities(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The priorities asked for by commands that tests run in this very process, which keeps its."""
    asked: list[int] = []
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, nice: asked.append(nice))
    return asked


@pytest.fixture(scope="session")
def secured() -> Iterator[Secured]:
    """An Apache Kafka with all ways in, for the files that `side_by_side` keeps together."""
    with secured_broker() as made:
        yield made


@pytest.fixture
async def register(redis_url: str) -> AsyncIterator[ListStore]:
    """A register with one empty list."""
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        yield register


@pytest.fixture
def urls(redis_server: RedisServer, _redis_databases: Iterator[int]) -> list[str]:
    """Two countries' list stores: two databases of one Redis, which each user of them empties."""
    return [redis_server.url(next(_redis_databases) % redis_server.databases) for _ in range(2)]


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The same Redis, as somebody with redis-cli has it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Awaitable[object]]:
    """Imports numbers as a new base."""

    async def load(register: ListStore, numbers: list[str], name: str = NAME, **fields) -> object:
        path = tmp_path / "numbers.txt"
        path.write_text("\n".join(numbers))
        held = {"defaults": Defaults("numbers", NOW_S), "replace": True, **fields}
        return await import_file(register, request(path, name=name, **held), NOW_S)

    return load


@pytest.fixture
async def site(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "AsyncIterator[Site]":
    """The whole application with its pages, and something of two owners."""
    from tests.support.site import site_at  # it takes a second to import, and few ask for it

    async with site_at(redis_url, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Worker:
    return Worker(redis_url, tmp_path / "state")
