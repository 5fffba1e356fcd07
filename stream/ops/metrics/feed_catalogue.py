"""The catalogue of `ringfence feeds run`, by the rules of `catalogue.py`.

`feed` is the name of a feed's file, `list` a list's; the other labels come from closed enums.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import NAMES_MAX, BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import RedisMetrics, SkipMetrics

FETCH_BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class FeedMetrics(Catalogue):
    """Every metric of the process that follows the feeds; so many have series of their own."""

    def __init__(self, registry: CollectorRegistry, names_max: int = NAMES_MAX) -> None:
        super().__init__(registry)
        self.redis = RedisMetrics(registry, "register")
        self.skips = SkipMetrics(registry)
        self.feeds, self.lists = BoundedLabels(names_max), BoundedLabels(names_max)
        self._of_versions()
        self._of_fetching()
        self._of_appeals()
        self._of_the_process()

    def _of_versions(self) -> None:
        self.versions = self._counter_each(
            self.feeds,
            "ringfence_feed_versions",
            "Versions of feeds, by verdict (accepted, same, held, refused) and deciding reason.",
            "held, refused: deploy/RUNBOOK.md has a heading for each reason. The last good "
            "version stays live meanwhile.",
            ["feed", "verdict", "reason"],
            by="feed",
        )
        self.rows = self._counter_each(
            self.feeds,
            "ringfence_feed_rows",
            "Rows of versions that were read: good, passed_over, or why they were rejected.",
            'A rise of what is not "good": read `ringfence feeds show NAME`, ask the partner.',
            ["feed", "outcome"],
            by="feed",
        )
        self.held = self._gauge_each(
            self.feeds,
            "ringfence_feed_held",
            "Whether a version of the feed waits for a person.",
            "1: `ringfence feeds held NAME`, then release or refuse it.",
            "feed",
            max,
        )
        self.refused = self._gauge_each(
            self.feeds,
            "ringfence_feed_refused",
            "Whether the version that the feed offers now was refused, by no person.",
            "1: `ringfence feeds show NAME` says why; deploy/RUNBOOK.md has a heading for each "
            "reason.",
            "feed",
            max,
        )
        self.numbers = self._gauge_each(
            self.feeds,
            "ringfence_feed_numbers",
            "Numbers that the feed has on its list.",
            "Far from what the partner says it shares: `ringfence feeds show NAME`.",
            "feed",
            total,
        )
        self.accepted = self._gauge_each(
            self.feeds,
            "ringfence_feed_accepted_timestamp_seconds",
            "When the feed's last good version came, since the epoch; 0: never.",
            "time() minus this is the age of the last good version; old is a partner who "
            "changes nothing, or whose versions are held or refused.",
            "feed",
            min,
        )

        self.rebuilds = self._counter_each(
            self.lists,
            "ringfence_list_rebuilds",
            "Lists rebuilt because their changes were more than rebuild_changes: done, failed.",
            "failed rises: its log line says why; the list's changes stay in front of its filter.",
            ["list", "outcome"],
            by="list",
        )

    def _of_fetching(self) -> None:
        self.confirmed = self._gauge_each(
            self.feeds,
            "ringfence_feed_confirmed_timestamp_seconds",
            "When the feed's source last said what it has, new or not, since the epoch; 0: never.",
            "time() minus this beyond a few of its schedule's `every`: nothing good comes any "
            "more; entries expire. See ringfence_feed_fetches_total for why.",
            "feed",
            min,
        )
        self.fetches = self._counter_each(
            self.feeds,
            "ringfence_feed_fetches",
            "Tries to fetch feeds: fetched, unchanged, or what stood in the way.",
            "Anything but fetched and unchanged: `ringfence feeds show NAME` says it in words.",
            ["feed", "result"],
            by="feed",
        )
        self.fetch = self._histogram_each(
            self.feeds,
            "ringfence_feed_fetch_duration_seconds",
            "Time of one fetch of a feed, failed ones too.",
            "Rising: a slow partner, or a list that grows; give it more deadline_s in time.",
            "feed",
            buckets=FETCH_BUCKETS_S,
        )
        self.failures = self._gauge_each(
            self.feeds,
            "ringfence_feed_consecutive_failures",
            "Tries of the feed that failed one after the other.",
            "Above 3: the partner has been away for a while; the back-off grows with it.",
            "feed",
            max,
        )

        self.state_foreign = self._gauge_each(
            self.feeds,
            "ringfence_feed_state_foreign",
            "Whether files of the feed's state on this machine belong to another user.",
            "1: nothing of the feed comes until they are ours: `ringfence feeds show NAME` names "
            "path and owner, deploy/RUNBOOK.md, FeedStateForeign.",
            "feed",
            max,
        )

    def _of_appeals(self) -> None:
        self.appeals = self._gauge(
            "ringfence_appeals",
            "Appeals against blocks that wait for an answer, by state (received, pending_owner).",
            "Rising: more people say that they are blocked wrongly than are answered. A jump "
            "after a version of a feed: `ringfence appeals list` names the list; roll it back if "
            "it is wrong.",
            ["state"],
        )
        self.appeals_overdue = self._gauge(
            "ringfence_appeals_overdue",
            "Appeals that wait for an answer beyond their deadline.",
            "Above 0: `ringfence appeals list --overdue`, and deploy/RUNBOOK.md, AppealsOverdue.",
        )

    def _of_the_process(self) -> None:
        self.file_wrong = self._gauge_each(
            self.feeds,
            "ringfence_feed_file_wrong",
            "Whether a feed's file cannot be used as it is now.",
            "1: `ringfence feeds list` names file and key; what was read before goes on being "
            "followed.",
            "feed",
            max,
        )
        self.register_up = self._gauge(
            "ringfence_feeds_register_up",
            "Whether the list store answers the process that follows the feeds.",
            "0: nothing can be stored; versions are fetched again once it is back.",
        )
