"""Every metric of the product, from the catalogues themselves: what tests and the table know."""

from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue, Entry
from stream.ops.metrics.certificate import CertificateMetrics
from stream.ops.metrics.enforcement import EnforcementMetrics
from stream.ops.metrics.exchange import ExchangeMetrics
from stream.ops.metrics.feed import FeedMetrics
from stream.ops.metrics.ingest import IngestMetrics
from stream.ops.metrics.process import ProcessMetrics
from stream.ops.metrics.redis import RedisMetrics
from stream.ops.metrics.serve import ServeMetrics
from stream.ops.metrics.sink import RedisSinkMetrics, SinkMetrics, WebhookMetrics
from stream.ops.metrics.sip import SipMetrics
from stream.ops.metrics.skips import SkipMetrics
from stream.ops.metrics.token import TokenMetrics
from stream.ops.metrics.worker import Metrics, SupervisorMetrics

CATALOGUES: dict[Callable[[CollectorRegistry], Catalogue], str] = {
    Metrics: "The engine (`ringfence run`)",
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
    SkipMetrics: "Every process that reads the register",
    ProcessMetrics: "Every process",
}
"""Each catalogue, and what it is a catalogue of."""


def entries() -> Iterator[Entry]:
    """Every metric, in the order of the catalogues."""
    for catalogue in CATALOGUES:
        yield from catalogue(CollectorRegistry()).entries
