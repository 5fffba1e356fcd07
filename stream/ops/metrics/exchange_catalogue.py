"""The catalogue of `ringfence exchange run`, by the rules of `catalogue.py`.

`list` is a list of ours and `role` a role of our repository; the other labels come from closed
enums. What is published is read from the repository itself, so it is what partners get.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import NAMES_MAX, BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import SkipMetrics

TOP_ROLES = ("root", "targets", "snapshot", "timestamp")


class ExchangeMetrics(Catalogue):
    """Every metric of the process that publishes our lists; so many have series of their own."""

    def __init__(self, registry: CollectorRegistry, names_max: int = NAMES_MAX) -> None:
        super().__init__(registry)
        self.lists = BoundedLabels(names_max)
        self.roles = BoundedLabels(names_max, TOP_ROLES)
        self.skips = SkipMetrics(registry)
        self._of_lists()
        self._of_signatures()

    def _of_lists(self) -> None:
        self.generation = self._gauge_each(
            self.lists,
            "ringfence_exchange_generation",
            "Generation at which a list was last published; 0: never, or it is not shared.",
            "Far below the list's generation in `ringfence lists show`: look at "
            "ringfence_exchange_failures_total for why.",
            "list",
            total,
        )
        self.published = self._gauge_each(
            self.lists,
            "ringfence_exchange_published_timestamp_seconds",
            "When news of a list were last published, since the epoch; 0: never.",
            "time() minus this is how old the newest that partners get is. A list that changes "
            "seldom is old by right.",
            "list",
            min,
        )
        self.shared = self._gauge_each(
            self.lists,
            "ringfence_exchange_shared",
            "Whether a list is published now; 0: no agreement in force shares it.",
            "0 though it should be shared: `ringfence agreements list` says which agreement ended.",
            "list",
            min,
        )
        self.editions = self._counter_each(
            self.lists,
            "ringfence_exchange_editions",
            "Publications of a list, by what went out: whole, changes.",
            "whole rises as often as changes: partners fetch all of it each time; look at the "
            "list's bases (`ringfence lists history`).",
            ["list", "kind"],
            by="list",
        )
        self.failures = self._counter_each(
            self.lists,
            "ringfence_exchange_failures",
            "Tries to publish a list, or to renew a signature (no list), that failed, by reason.",
            "Anything: deploy/RUNBOOK.md, PublishFails, has a line for each reason.",
            ["list", "reason"],
            by="list",
        )
        self.register_up = self._gauge(
            "ringfence_exchange_register_up",
            "Whether the list store answers the process that publishes.",
            "0: changes do not go out; signatures are renewed all the same.",
        )

    def _of_signatures(self) -> None:
        self.expires = self._gauge_each(
            self.roles,
            "ringfence_exchange_expires_timestamp_seconds",
            "When the signatures of a role expire, since the epoch.",
            "This minus time() is what is left: below 2 h for timestamp, 3 days for snapshot "
            "and 10 for a list, nothing renews them, and followers refuse us when it is over. "
            "For root and targets below 30 days: people with their keys have to sign.",
            "role",
            min,
        )


class EnforcementMetrics(Catalogue):
    """Every metric of the process that counts what lists do and tells their owners."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.skips = SkipMetrics(registry)
        self.calls = self._counter(
            "ringfence_enforcement_calls",
            "Calls counted that partners' lists blocked, flagged, or would have (simulated).",
            "Blocked and flagged stand still while ringfence_decisions_total rises: look at the"
            " log.",
            ["outcome"],
        )
        self.passed = self._counter(
            "ringfence_enforcement_skipped",
            "Records of the decisions topic that were not counted: unreadable, repeated, too_old.",
            "unreadable rises: somebody else writes to the decisions topic. too_old: it was "
            "away for a week. repeated: workers were killed, and nothing was counted twice.",
            ["reason"],
        )
        self.left = self._gauge(
            "ringfence_enforcement_lag_records",
            "Records of the decisions topic that are not counted yet.",
            "Grows: more is decided than is counted; documents tell of it later, nothing is lost.",
        )
        self.faults = self._counter(
            "ringfence_enforcement_faults",
            "Rounds that failed: counting, publishing, reading.",
            "Rises: the log says why; counting, publishing and reading go on as soon as they can.",
            ["step"],
        )
        self.published = self._gauge(
            "ringfence_enforcement_published_timestamp_seconds",
            "When our documents were last up to date in our repository, since the epoch; 0: never.",
            "time() minus this beyond a few of [enforcement] publish_s: partners hear nothing "
            "of us.",
        )
        self.documents = self._counter(
            "ringfence_enforcement_documents",
            "Documents of partners: taken, refused.",
            "refused: `ringfence enforcement show --refused` says which and why; tell the partner.",
            ["country", "result"],
        )
        self.read = self._gauge(
            "ringfence_enforcement_read_timestamp_seconds",
            "When a partner's repository was last read, since the epoch; 0: never.",
            "time() minus this grows: the partner's repository cannot be read; the log says why.",
            ["country"],
        )
        self.sightings = self._counter(
            "ringfence_enforcement_sightings",
            "Sightings of partners: taken (the list doubts the number now), unlisted.",
            "A rise: a partner finds that we list innocent numbers; `ringfence circle why` "
            "names them.",
            ["country", "result"],
        )
