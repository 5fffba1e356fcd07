"""Broker and Redis for the tests, started once and when first asked for; the report says which.

The first line of every run names what it runs against. What cannot run on this machine is named
there and again at the end, with the command that would make it possible. RINGFENCE_REQUIRE_KAFKA=1
(CI) turns a missing Apache Kafka or redis-server into a refusal to start.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import redis

from stream.lab.embedded import (
    EmbeddedBroker,
    RedisServer,
    StartFailed,
    Unavailable,
    apache_kafka,
    best_broker,
    best_redis,
    redis_program,
)
from stream.lab.embedded.choose import tansu_program
from tests.plugins.programs import missing
from tests.plugins.run_broker import RunBroker, run_broker
from tests.support import kafka_versions
from tests.support.waiting import REDIS_S

REQUIRE = "RINGFENCE_REQUIRE_KAFKA"
# Folders whose tests ask for no server: for them alone none is looked for, fetched or started.
PURE_FOLDERS = ("unit", "property", "tidy", "golden")
KAFKA_ONLY = ("apache_kafka", "needs_transactions")


@dataclass(frozen=True, slots=True)
class Services:
    """Services of this machine, by name ("" = nothing at all), and why nothing better."""

    broker: str
    broker_lack: str
    redis: str
    redis_lack: str

    @property
    def lacks(self) -> list[str]:
        """Reasons why tests run on less than Apache Kafka and redis-server."""
        return [lack for lack in (self.broker_lack, self.redis_lack) if lack]


SERVICES = pytest.StashKey[Services | None]()


def offered() -> Services:
    """Look for the best of each; Kafka's jars are fetched here, so that the answer is true."""
    broker, broker_lack = _first(kafka_title, lambda: tansu_program()[1])
    redis_title, redis_lack = _first(
        lambda: redis_program.redis_program()[1], lambda: redis_program.valkey_program()[1]
    )
    return Services(broker, broker_lack, redis_title, redis_lack)


def kafka_title() -> str:
    """Name and version of Apache Kafka, once its jars are here."""
    apache_kafka.jars()
    return apache_kafka.title()


def _first(*ways: Callable[[], str]) -> tuple[str, str]:
    """The name that the first possible way gives, and the reasons of those before it."""
    reasons: list[str] = []
    for way in ways:
        try:
            return way(), "; ".join(reasons)
        except Unavailable as error:
            reasons.append(str(error))
    return "", "; ".join(reasons)


def first_line(services: Services | None) -> str:
    """The line that opens the report."""
    if services is None:
        return "ringfence tests run against: nothing (these folders need no broker and no Redis)"
    broker = services.broker or "NO BROKER"
    return f"ringfence tests run against: {broker}, {services.redis or 'NO REDIS'}"


def not_run(services: Services | None) -> list[str]:
    """One line for each group of tests that cannot run here, with the command that helps."""
    if services is None:
        return []
    lines = []
    if services.broker_lack:
        groups = ", ".join(KAFKA_ONLY)
        lines.append(f"not run here: tests marked {groups}: {services.broker_lack}")
    if services.redis_lack:
        lines.append(f"not run on redis-server but on {services.redis}: {services.redis_lack}")
    return [
        *lines,
        *(f"not run here: tests marked {mark}: {why}" for mark, why in missing().items()),
    ]


def needs_servers(paths: list[str]) -> bool:
    """Report whether a requested path lies outside the folders that need no server."""
    here = Path(__file__).parents[1]
    for path in paths or [str(here)]:
        inside = Path(path.split("::")[0]).resolve()
        if not any(inside.is_relative_to(here / folder) for folder in PURE_FOLDERS):
            return True
    return False


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what the tests run against, before anything else is said."""
    kafka_versions.use_wanted()
    config = session.config
    services = offered() if needs_servers(config.args) else None
    config.stash[SERVICES] = services
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(first_line(services))
        for line in not_run(services):
            reporter.write_line(line)
    if services is not None and services.lacks and os.environ.get(REQUIRE) == "1":
        pytest.exit(f"{REQUIRE}=1, and {'; '.join(services.lacks)}", returncode=3)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what cannot run here as skipped, with the reason that the first lines gave."""
    services = config.stash[SERVICES]
    for item in items:
        for marker in KAFKA_ONLY:
            if services is not None and services.broker_lack and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=services.broker_lack))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Repeat at the end, where it is read, what did not run, by name."""
    skipped = terminalreporter.stats.get("skipped", [])
    services = config.stash[SERVICES]
    if skipped:
        for line in not_run(services):
            terminalreporter.write_line(line)
        for report in skipped:
            terminalreporter.write_line(f"not run: {report.nodeid}")
    if services is not None:
        terminalreporter.write_line(first_line(services))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[RunBroker]:
    """The run's broker, which all its processes use: `.bootstrap`, `.title`. None may end it."""
    folder = tmp_path_factory.getbasetemp()
    with run_broker(folder if worker_id == "master" else folder.parent, _started_broker) as running:
        yield running


@pytest.fixture(scope="session")
def kafka(broker: RunBroker) -> RunBroker:
    """The same by the name that most tests use; they need its `.bootstrap`."""
    return broker


@pytest.fixture(scope="session")
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker for faults: `.kill()`, `.stop()`, `.start()`. A test that stops it starts it again.

    `side_by_side` has all tests that ask for it in one process.
    """
    with _started_broker() as server:
        yield server


def _started_broker() -> EmbeddedBroker:
    try:
        return best_broker()
    except (Unavailable, StartFailed) as error:
        pytest.fail(f"no broker: {error}", pytrace=False)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's Redis; most tests want `redis_url`, an empty database of it."""
    try:
        server = best_redis()
    except (Unavailable, StartFailed) as error:
        pytest.fail(f"no Redis: {error}", pytrace=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def _redis_databases() -> Iterator[int]:
    """0, 1, 2, ...: one for each test that asks."""
    return count()


@pytest.fixture
def redis_url(redis_server: RedisServer, _redis_databases: Iterator[int]) -> str:
    """Address of a Redis database that is empty and that no other test of now uses."""
    url = redis_server.url(next(_redis_databases) % redis_server.databases)
    with redis.Redis.from_url(url, socket_timeout=REDIS_S) as client:
        client.flushdb()
    return url
