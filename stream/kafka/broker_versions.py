"""A broker's version, by what it answers: Kafka has no request for it.

Each version of Kafka knows newer forms of its requests. Without two of them we would run, and not
as configured: aiokafka joins groups without our `instance_id`, and never says so.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from stream.core.model.errors import KafkaTooOld
from stream.kafka.fetch import messages
from stream.kafka.settings import KafkaSettings

LEAST: Final = "2.3"
_NEEDED: Final = {
    "JoinGroup": (11, 5, "workers that keep their partitions over a restart"),
    "Fetch": (messages.FETCH, messages.VERSION, "whole record batches"),
}
"""Requests by name: the key in Kafka's protocol, the least version, and what it is for."""
# Apache Kafka's Fetch grew with most of its versions.
_BY_FETCH: Final = (
    (17, "3.9 or newer"),
    (16, "3.7 or 3.8"),
    (14, "3.5 or 3.6"),
    (13, "3.1 to 3.4"),
    (12, "2.7 to 3.0"),
    (11, "2.3 to 2.6"),
    (9, "2.1 or 2.2"),
    (8, "2.0"),
)
_OLDER: Final = "1.1 or older"
_ANSWER_MS: Final = 5000
"""A broker has just answered another client of ours."""

Versions = Mapping[int, tuple[int, int]]
"""The oldest and newest version of each request that a broker knows, by the request's key."""


async def request_versions(kafka: KafkaSettings) -> Versions:
    """Ask the first broker that answers; empty where none does."""
    options = kafka.options(request_timeout_ms=_ANSWER_MS)
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            opened: Any = await create_conn(host, port, **options)
        except (OSError, KafkaError, TimeoutError):
            continue
        try:
            answer = await opened.send(ApiVersionRequest())
            return {key: (oldest, newest) for key, oldest, newest in answer.api_versions}
        except (KafkaError, TimeoutError):
            continue
        finally:
            opened.close()
    return {}


def named(found: Versions) -> str:
    """Return the version of Apache Kafka that answers so."""
    newest = found.get(messages.FETCH, (0, 0))[1]
    return next((name for least, name in _BY_FETCH if newest >= least), _OLDER)


async def check_version(kafka: KafkaSettings) -> None:
    """Raise KafkaTooOld if the brokers lack what we need."""
    found = await request_versions(kafka)
    # Nothing was found: the broker went away just now, and the next client waits for it.
    if found and (lacks := lacking(found)):
        raise KafkaTooOld(
            f"Kafka at {kafka.bootstrap_servers} answers like version {named(found)}: {lacks}. "
            f"Ringfence needs {LEAST} or newer: upgrade the brokers"
        )


def lacking(found: Versions) -> str:
    """Return what a broker with these requests cannot do for us; "" for nothing."""
    return "; ".join(
        f"{name} ends at {found.get(key, (0, 0))[1]}, and {purpose} need {least}"
        for name, (key, least, purpose) in _NEEDED.items()
        if found.get(key, (0, 0))[1] < least
    )
