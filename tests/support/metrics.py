"""Every metric of the product, from the catalogues themselves: what tests and the table know."""

from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue, MetricEntry
from stream.ops.metrics.exchange_catalogue import EnforcementMetrics, ExchangeMetrics
from stream.ops.metrics.feed_catalogue import FeedMetrics
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.metrics.shared_catalogue import (
    CertificateMetrics,
    DeploymentMetrics,
    ProcessMetrics,
    RedisMetrics,
    SkipMetrics,
    StirMetrics,
    TokenMetrics,
)
from stream.ops.metrics.sink_catalogue import (
    IngestMetrics,
    RedisSinkMetrics,
    SinkMetrics,
    WebhookMetrics,
)
from stream.ops.metrics.sip_catalogue import SipMetrics
from stream.ops.metrics.worker_catalogue import SupervisorMetrics, WorkerCatalogue

CATALOGUES: dict[Callable[[CollectorRegistry], Catalogue], str] = {
    WorkerCatalogue: "The engine (`ringfence run`)",
    SupervisorMetrics: "The supervisor of several workers (`ringfence run --workers N`)",
    FeedMetrics: "Feeds (`ringfence feeds run`)",
    ExchangeMetrics: "What we publish (`ringfence exchange run`)",
    EnforcementMetrics: "Enforcement (`ringfence enforcement run`)",
    ServeMetrics: "HTTP (`ringfence serve`)",
    TokenMetrics: "Clients' tokens (`ringfence serve`)",
    SipMetrics: "SIP (`ringfence serve-sip`)",
    IngestMetrics: "Records in files (`ringfence ingest --follow`)",
    SinkMetrics: "Every sink",
    RedisSinkMetrics: "The proxies' keys (`ringfence sink redis`)",
    WebhookMetrics: "Webhooks (`ringfence sink webhooks`)",
    partial(RedisMetrics, which="register"): "A Redis of ours",
    partial(CertificateMetrics, files={}): "Every process with a certificate",
    SkipMetrics: "Every process that reads the list store",
    StirMetrics: "Workers, `ringfence serve` and `ringfence serve-sip`: signed calls",
    ProcessMetrics: "Every process",
    partial(DeploymentMetrics, deployment=""): "Every process, and what it belongs to",
}
"""Each catalogue, and what it is a catalogue of."""


def entries() -> Iterator[MetricEntry]:
    """Every metric, in the order of the catalogues."""
    for catalogue in CATALOGUES:
        yield from catalogue(CollectorRegistry()).entries
