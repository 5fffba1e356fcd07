"""Our processes that can be asked for metrics, and the command that starts each."""

from dataclasses import dataclass
from enum import StrEnum


class ProcessKind(StrEnum):
    """Kind of a process."""

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
    ProcessKind.ENGINE: "ringfence run",
    ProcessKind.FEEDS: "ringfence feeds run",
    ProcessKind.EXCHANGE: "ringfence exchange run",
    ProcessKind.ENFORCEMENT: "ringfence enforcement run",
    ProcessKind.WEBHOOKS: "ringfence sink webhooks",
    ProcessKind.REDIS_SINK: "ringfence sink redis",
    ProcessKind.SERVE: "ringfence serve",
    ProcessKind.SIP: "ringfence serve-sip",
    ProcessKind.INGEST: "ringfence ingest",
}
"""The command that runs each kind; OTHER has none."""


@dataclass(frozen=True, slots=True)
class MonitorTarget:
    """Address of a process of ours. `url` ends before the path: `http://127.0.0.1:9464`.

    A process at a port of the settings must belong to `deployment`. On a machine with two
    deployments, the port may be the other one's. "" for a process that `[ops] watch` names.
    """

    name: str
    kind: ProcessKind
    url: str
    deployment: str = ""


def address(host: str, port: int) -> str:
    """Return the URL of a server that listens on `host`; all addresses are this machine's own."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


def other(url: str) -> MonitorTarget:
    """Return a process that `[ops] watch` names; what it does its metrics tell."""
    base = url.rstrip("/")
    return MonitorTarget(base.partition("://")[2], ProcessKind.OTHER, base)
