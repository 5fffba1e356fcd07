"""The catalogue of `ringfence feeds run`: as `metrics.py`, and by its rules.

`feed` is the name of a feed's file, `list` a list's; the other labels come from closed enums.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FETCH_BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class FeedMetrics:
    """Every metric of the process that follows the feeds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_versions(registry)
        self._of_fetching(registry)
        self._of_appeals(registry)
        self._of_the_process(registry)

    def _of_versions(self, registry: CollectorRegistry) -> None:
        # held, refused: deploy/RUNBOOK.md has a heading for each reason. The last good version
        # stays live meanwhile.
        self.versions = Counter(
            "ringfence_feed_versions",
            "Versions of feeds, by verdict (accepted, same, held, refused) and deciding reason.",
            ["feed", "verdict", "reason"],
            registry=registry,
        )
        # A rise of what is not "good": read `ringfence feeds show NAME`, ask the partner.
        self.rows = Counter(
            "ringfence_feed_rows",
            "Rows of versions that were read: good, passed_over, or why they were rejected.",
            ["feed", "what"],
            registry=registry,
        )
        # 1: `ringfence feeds held NAME`, then release or refuse it.
        self.held = Gauge(
            "ringfence_feed_held",
            "Whether a version of the feed waits for a person.",
            ["feed"],
            registry=registry,
        )
        # Far from what the partner says it shares: `ringfence feeds show NAME`.
        self.numbers = Gauge(
            "ringfence_feed_numbers",
            "Numbers that the feed has on its list.",
            ["feed"],
            registry=registry,
        )
        # time() minus this is the age of the last good version; old is a partner who changes
        # nothing, or whose versions are held or refused.
        self.accepted = Gauge(
            "ringfence_feed_accepted_timestamp_seconds",
            "When the feed's last good version came, since the epoch; 0: never.",
            ["feed"],
            registry=registry,
        )

        # failed rises: its log line says why; the list's changes stay in front of its filter.
        self.rebuilds = Counter(
            "ringfence_list_rebuilds",
            "Lists rebuilt because their changes were more than rebuild_changes: done, failed.",
            ["list", "outcome"],
            registry=registry,
        )

    def _of_fetching(self, registry: CollectorRegistry) -> None:
        # time() minus this beyond a few of its schedule's `every`: nothing good comes any more;
        # entries expire. See ringfence_feed_fetches_total for why.
        self.confirmed = Gauge(
            "ringfence_feed_confirmed_timestamp_seconds",
            "When the feed's source last said what it has, new or not, since the epoch; 0: never.",
            ["feed"],
            registry=registry,
        )
        # Anything but fetched and unchanged: `ringfence feeds show NAME` says it in words.
        self.fetches = Counter(
            "ringfence_feed_fetches",
            "Tries to fetch feeds: fetched, unchanged, or what stood in the way.",
            ["feed", "result"],
            registry=registry,
        )
        # Rising: a slow partner, or a list that grows; give it more deadline_s in time.
        self.fetch = Histogram(
            "ringfence_feed_fetch_seconds",
            "Time of one fetch of a feed, failed ones too.",
            ["feed"],
            registry=registry,
            buckets=FETCH_BUCKETS_S,
        )
        # Above 3: the partner has been away for a while; the back-off grows with it.
        self.failures = Gauge(
            "ringfence_feed_failures",
            "Tries of the feed that failed one after the other.",
            ["feed"],
            registry=registry,
        )

    def _of_appeals(self, registry: CollectorRegistry) -> None:
        # Rising: more people say that they are blocked wrongly than are answered. A jump after a
        # version of a feed: `ringfence appeals ls` names the list; roll it back if it is wrong.
        self.appeals = Gauge(
            "ringfence_appeals",
            "Appeals against blocks that wait for an answer, by state (received, pending_owner).",
            ["state"],
            registry=registry,
        )
        # Above 0: alert. `ringfence appeals ls --overdue`, and deploy/RUNBOOK.md, "An appeal is
        # overdue".
        self.appeals_overdue = Gauge(
            "ringfence_appeals_overdue",
            "Appeals that wait for an answer beyond their deadline.",
            registry=registry,
        )

    def _of_the_process(self, registry: CollectorRegistry) -> None:
        # 1: `ringfence feeds ls` names file and key; what was read before goes on being followed.
        self.file_wrong = Gauge(
            "ringfence_feed_file_wrong",
            "Whether a feed's file can not be used as it is now.",
            ["feed"],
            registry=registry,
        )
        # 0: nothing can be stored; versions are fetched again once it is back.
        self.register_up = Gauge(
            "ringfence_feeds_register_up",
            "Whether the register answers the process that follows the feeds.",
            registry=registry,
        )
