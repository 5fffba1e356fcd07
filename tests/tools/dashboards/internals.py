"""A dashboard of the engine's internals: time, memory and records."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, UP, above, board, figure, graph

_EVENTS: Final = "sum by (event) (rate({}[5m]))"


def _quantile(q: float, metric: str, *by: str) -> str:
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[5m])))"


def _standing() -> list[Any]:
    """Return the figures of what is up."""
    return [
        figure("Kafka", "1: Kafka answers.", "min(ringfence_kafka_up)", "none", UP),
        figure("List store", "1: it answers.", "min(ringfence_register_up)", "none", UP),
        figure(
            "Workers ready",
            "Workers with lists loaded and a place in the consumer group.",
            "sum(ringfence_workers_ready)",
            "none",
        ),
        figure(
            "Without kernels",
            "Workers without compiled kernels. They need several times the CPU.",
            "sum(ringfence_workers_ready) - sum(ringfence_workers_compiled)",
            "none",
            above(1, 1),
        ),
        figure(
            "Restarts, last hour",
            "Above 0, a worker crashes repeatedly.",
            "sum(increase(ringfence_worker_restarts_total[1h])) " + OR_NONE,
            "short",
            above(1, 3),
        ),
        figure(
            "Partitions stopped",
            "A record batch is damaged. The log names it.",
            "sum(ringfence_partitions_stopped)",
            "none",
            above(1, 1),
        ),
    ]


def _way() -> list[Any]:
    """Return the graphs of the time by step."""
    return [
        graph(
            "CPU by step",
            "CPU seconds per second. Near 1 per worker, add a worker.",
            ("ringfence:cpu_by_step:ratio_rate5m", "{{step}}"),
            unit="short",
            stacked=True,
        ),
        graph(
            "Time of a batch, p99",
            "Shows the slow step. If it is publish alone, the broker is slow.",
            (_quantile(0.99, "ringfence_batch_duration_seconds", "step"), "{{step}}"),
            unit="s",
        ),
        graph(
            "Decoded one by one",
            "Calls that the fast scan could not read. They cost more CPU.",
            ("sum(rate(ringfence_calls_unscanned_total[5m]))", "unscanned"),
            ("sum(rate(ringfence_calls_unasked_total[5m]))", "no list available"),
            unit="cps",
        ),
        graph(
            "Call events",
            "Commits, rebalances, waits for Kafka.",
            (_EVENTS.format("ringfence_call_events_total"), "{{event}}"),
            unit="short",
        ),
        graph(
            "List events",
            "Loads, swaps, gaps, refusals.",
            (_EVENTS.format("ringfence_list_events_total"), "{{event}}"),
            unit="short",
        ),
        graph(
            "Partitions",
            "Assigned partitions, and those that the fetcher does not read.",
            ("sum(ringfence_partitions)", "assigned"),
            ("sum(ringfence_partitions_ordinary)", "read record by record"),
            unit="none",
        ),
    ]


def _processes() -> list[Any]:
    """Return the graphs of memory and CPU."""
    return [
        graph(
            "Memory",
            "Resident memory of each process. A supervisor's is without its workers.",
            ('process_resident_memory_bytes{job=~"ringfence.*"}', "{{job}} {{instance}}"),
            unit="bytes",
        ),
        graph(
            "CPU",
            "Cores used by each process.",
            ('rate(process_cpu_seconds_total{job=~"ringfence.*"}[5m])', "{{job}} {{instance}}"),
            unit="short",
        ),
        graph(
            "Redis memory",
            "Of the list store, and of the SIP proxies' keys.",
            ("ringfence_redis_memory_bytes", "{{redis}}"),
            unit="bytes",
        ),
        graph(
            "Keys evicted",
            "Above 0, entries or keys of SIP proxies are lost.",
            ("rate(ringfence_redis_evicted_keys_total[5m])", "{{redis}}"),
            unit="short",
        ),
    ]


def _neighbours() -> list[Any]:
    """Return the graphs of HTTP and sinks."""
    return [
        graph(
            "Requests by route",
            "HTTP requests a second, by route.",
            ("ringfence:http_requests_by_route:rate5m", "{{route}}"),
            unit="reqps",
        ),
        graph(
            "Time of an answer, p99",
            "The target for a lookup is below 5 ms.",
            ("ringfence:http_request_duration_seconds:p99_rate5m", "{{route}}"),
            unit="s",
        ),
        graph(
            "Keys of SIP proxies",
            "At keys_max, further numbers get no key.",
            ("ringfence_sink_keys", "{{kind}}"),
            ("ringfence_sink_keys_max", "at most"),
            unit="short",
        ),
        graph(
            "Age of the SIP proxies' keys",
            "Time since they were last confirmed.",
            ("ringfence:keys_age_seconds", "age"),
            unit="s",
            limit=60,
        ),
        graph(
            "Webhooks",
            "Events delivered, filtered, given up.",
            (
                "sum by (endpoint, outcome) (rate(ringfence_webhook_events_total[5m]))",
                "{{endpoint}} {{outcome}}",
            ),
            unit="short",
        ),
        graph(
            "Certificates valid for",
            "Time until a certificate expires.",
            ("ringfence_certificate_expires_timestamp_seconds - time()", "{{of}}"),
            unit="s",
        ),
    ]


def internals() -> Dashboard:
    """Return the dashboard for the search of a slow step."""
    return board(
        "ringfence-internals",
        "Ringfence: internals",
        "Workers, batches, events, memory; HTTP, sinks and Redis.",
        [
            ("Status", _standing()),
            ("Calls", _way()),
            ("Processes", _processes()),
            ("HTTP and sinks", _neighbours()),
        ],
    )
