"""The catalogue of `ringfence exchange run`, by the rules of `catalogue.py`.

`list` is a list of ours and `role` a role of our repository; the other labels come from closed
enums. What is published is read from the repository itself, so it is what partners get.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import NAMES_MAX, BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import SkipMetrics

TOP_ROLES = ("root", "targets", "snapshot", "timestamp")


class ExchangeMetrics(Catalogue):
    """Every metric of the process that publishes our lists; `names_max` have their own series."""

    def __init__(self, registry: CollectorRegistry, names_max: int = NAMES_MAX) -> None:
        roles = BoundedLabels(names_max, TOP_ROLES)
        super().__init__(registry, list=BoundedLabels(names_max), role=roles)
        SkipMetrics(registry)
        self.generation = self._gauge_by("ringfence_exchange_generation", total)
        self.published = self._gauge_by("ringfence_exchange_published_timestamp_seconds", min)
        self.shared = self._gauge_by("ringfence_exchange_shared", min)
        self.editions = self._counter_by("ringfence_exchange_editions")
        self.failures = self._counter_by("ringfence_exchange_failures")
        self.register_up = self._gauge("ringfence_exchange_register_up")
        self.expires = self._gauge_by("ringfence_exchange_expires_timestamp_seconds", min)


class EnforcementMetrics(Catalogue):
    """Every metric of the process that counts what lists do and reports it to their owners."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        SkipMetrics(registry)
        self.calls = self._counter("ringfence_enforcement_calls")
        self.passed = self._counter("ringfence_enforcement_skipped")
        self.left = self._gauge("ringfence_enforcement_lag_records")
        self.faults = self._counter("ringfence_enforcement_faults")
        self.published = self._gauge("ringfence_enforcement_published_timestamp_seconds")
        self.documents = self._counter("ringfence_enforcement_documents")
        self.read = self._gauge("ringfence_enforcement_read_timestamp_seconds")
        self.sightings = self._counter("ringfence_enforcement_sightings")
