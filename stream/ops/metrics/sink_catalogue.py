"""The catalogues of `ringfence sink redis`, `sink webhooks` and `ingest`, as in `catalogue.py`."""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue
from stream.ops.metrics.shared_catalogue import RedisMetrics, SkipMetrics


class SinkMetrics(Catalogue):
    """Metrics of every sink."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.lag = self._gauge("ringfence_sink_lag_records")
        self.events = self._counter("ringfence_sink_events")
        self._shown: defaultdict[str, set[int]] = defaultdict(set)

    def show_lags(self, sink: str, lags: Mapping[int, int]) -> None:
        """Show how many records each partition of a sink is behind.

        A partition that went to another process is counted there; here it is 0.
        """
        self._shown[sink] |= lags.keys()
        for number in self._shown[sink]:
            self.lag.labels(sink, str(number)).set(lags.get(number, 0))


class RedisSinkMetrics(Catalogue):
    """Metrics of `ringfence sink redis` besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.redis = RedisMetrics(registry, "proxies")
        SkipMetrics(registry)
        self.decisions = self._counter("ringfence_sink_decisions")
        self.keys = self._gauge("ringfence_sink_keys")
        self.keys.labels("prefixes")
        self.keys_max = self._gauge("ringfence_sink_keys_max")
        self.capped = self._counter("ringfence_sink_keys_capped")
        self.writes = self._counter("ringfence_sink_writes")
        self.built = self._gauge("ringfence_sink_built_timestamp_seconds")
        self.redis_up = self._gauge("ringfence_sink_redis_up")
        self.rebuilds = self._counter("ringfence_sink_rebuilds")


class WebhookMetrics(Catalogue):
    """Metrics of `ringfence sink webhooks` besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.events = self._counter("ringfence_webhook_events")
        self.tries = self._counter("ringfence_webhook_tries")
        self.failing = self._gauge("ringfence_webhook_failing")


class IngestMetrics(Catalogue):
    """Every metric of the process that reads files of records."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.records = self._counter("ringfence_ingest_records")
        self.files = self._counter("ringfence_ingest_files")
        self.behind = self._gauge("ringfence_ingest_behind_bytes")
        self.waits = self._gauge("ringfence_ingest_waiting_seconds")
