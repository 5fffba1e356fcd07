"""Which processes of ours there are to be asked, and what starts each."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a process does."""

    ENGINE = "engine"
    FEEDS = "feeds"
    EXCHANGE = "exchange"
    ENFORCEMENT = "enforcement"
    WEBHOOKS = "webhooks"
    REDIS_SINK = "redis sink"
    SERVE = "serve"
    SIP = "sip"
    INGEST = "ingest"
    OTHER = "other"


STARTED_BY = {
    Kind.ENGINE: "ringfence run",
    Kind.FEEDS: "ringfence feeds run",
    Kind.EXCHANGE: "ringfence exchange run",
    Kind.ENFORCEMENT: "ringfence enforcement run",
    Kind.WEBHOOKS: "ringfence sink webhooks",
    Kind.REDIS_SINK: "ringfence sink redis",
    Kind.SERVE: "ringfence serve",
    Kind.SIP: "ringfence serve-sip",
    Kind.INGEST: "ringfence ingest",
}
"""The command that runs each kind; OTHER has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process of ours answers. `url` ends before the path: `http://127.0.0.1:9464`."""

    name: str
    kind: Kind
    url: str


def address(host: str, port: int) -> str:
    """Where one asks a server that listens on `host`; all addresses are this machine's own."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


def other(url: str) -> Place:
    """A process that `[ops] watch` names; what it does its metrics tell."""
    base = url.rstrip("/")
    return Place(base.partition("://")[2], Kind.OTHER, base)
