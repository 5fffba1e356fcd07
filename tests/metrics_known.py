"""Every metric of the product, from the catalogues themselves: what tests and the table know."""

from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry

from stream.ops.catalogue import Catalogue, Entry
from stream.ops.certificate_metrics import CertificateMetrics
from stream.ops.enforcement_metrics import EnforcementMetrics
from stream.ops.exchange_metrics import ExchangeMetrics
from stream.ops.feed_metrics import FeedMetrics
from stream.ops.ingest_metrics import IngestMetrics
from stream.ops.metrics import Metrics, SupervisorMetrics
from stream.ops.process_metrics import ProcessMetrics
from stream.ops.redis_metrics import RedisMetrics
from stream.ops.serve_metrics import ServeMetrics
from stream.ops.sink_metrics import RedisSinkMetrics, SinkMetrics, WebhookMetrics
from stream.ops.sip_metrics import SipMetrics
from stream.ops.skips import SkipMetrics
from stream.ops.token_metrics import TokenMetrics

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
