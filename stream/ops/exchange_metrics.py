"""The catalogue of `ringfence exchange run`: as `metrics.py`, and by its rules.

`list` is a list of ours and `role` a role of our repository; the other labels come from closed
enums. What is published is read from the repository itself, so it is what partners get.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ExchangeMetrics:
    """Every metric of the process that publishes our lists."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_lists(registry)
        self._of_signatures(registry)

    def _of_lists(self, registry: CollectorRegistry) -> None:
        # Far below the list's generation in `ringfence lists show`: look at
        # ringfence_exchange_failures_total for why.
        self.generation = Gauge(
            "ringfence_exchange_generation",
            "Generation at which a list was last published; 0: never, or it is not shared.",
            ["list"],
            registry=registry,
        )
        # time() minus this is how old the newest that partners get is. A list that changes seldom
        # is old by right.
        self.published = Gauge(
            "ringfence_exchange_published_timestamp_seconds",
            "When news of a list were last published, since the epoch; 0: never.",
            ["list"],
            registry=registry,
        )
        # 0 though it should be shared: `ringfence agreements ls` says which agreement ended.
        self.shared = Gauge(
            "ringfence_exchange_shared",
            "Whether a list is published now; 0: no agreement in force shares it.",
            ["list"],
            registry=registry,
        )
        # whole rises as often as changes: partners fetch all of it each time; look at the list's
        # bases (`ringfence lists history`).
        self.editions = Counter(
            "ringfence_exchange_editions",
            "Publications of a list, by what went out: whole, changes.",
            ["list", "what"],
            registry=registry,
        )
        # Anything: deploy/RUNBOOK.md, "What we publish", has a line for each reason.
        self.failures = Counter(
            "ringfence_exchange_failures",
            "Tries to publish a list, or to renew a signature (no list), that failed, by reason.",
            ["list", "reason"],
            registry=registry,
        )
        # 0: changes do not go out; signatures are renewed all the same.
        self.register_up = Gauge(
            "ringfence_exchange_register_up",
            "Whether the register answers the process that publishes.",
            registry=registry,
        )

    def _of_signatures(self, registry: CollectorRegistry) -> None:
        # This minus time() is what is left: below 2 h for timestamp, 3 days for snapshot and 10 for
        # a list, nothing renews them, and followers refuse us when it is over. For root and targets
        # below 30 days: people with their keys have to sign.
        self.expires = Gauge(
            "ringfence_exchange_expires_timestamp_seconds",
            "When the signatures of a role expire, since the epoch.",
            ["role"],
            registry=registry,
        )
