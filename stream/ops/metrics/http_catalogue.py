"""The catalogue of `ringfence serve`, by the rules of `catalogue.py`.

`route` is a route's pattern as the code writes it, never an address; the others are closed enums.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import BoundedLabels, Catalogue
from stream.ops.metrics.shared_catalogue import SkipMetrics

REQUEST_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


class ServeMetrics(Catalogue):
    """Every metric of the process that serves HTTP. `lists`: those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry)
        self.lists = lists or BoundedLabels()
        self.skips = SkipMetrics(registry)
        self._of_requests()
        self._of_records()
        self._of_decisions()

    def _of_requests(self) -> None:
        self.requests = self._counter(
            "ringfence_http_requests",
            "Requests answered, by route and status.",
            "5xx rise: see ringfence_http_problems_total for why. 499: the client went away first.",
            ["route", "status"],
        )
        self.request = self._histogram(
            "ringfence_http_request_duration_seconds",
            "From a request's head to the end of its answer.",
            "Lookups above 5 ms: more processes, or a machine that is busy with something else.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
        )
        self.problems = self._counter(
            "ringfence_http_problems",
            "Requests refused or failed, by kind of problem.",
            'deploy/RUNBOOK.md, "HTTP refuses, or is away", says what to do about each kind.',
            ["kind"],
        )
        self.connections = self._gauge(
            "ringfence_http_connections",
            "Connections that are open.",
            "Near [serve] connections_max, times --workers: slow clients, an attack, or a proxy "
            "that keeps too many.",
            workers="livesum",
        )
        self.bodies = self._gauge(
            "ringfence_http_bodies_bytes",
            "Bytes of request bodies held in memory.",
            "Near [serve] bodies_bytes_max: senders get 503 and have to wait; Kafka may be slow.",
            workers="livesum",
        )

    def _of_records(self) -> None:
        self.records = self._counter(
            "ringfence_http_records",
            "Call records that came by HTTP, by dialect: taken, unreadable (taken too), refused.",
            "unreadable: what `calls.rejected` holds says why; all of them: the wrong dialect "
            "in the address. refused: Kafka is away or slow, and the switch has to send again.",
            ["dialect", "outcome"],
        )
        self.on_their_way = self._gauge(
            "ringfence_http_unacknowledged_bytes",
            "Bytes of records that Kafka has not acknowledged yet.",
            "Near [serve] kafka_bytes_max: Kafka is slower than what is sent.",
            workers="livesum",
        )

    def _of_decisions(self) -> None:
        self.kept = self._counter(
            "ringfence_http_decisions_kept",
            "Decisions that were kept to be asked for by their id.",
            "Stands still while blocks go on: pages of decisions are not found; is Redis there?",
        )
        self.kept_now = self._gauge(
            "ringfence_http_decisions_stored",
            "Decisions that can be asked for by their id.",
            "Near [serve] decisions_max: the oldest days are forgotten before their time.",
        )
        self.followed = self._gauge(
            "ringfence_http_register_up",
            "Whether the list store's changes are followed by the process that serves HTTP.",
            "0: lookups are answered from what was last good; see /ready.",
            workers="livemin",
        )
        self.lookups = self._counter_each(
            self.lists,
            "ringfence_http_lookups",
            "Calls asked about, by verdict, rule, list and simulation.",
            "Compare with ringfence_decisions_total: what a proxy asks and what the stream sees.",
            ["verdict", "rule", "list", "simulated"],
            by="list",
            others=["rule"],
        )
