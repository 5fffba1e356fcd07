"""The catalogue of `ringfence feeds run`, by the rules of `catalogue.py`.

`feed` is the name of a feed's file, `list` a list's; the other labels come from closed enums.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import NAMES_MAX, BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import RedisMetrics, SkipMetrics

FETCH_BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class FeedMetrics(Catalogue):
    """Every metric of the process that follows the feeds; `names_max` have their own series."""

    def __init__(self, registry: CollectorRegistry, names_max: int = NAMES_MAX) -> None:
        super().__init__(registry, feed=BoundedLabels(names_max), list=BoundedLabels(names_max))
        self.redis = RedisMetrics(registry, "register")
        SkipMetrics(registry)
        self.versions = self._counter_by("ringfence_feed_versions")
        self.rows = self._counter_by("ringfence_feed_rows")
        self.held = self._gauge_by("ringfence_feed_held", max)
        self.refused = self._gauge_by("ringfence_feed_refused", max)
        self.numbers = self._gauge_by("ringfence_feed_numbers", total)
        self.accepted = self._gauge_by("ringfence_feed_accepted_timestamp_seconds", min)
        self.rebuilds = self._counter_by("ringfence_list_rebuilds")
        self.confirmed = self._gauge_by("ringfence_feed_confirmed_timestamp_seconds", min)
        self.fetches = self._counter_by("ringfence_feed_fetches")
        self.fetch = self._histogram_by("ringfence_feed_fetch_duration_seconds", FETCH_BUCKETS_S)
        self.failures = self._gauge_by("ringfence_feed_consecutive_failures", max)
        self.state_foreign = self._gauge_by("ringfence_feed_state_foreign", max)
        self.appeals = self._gauge("ringfence_appeals")
        self.appeals_overdue = self._gauge("ringfence_appeals_overdue")
        self.file_wrong = self._gauge_by("ringfence_feed_file_wrong", max)
        self.register_up = self._gauge("ringfence_feeds_register_up")

    def forget(self, feed: str) -> None:
        """Remove the gauges of a feed whose file is gone: an alert on one would fire on."""
        for gauge in (
            *(self.held, self.refused, self.numbers, self.accepted, self.confirmed),
            *(self.failures, self.state_foreign, self.file_wrong),
        ):
            gauge.forget(feed)
