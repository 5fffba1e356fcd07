"""The catalogue of `ringfence serve`, by the rules of `catalogue.py`.

`route` is a route's pattern as the code writes it, never an address; the others are closed enums.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import BoundedLabels, Catalogue
from stream.ops.metrics.shared_catalogue import SkipMetrics, StirMetrics

REQUEST_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


class ServeMetrics(Catalogue):
    """Every metric of the process that serves HTTP. `lists`: those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry, list=lists or BoundedLabels())
        SkipMetrics(registry)
        self.signatures = StirMetrics(registry)
        self.requests = self._counter("ringfence_http_requests")
        self.request = self._histogram("ringfence_http_request_duration_seconds", REQUEST_BUCKETS_S)
        self.problems = self._counter("ringfence_http_problems")
        self.connections = self._gauge("ringfence_http_connections")
        self.handshakes_failed = self._counter("ringfence_http_handshakes_failed")
        self.bodies = self._gauge("ringfence_http_bodies_bytes")
        self.records = self._counter("ringfence_http_records")
        self.versions = self._counter("ringfence_http_versions")
        self.changes = self._counter("ringfence_http_changes")
        self.on_their_way = self._gauge("ringfence_http_unacknowledged_bytes")
        self.kept = self._counter("ringfence_http_decisions_kept")
        self.kept_now = self._gauge("ringfence_http_decisions_stored")
        self.followed = self._gauge("ringfence_http_register_up")
        self.lookups = self._counter_by("ringfence_http_lookups")
