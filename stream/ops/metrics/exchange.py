"""The catalogue of `ringfence exchange run`: as `metrics.py`, and by its rules.

`list` is a list of ours and `role` a role of our repository; the other labels come from closed
enums. What is published is read from the repository itself, so it is what partners get.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.bounded_labels import NAMES_MAX, Named, total
from stream.ops.metrics.catalogue import Catalogue
from stream.ops.metrics.skips import SkipMetrics

TOP_ROLES = ("root", "targets", "snapshot", "timestamp")


class ExchangeMetrics(Catalogue):
    """Every metric of the process that publishes our lists; so many have series of their own."""

    def __init__(self, registry: CollectorRegistry, names_max: int = NAMES_MAX) -> None:
        super().__init__(registry)
        self.lists = Named(names_max)
        self.roles = Named(names_max, TOP_ROLES)
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
            "Whether the register answers the process that publishes.",
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
