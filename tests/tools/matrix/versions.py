"""The versions that we run on, and the tests that say so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Version:
    """A program and its version as the table has them, and where it comes from.

    `source` is a version in Maven, or suites of Debian in the order in which they are asked.
    """

    program: str
    number: str
    source: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Program and version."""
        return f"{self.program} {self.number}"


KAFKA: Final = "Apache Kafka"
PYTHON: Final = "Python"
PACKAGES: Final = {"Redis": "redis-server", "Valkey": "valkey-server"}
"""Debian's, and the program in it."""
BASE: Final = (f"{KAFKA} 4.1", "Redis 7.0", f"{PYTHON} 3.11")
"""One run passes for all of these; each other version is run with two of them."""
VERSIONS: Final = (
    Version(KAFKA, "2.8", ("2.8.2",)),
    Version(KAFKA, "3.9", ("3.9.1",)),
    Version(KAFKA, "4.1", ("4.1.1",)),
    Version("Redis", "7.0", ("bookworm",)),
    Version("Redis", "8.0", ("trixie", "sid")),
    Version("Valkey", "8.1", ("trixie",)),
    Version("Valkey", "9.1", ("sid",)),
    Version(PYTHON, "3.11", ("bookworm",)),
    Version(PYTHON, "3.12"),
    Version(PYTHON, "3.13", ("trixie",)),
    Version(PYTHON, "3.14", ("sid",)),
)
MAIN: Final = {
    "calls by Kafka, HTTP and SIP": (
        "tests/integration/test_app.py",
        "tests/integration/test_calls_way.py",
        "tests/integration/test_serve.py",
        "tests/integration/test_serve_sip.py",
    ),
    "groups, transactions and topics": (
        "tests/integration/test_calls_exactly_once.py",
        "tests/fault/test_transactions.py",
        "tests/fault/test_kafka.py",
        "tests/fault/test_topics.py",
    ),
    "record batches": (
        "tests/integration/test_fetcher_on_kafka.py",
        "tests/integration/test_records_on_kafka.py",
    ),
    "rights in Kafka": ("tests/integration/test_kafka_rights.py",),
    "list store, and a Redis that fails": (
        "tests/integration/test_list_store.py",
        "tests/integration/test_versions.py",
        "tests/fault/test_redis.py",
    ),
    "sentinels": ("tests/integration/test_sentinels.py",),
    "keys of SIP proxies, webhooks": (
        "tests/integration/test_sink_redis.py",
        "tests/integration/test_sink_webhooks.py",
    ),
    "doctor": ("tests/integration/test_doctor.py",),
}
"""Subjects in the words of the documentation, and the tests of each."""
WITHOUT_REDIS: Final = frozenset(
    {"groups, transactions and topics", "record batches", "rights in Kafka"}
)
"""Subjects that say nothing of another Redis, and are not run on it."""


def tests_of(version: Version) -> list[str]:
    """Return the tests that a version runs."""
    passed_over = WITHOUT_REDIS if version.program in PACKAGES else frozenset()
    return [test for subject in MAIN if subject not in passed_over for test in MAIN[subject]]
