"""The catalogue of a worker, and of the supervisor of several: `catalogue.py` has the rules."""

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.samples import Exemplar

from stream.ops.clock import now_ms
from stream.ops.metrics.catalogue import BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import SkipMetrics, StirMetrics

# Dense where the promise is (p99 between 4 and 60 ms, by load): a quantile is off by half a bucket.
LATENCY_BUCKETS_MS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500),
    *(1000, 2000, 5000, 10_000, 30_000, 60_000),
)
BATCH_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


_FEW = 8
"""Ages that are counted sooner one by one than by NumPy, whose calls have a fixed price."""


class AgeHistogram(Histogram):
    """A histogram of seconds that takes a whole batch of ages at once.

    prometheus_client observes one value at a time, at about 1 us each. A table from whole
    milliseconds to buckets makes it about 5 ns a value; counts are as exact as millisecond ages.
    """

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        bounds_s = [bound_ms / 1000 for bound_ms in LATENCY_BUCKETS_MS]
        super().__init__(name, documentation, registry=registry, buckets=bounds_s)
        ages_ms = np.arange(LATENCY_BUCKETS_MS[-1] + 2)
        self._bucket_of = np.searchsorted(LATENCY_BUCKETS_MS, ages_ms).astype(np.uint8)
        self._bucket_of_one = self._bucket_of.tobytes()

    def observe_ages(self, ages_ms: NDArray[np.int64], decision_id: str = "") -> None:
        """Count every age. One below 0 (a clock ahead of ours) counts as 0.

        `decision_id`, of a decision in the batch, becomes the exemplar of its oldest record's
        bucket: OpenMetrics shows one for each. Several workers show none, their files hold no text.
        """
        few = len(ages_ms) <= _FEW
        oldest_ms, sum_ms = (self._count_few if few else self._count_many)(ages_ms)
        self._sum.inc(sum_ms / 1000)
        if decision_id and len(ages_ms):
            place = self._place(oldest_ms)
            shown = Exemplar({"decision_id": decision_id}, oldest_ms / 1000, now_ms() / 1000)
            self._buckets[place].set_exemplar(shown)

    def _place(self, age_ms: int) -> int:
        return self._bucket_of_one[min(age_ms, len(self._bucket_of_one) - 1)]

    def _count_few(self, ages_ms: NDArray[np.int64]) -> tuple[int, int]:
        """Count one by one; return the oldest age and the sum of all."""
        ages = [max(age_ms, 0) for age_ms in ages_ms.tolist()]
        for age_ms in ages:
            self._buckets[self._place(age_ms)].inc(1)
        return max(ages, default=0), sum(ages)

    def _count_many(self, ages_ms: NDArray[np.int64]) -> tuple[int, int]:
        """Count all by table; return the oldest age and the sum of all."""
        ages_ms = np.maximum(ages_ms, 0)
        places = self._bucket_of[np.minimum(ages_ms, len(self._bucket_of) - 1)]
        counts = np.bincount(places, minlength=len(self._buckets))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(int(counts[place]))
        return int(ages_ms.max()), int(ages_ms.sum())


class WorkerCatalogue(Catalogue):
    """Every metric of a worker. `lists` are those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry, list=lists or BoundedLabels())
        SkipMetrics(registry)
        self.signatures = StirMetrics(registry)
        self.calls = self._counter("ringfence_calls")
        self.decisions = self._counter_by("ringfence_decisions")
        self.rejected = self._counter("ringfence_records_rejected")
        self.repeats = self._counter("ringfence_decisions_repeated")
        self.wrong_dialect = self._gauge("ringfence_wrong_dialect")
        self.unknown_trunk = self._counter("ringfence_calls_unknown_trunk")
        self.unscanned = self._counter("ringfence_calls_unscanned")
        self.unconfirmed = self._counter_by("ringfence_matches_unconfirmed")
        self.observed = self._counter_by("ringfence_matches_observed")
        self.outside = self._counter_by("ringfence_matches_out_of_scope")
        self.bare_chance = self._gauge("ringfence_bare_filters_chance_ratio")
        self.bursts_forgotten = self._counter("ringfence_burst_numbers_forgotten")
        self.unasked = self._counter("ringfence_calls_unasked")
        self.batch = self._histogram("ringfence_batch_duration_seconds", BATCH_BUCKETS_S)
        self.decision_latency = self._ages("ringfence_decision_latency_seconds")
        self.lag = self._gauge("ringfence_lag_records")
        self.partitions = self._gauge("ringfence_partitions")
        self.stopped = self._gauge("ringfence_partitions_stopped")
        self.ordinary = self._gauge("ringfence_partitions_ordinary")
        self.call_events = self._counter("ringfence_call_events")
        self.schema_registry = self._counter("ringfence_schema_registry_requests")
        self.kafka_up = self._gauge("ringfence_kafka_up")
        self.list_events = self._counter("ringfence_list_events")
        self.register_up = self._gauge("ringfence_register_up")
        self.list_generation = self._gauge_by("ringfence_list_generation", total)
        self.list_generation_newest = self._gauge_by("ringfence_list_generation_newest", total)
        self.list_synced = self._gauge_by("ringfence_list_synced_timestamp_seconds", min)
        self.list_entries = self._gauge_by("ringfence_list_entries", total)
        self.list_changes = self._gauge_by("ringfence_list_changes", max)
        self.agreements = self._gauge("ringfence_agreements")
        self.ready = self._gauge("ringfence_workers_ready")
        self.compiled = self._gauge("ringfence_workers_compiled")

    def _ages(self, name: str) -> AgeHistogram:
        return AgeHistogram(name, self._enter(name, "histogram").meaning, self.registry)


class SupervisorMetrics(Catalogue):
    """Metrics of the supervisor of several workers; it serves them with the workers' sum."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.restarts = self._counter("ringfence_worker_restarts")
        self.running = self._gauge("ringfence_workers_running")
