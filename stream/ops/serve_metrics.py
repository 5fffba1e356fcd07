"""The catalogue of `ringfence serve`: as `metrics.py`, and by its rules.

`route` is a route's pattern as the code writes it, never an address; the others are closed enums.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REQUEST_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


class ServeMetrics:
    """Every metric of the process that serves HTTP."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._of_requests(registry)
        self._of_records(registry)
        self._of_decisions(registry)

    def _of_requests(self, registry: CollectorRegistry) -> None:
        # 5xx rise: see ringfence_http_problems_total for why. 499: the client went away first.
        self.requests = Counter(
            "ringfence_http_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=registry,
        )
        # Lookups above 5 ms: more processes, or a machine that is busy with something else.
        self.request = Histogram(
            "ringfence_http_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            registry=registry,
            buckets=REQUEST_BUCKETS_S,
        )
        # deploy/RUNBOOK.md, "HTTP refuses, or is away", says what to do about each kind.
        self.problems = Counter(
            "ringfence_http_problems",
            "Requests refused or failed, by kind of problem.",
            ["kind"],
            registry=registry,
        )
        # Near [serve] connections_max: slow clients, an attack, or a proxy that keeps too many.
        self.connections = Gauge(
            "ringfence_http_connections", "Connections that are open.", registry=registry
        )
        # Near [serve] bodies_bytes_max: senders are told to wait (503); Kafka may be slow.
        self.bodies = Gauge(
            "ringfence_http_bodies_bytes",
            "Bytes of request bodies held in memory.",
            registry=registry,
        )

    def _of_records(self, registry: CollectorRegistry) -> None:
        # unreadable: what `calls.rejected` holds says why; all of them: the wrong dialect in the
        # address. refused: Kafka is away or slow, and the switch has to send again.
        self.records = Counter(
            "ringfence_http_records",
            "Call records that came by HTTP, by dialect: taken, unreadable (taken too), refused.",
            ["dialect", "outcome"],
            registry=registry,
        )
        # Near [serve] kafka_bytes_max: Kafka is slower than what is sent.
        self.on_their_way = Gauge(
            "ringfence_http_kafka_bytes",
            "Bytes of records that Kafka has not acknowledged yet.",
            registry=registry,
        )

    def _of_decisions(self, registry: CollectorRegistry) -> None:
        # Stands still while blocks go on: pages of decisions are not found; is Redis there?
        self.kept = Counter(
            "ringfence_http_decisions_kept",
            "Decisions that were kept to be asked for by their id.",
            registry=registry,
        )
        # Near [serve] decisions_max: the oldest days are forgotten before their time.
        self.kept_now = Gauge(
            "ringfence_http_decisions_kept_now",
            "Decisions that can be asked for by their id.",
            registry=registry,
        )
        # 0: lookups are answered from what was last good; see /ready.
        self.followed = Gauge(
            "ringfence_http_lists_followed",
            "Whether the register's changes are followed by the process that serves HTTP.",
            registry=registry,
        )
        # Compare with ringfence_decisions_total: what a proxy asks and what the stream sees.
        self.lookups = Counter(
            "ringfence_http_lookups",
            "Calls asked about, by verdict, rule, list and simulation.",
            ["verdict", "rule", "list", "simulated"],
            registry=registry,
        )
